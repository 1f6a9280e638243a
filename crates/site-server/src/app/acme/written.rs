//! What must hold of an `acme` table.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use cmg_api::resource::{Acme, AcmeChallengeKind};
use cmg_core::problem::Problem;
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, DnsName};
use rustls::RootCertStore;

use crate::app::fetching::Fetcher;
use crate::app::text::line_problem;
use crate::site::Site;

/// The most names of a certificate: public servers take no more.
const MOST_NAMES: usize = 100;

/// The shortest key of an external account, in bytes.
const SHORTEST_KEY: usize = 16;

/// The key of an external account; none: it is no base64url, or too short.
pub(crate) fn external_key(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()?;
    (bytes.len() >= SHORTEST_KEY).then_some(bytes)
}

/// Everything that is wrong with an `acme` table by itself.
pub(crate) fn problems(acme: &Acme) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, what: String, instead: &str| problems.push(Problem::new(format!("acme.{key}"), what, instead));
    if let Err(refused) = Fetcher::judge_url(&acme.directory, true) {
        problem("directory", refused.to_string(), "write the address that the ACME server tells, such as https://acme.example/directory");
    }
    names(acme, &mut problem);
    if !acme.terms_agreed {
        let what = "it is not true, and an ACME server issues to nobody who does not agree to its terms";
        problem("terms_agreed", what.to_owned(), "read the server's terms of service, and write true");
    }
    if let Some(contact) = &acme.contact
        && !is_address(contact)
    {
        problem("contact", format!("\"{contact}\" is no e-mail address"), "write NAME@DOMAIN, or leave it out");
    }
    for (place, pem) in acme.directory_authorities.iter().enumerate().filter(|(_, pem)| !are_roots(pem)) {
        let what = format!("it holds no certificate that can be believed ({} bytes)", pem.len());
        problem(&format!("directory_authorities[{place}]"), what, "send root certificates, PEM");
    }
    if let Some(external) = &acme.external_account {
        if let Some(wrong) = line_problem("", &external.key_id) {
            problem("external_account.key_id", wrong.what, "write the key id that the ACME server gave");
        }
        if external.hmac_key.as_ref().is_some_and(|key| external_key(&key.0).is_none()) {
            let what = format!("it is no base64url of {SHORTEST_KEY} bytes or more");
            problem("external_account.hmac_key", what, "write the HMAC key as the ACME server gave it");
        }
    }
    match (acme.challenge, &acme.hook) {
        (AcmeChallengeKind::Dns01, None) => {
            problem("hook", "is missing".to_owned(), "dns-01 wants the name of a program out of acme_hooks in site.toml");
        }
        (AcmeChallengeKind::TlsAlpn01 | AcmeChallengeKind::Http01, Some(_)) => {
            problem("hook", "does not belong to this challenge".to_owned(), "leave it out, or write challenge dns-01");
        }
        (AcmeChallengeKind::Dns01, Some(_)) | (_, None) => {}
    }
    problems
}

fn names(acme: &Acme, problem: &mut impl FnMut(&str, String, &str)) {
    if acme.names.is_empty() || acme.names.len() > MOST_NAMES {
        problem("names", format!("there are {}", acme.names.len()), "write 1 to 100 DNS names");
    }
    let mut seen = BTreeSet::new();
    for (place, name) in acme.names.iter().enumerate() {
        let key = format!("names[{place}]");
        let (plain, is_wildcard) = name.strip_prefix("*.").map_or((name.as_str(), false), |rest| (rest, true));
        if !is_dns_name(plain) {
            problem(&key, format!("\"{name}\" is no DNS name"), "write a name such as cmg.example.com, or *.example.com");
        } else if is_wildcard && acme.challenge != AcmeChallengeKind::Dns01 {
            problem(&key, format!("\"{name}\" can be proven by DNS only"), "write challenge dns-01 with a hook, or every name by itself");
        }
        if !seen.insert(name.to_ascii_lowercase()) {
            problem(&key, format!("\"{name}\" is there twice"), "remove it here");
        }
    }
}

/// A name that may stand in public DNS: no address, no trailing dot, more than one label.
fn is_dns_name(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.contains('.') && !name.contains('_') && !is_number && DnsName::try_from(name).is_ok()
}

fn is_address(text: &str) -> bool {
    let is_plain =
        |text: &str| !text.is_empty() && text.len() <= 200 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b",?#<>".contains(&byte));
    text.split_once('@').is_some_and(|(name, domain)| is_plain(name) && is_dns_name(domain))
}

fn are_roots(pem: &str) -> bool {
    let mut roots = RootCertStore::empty();
    let ders: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    ders.is_ok_and(|ders| !ders.is_empty() && ders.into_iter().all(|der| roots.add(der).is_ok()))
}

/// A hook that this site server does not have.
pub(crate) fn unknown_hook(acme: &Acme, site: &Site) -> Option<Problem> {
    let name = acme.hook.as_ref().filter(|name| !site.acme_hooks.contains_key(*name))?;
    let what = format!("site.toml of site server {} has no \"{name}\" in acme_hooks", site.name);
    Some(Problem::new("acme.hook", what, "write acme_hooks = { NAME = \"/path\" } there, on every site server, and start it again"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keys(table: Value) -> Vec<String> {
        let mut all = json!({ "directory": "https://acme.example/dir", "names": ["cmg.example.com"], "terms_agreed": true });
        all.as_object_mut().unwrap().extend(table.as_object().unwrap().clone());
        let acme: Acme = serde_json::from_value(all).unwrap();
        problems(&acme).into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn a_few_keys_are_enough() {
        assert_eq!(keys(json!({})), [""; 0]);
        assert_eq!(keys(json!({ "names": ["*.example.com", "example.com"], "challenge": "dns-01", "hook": "dns" })), [""; 0]);
    }

    #[test]
    fn every_problem_is_told() {
        let wrong = json!({
            "directory": "http://acme.example/dir",
            "names": ["*.example.com", "192.0.2.1", "localhost", "a.example.", "b.example", "B.example"],
            "terms_agreed": false,
            "contact": "nobody",
            "directory_authorities": ["no PEM"],
            "external_account": { "key_id": "", "hmac_key": "short" },
            "hook": "dns",
        });

        assert_eq!(
            keys(wrong),
            [
                "acme.directory",
                "acme.names[0]",
                "acme.names[1]",
                "acme.names[2]",
                "acme.names[3]",
                "acme.names[5]",
                "acme.terms_agreed",
                "acme.contact",
                "acme.directory_authorities[0]",
                "acme.external_account.key_id",
                "acme.external_account.hmac_key",
                "acme.hook"
            ]
        );
        assert_eq!(keys(json!({ "names": [], "challenge": "dns-01" })), ["acme.names", "acme.hook"]);
    }
}
