//! Warnings before something expires: 60, 30, 14, 7 and 1 days before, and after it has; of revocation lists the day before, and again
//! the day before their grace is over.
//!
//! Everything is looked at anew each time, and what is open is made to match: what was renewed is a warning no more. Each step is logged
//! once.

use std::collections::BTreeMap;

use cmg_api::WhenStale;
use cmg_core::time::WallTime;
use cmg_credentials::facts::certificate_facts;
use cmg_credentials::overdue;
use cmg_store::{Change, View};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, CertificateRevocationListDer};
use tracing::warn;

use super::change::ChangeRefused;
use super::in_force::{InForce, SITE_CLIENTS};
use super::keys::{CLIENTS, INFRASTRUCTURE, Keys, SNAPSHOTS};
use super::text::time;
use crate::site::Site;

/// How often everything is looked at, in seconds.
pub const OFTEN: i64 = 60 * 60;

/// Days before an end at which a warning is raised.
const STEPS: [i64; 5] = [1, 7, 14, 30, 60];

const DAY: i64 = 86_400;

/// What every warning of this file begins with.
const PREFIX: &str = "expiry/";

/// What warnings about orders at ACME servers begin with.
const ACME: &str = "acme/";

/// Raises the warning that a certificate does not come from its ACME server.
pub(crate) async fn raise_acme(change: &mut Change, certificate: &str, why: &str) -> Result<(), cmg_store::Error> {
    let what = format!("server certificate \"{certificate}\" does not come from its ACME server, and what was in force stays so: {why}");
    change.raise_warning(&format!("{ACME}{certificate}"), "ACME order", certificate, &what).await.map(drop)
}

/// Ends it.
pub(crate) async fn clear_acme(change: &mut Change, certificate: &str) -> Result<(), cmg_store::Error> {
    change.clear_warning(&format!("{ACME}{certificate}")).await.map(drop)
}

/// Something that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ending {
    kind: &'static str,
    subject: String,
    ends: i64,
    /// From when on it is a warning, and what to do.
    steps: &'static [i64],
    instead: &'static str,
}

/// Raises and clears warnings, and says how many are open.
pub async fn look(site: &Site, now: i64) -> Result<usize, ChangeRefused> {
    let mut change = site.store.begin(now).await?;
    let endings = endings(&mut change, &site.in_force(), &site.keys(), now).await?;
    let mut open: BTreeMap<String, (Ending, String)> = BTreeMap::new();
    for ending in endings {
        let Some(step) = step(&ending, now) else { continue };
        let (id, what) = (format!("{PREFIX}{}/{}/{step}", ending.kind, ending.subject), words(&ending, now));
        open.insert(id, (ending, what));
    }
    for (id, (ending, what)) in &open {
        if change.raise_warning(id, ending.kind, &ending.subject, what).await? {
            warn!(kind = ending.kind, subject = ending.subject, "{what}");
            change.note_warning_told(id).await?;
        }
    }
    for warning in change.warnings().await? {
        let of_order = warning.id.strip_prefix(ACME).map(|name| site.in_force().model.certificates.get(name).cloned());
        // One that is uploaded by now waits for nobody.
        let is_over = of_order.is_some_and(|certificate| certificate.is_none_or(|certificate| certificate.acme.is_none()));
        if is_over || warning.id.starts_with(PREFIX) && !open.contains_key(&warning.id) {
            change.clear_warning(&warning.id).await?;
        }
    }
    change.commit().await?;
    Ok(open.len())
}

/// The step that an ending has reached: days, and 0 where it has ended.
fn step(ending: &Ending, now: i64) -> Option<i64> {
    if ending.ends <= now {
        return Some(0);
    }
    ending.steps.iter().copied().find(|days| ending.ends - now <= days * DAY)
}

fn words(ending: &Ending, now: i64) -> String {
    let at = time(ending.ends);
    let when = match (ending.ends - now + DAY - 1) / DAY {
        _ if ending.ends <= now => format!("has ended on {at}"),
        1 => format!("ends within a day, on {at}"),
        days => format!("ends in {days} days, on {at}"),
    };
    format!("{} \"{}\" {when}: {}", ending.kind, ending.subject, ending.instead)
}

/// Everything that ends.
async fn endings(view: &mut View, in_force: &InForce, keys: &Keys, now: i64) -> Result<Vec<Ending>, cmg_store::Error> {
    let mut all = of_model(in_force);
    all.extend(of_keys(keys));
    all.extend(of_fetched_lists(view, in_force, now).await?);
    all.extend(of_uploaded_lists(in_force, now));
    for member in view.members(None).await? {
        let subject = format!("{}/{}", member.kind, member.name);
        let instead = "see that it runs and reaches the site, which renews it, or enrol it again";
        // Members renew 30 days before; what is later than that is worth a look.
        all.extend(member.certificate_ends.map(|ends| Ending { kind: "member certificate", subject, ends, steps: &STEPS[..3], instead }));
    }
    for account in view.accounts().await? {
        for token in view.api_tokens_of(&account.name).await? {
            if token.revoked_at.is_none() && token.expires_at > now {
                let subject = format!("{}/{}", account.name, token.name);
                all.push(Ending { kind: "API token", subject, ends: token.expires_at, steps: &STEPS, instead: "make a new one" });
            }
        }
    }
    Ok(all)
}

fn of_model(in_force: &InForce) -> Vec<Ending> {
    let model = &in_force.model;
    let mut all = Vec::new();
    let mut add = |kind: &'static str, subject: String, pem: &str, instead: &'static str| {
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok) {
            let Ok(facts) = certificate_facts(&der) else { continue };
            let subject = format!("{subject} {}", facts.subject);
            all.push(Ending { kind, subject, ends: facts.not_after.0 as i64, steps: &STEPS, instead });
        }
    };
    for certificate in model.certificates.values() {
        let instead = match certificate.acme {
            Some(_) => "see `acme_status` of the certificate, which says why its ACME server sends no successor",
            None => "upload its successor under the same name",
        };
        add("server certificate", certificate.name.clone(), &certificate.chain, instead);
    }
    for trust in model.trusts.values() {
        for pem in &trust.authorities {
            add("trust root", trust.name.clone(), pem, "add its successor beside it, and remove it when no client needs it");
        }
        for pem in &trust.intermediates {
            add("trust intermediate", trust.name.clone(), pem, "add its successor beside it, and remove it when no client needs it");
        }
    }
    for issuer in model.token_issuers.values() {
        for (id, pem) in &issuer.keys {
            add("token issuer key", format!("{}/{id}", issuer.name), pem, "add its successor beside it");
        }
    }
    all
}

fn of_keys(keys: &Keys) -> Vec<Ending> {
    let own = keys.ends().into_iter().map(|(name, WallTime(ends))| (name.to_owned(), ends));
    let roots = [("authority/infrastructure-root", &keys.infrastructure_root), ("authority/client-root", &keys.client_root)];
    let roots = roots.into_iter().filter_map(|(name, der)| Some((name.to_owned(), certificate_facts(der).ok()?.not_after.0)));
    let ending = |(subject, ends): (String, u64)| {
        let ends_with_its_issuer = subject == SNAPSHOTS && ends >= keys.infrastructure.not_after().0;
        let (steps, instead) = match &*subject {
            INFRASTRUCTURE => (&STEPS[..], "run `cmg site renew-issuers --only infrastructure` with the export of the root keys"),
            CLIENTS => (&STEPS[..], "run `cmg site renew-issuers --only clients` with the export of the root keys"),
            _ if ends_with_its_issuer => (&STEPS[..], "it ends with its issuer: run `cmg site renew-issuers --only infrastructure`"),
            // The site replaces these by itself 60 days before, and tokens' 30 days later; what is left after that is worth a look.
            signing if signing.starts_with("signing/") => (&STEPS[..3], "see in the log why its successor does not sign"),
            _ => (&STEPS[..], "run `cmg site add-root`, and `cmg site remove-root` when everybody has followed"),
        };
        Ending { kind: "site key", subject, ends: ends as i64, steps, instead }
    };
    own.chain(roots).map(ending).collect()
}

/// A list that is made anew every day is a warning only in the second half of its time.
async fn of_fetched_lists(view: &mut View, in_force: &InForce, now: i64) -> Result<Vec<Ending>, cmg_store::Error> {
    let mut all = Vec::new();
    for list in view.crls().await?.into_iter().filter(|list| list.trust != SITE_CLIENTS) {
        let (Some(ends), Some(made)) = (list.next_update, list.this_update) else { continue };
        if now >= made + (ends - made) / 2 {
            let stale_crl = in_force.model.trusts.get(&list.trust).map_or(WhenStale::Deny, |trust| trust.stale_crl);
            let subject = format!("{} {}", list.trust, list.source);
            all.extend(of_list(subject, ends, stale_crl, now, "have the authority publish a new one where the site fetches it"));
        }
    }
    Ok(all)
}

/// One beside its successor is no warning.
fn of_uploaded_lists(in_force: &InForce, now: i64) -> Vec<Ending> {
    let tomorrow = WallTime((now + DAY) as u64);
    let mut all = Vec::new();
    for trust in in_force.model.trusts.values() {
        let of_text =
            |text: &String| CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).collect::<Vec<_>>();
        let lists: Vec<_> = trust.crls.iter().flat_map(of_text).map(|der| der.to_vec()).collect();
        for (number, WallTime(ends)) in overdue(&lists, tomorrow) {
            let subject = format!("{} uploaded list {}", trust.name, number + 1);
            all.extend(of_list(subject, ends as i64, trust.stale_crl, now, "upload the next one, or write its address in crl_urls"));
        }
    }
    all
}

/// The end of a list, and where it is over, that of its grace.
fn of_list(subject: String, ends: i64, stale_crl: WhenStale, now: i64, instead: &'static str) -> Vec<Ending> {
    let end = |kind, ends| Ending { kind, subject: subject.clone(), ends, steps: &STEPS[..1], instead };
    let mut all = vec![end("revocation list", ends)];
    match stale_crl {
        WhenStale::Grace(grace) if ends <= now => all.push(end("grace of revocation list", ends + grace.time().as_secs() as i64)),
        WhenStale::Grace(_) | WhenStale::Deny | WhenStale::Allow => {}
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(steps: &'static [i64], ends: i64) -> Ending {
        Ending { kind: "server certificate", subject: "web".to_owned(), ends, steps, instead: "upload its successor" }
    }

    #[test]
    fn each_step_begins_at_its_day() {
        let at = |seconds| step(&ending(&STEPS, 100 * DAY), 100 * DAY - seconds);

        assert_eq!(at(60 * DAY + 1), None);
        assert_eq!([60, 31, 30, 15, 14, 8, 7, 2, 1].map(|days| at(days * DAY)), [60, 60, 30, 30, 14, 14, 7, 7, 1].map(Some));
        assert_eq!((at(1), at(0), at(-DAY)), (Some(1), Some(0), Some(0)));
        assert_eq!(step(&ending(&STEPS[..1], 100 * DAY), 98 * DAY), None);
    }

    #[test]
    fn the_grace_of_a_list_is_an_end_of_its_own() {
        let grace = WhenStale::Grace(cmg_api::text::Duration::days(7));
        let steps = |stale_crl, now| {
            let all = of_list("corp".to_owned(), 100 * DAY, stale_crl, now, "fetch");
            all.iter().filter_map(|ending| Some((ending.kind, step(ending, now)?))).collect::<Vec<_>>()
        };

        assert_eq!(steps(grace, 99 * DAY), [("revocation list", 1)]);
        assert_eq!(steps(grace, 105 * DAY), [("revocation list", 0)]);
        assert_eq!(steps(grace, 106 * DAY), [("revocation list", 0), ("grace of revocation list", 1)]);
        assert_eq!(steps(grace, 107 * DAY), [("revocation list", 0), ("grace of revocation list", 0)]);
        assert_eq!(steps(WhenStale::Deny, 107 * DAY), [("revocation list", 0)]);
    }

    #[test]
    fn words_say_when_and_what_to_do() {
        assert!(words(&ending(&STEPS, 10 * DAY), 8 * DAY).starts_with("server certificate \"web\" ends in 2 days, on 1970-01-11"));
        assert!(words(&ending(&STEPS, 10 * DAY), 10 * DAY - 5).contains("ends within a day"));
        assert!(words(&ending(&STEPS, 10 * DAY), 11 * DAY).contains("has ended on 1970-01-11"));
    }
}
