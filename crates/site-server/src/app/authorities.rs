//! The certificates of a trust, one by one: who they are, and adding and removing one of them without sending the others again.

use std::sync::Arc;

use cmg_api::resource::{ClientTrust, Resource};
use cmg_authority::certificate_pem;
use cmg_core::identity::CertificateFacts;
use cmg_core::problem::Problem;
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::change::{ChangeRefused, Draft};
use super::resources;
use super::text::hex;
use crate::site::Site;

/// One certificate of a trust.
pub struct Authority {
    /// Whether it is a root; otherwise it is an issuing certificate that clients need not send.
    pub is_root: bool,
    /// What it says.
    pub facts: CertificateFacts,
}

/// The certificates of a trust: roots, then issuing certificates. One that cannot be read is left out; none is stored.
pub fn of(trust: &ClientTrust) -> Vec<Authority> {
    let texts = trust.authorities.iter().map(|text| (true, text)).chain(trust.intermediates.iter().map(|text| (false, text)));
    let certificates = texts.flat_map(|(is_root, text)| ders(text).map(move |der| (is_root, der)));
    certificates.filter_map(|(is_root, der)| Some(Authority { is_root, facts: certificate_facts(&der).ok()? })).collect()
}

/// Adds the certificates of a PEM text to a trust. Those that it has already stay as they are.
pub async fn add(site: &Site, draft: &mut Draft<'_>, trust: &str, pem: &str, is_root: bool) -> Result<Arc<ClientTrust>, ChangeRefused> {
    let present = present(draft, trust)?;
    let mut changed = ClientTrust::clone(&present);
    let list = if is_root { &mut changed.authorities } else { &mut changed.intermediates };
    let known: Vec<CertificateDer<'_>> = list.iter().flat_map(|text| ders(text)).collect();
    let found: Vec<CertificateDer<'_>> = ders(pem).collect();
    if found.is_empty() {
        let problem = Problem::new("certificates", "there is no certificate in it", "write certificates as PEM");
        return Err(ChangeRefused::Problems(vec![problem]));
    }
    let new: Vec<String> = found.iter().filter(|der| !known.contains(der)).map(|der| certificate_pem(der)).collect();
    list.extend(new);
    set(site, draft, trust, changed).await
}

/// Takes the certificate with this SHA-1 or SHA-256 thumbprint, hexadecimal, out of a trust.
pub async fn remove(site: &Site, draft: &mut Draft<'_>, trust: &str, thumbprint: &str) -> Result<Arc<ClientTrust>, ChangeRefused> {
    let present = present(draft, trust)?;
    let wanted: String = thumbprint.chars().filter(|letter| *letter != ':').collect::<String>().to_ascii_lowercase();
    let is_it = |der: &CertificateDer<'_>| {
        certificate_facts(der).is_ok_and(|facts| wanted == hex(&facts.thumbprint) || wanted == hex(&facts.thumbprint_sha256))
    };
    let without = |texts: &[String]| -> Vec<String> { texts.iter().filter_map(|text| without(text, is_it)).collect() };
    let (authorities, intermediates) = (without(&present.authorities), without(&present.intermediates));
    if authorities == present.authorities && intermediates == present.intermediates {
        return Err(ChangeRefused::NotFound { kind: "authority", name: thumbprint.to_owned() });
    }
    set(site, draft, trust, ClientTrust { authorities, intermediates, ..ClientTrust::clone(&present) }).await
}

fn present(draft: &Draft<'_>, trust: &str) -> Result<Arc<ClientTrust>, ChangeRefused> {
    let found = draft.model.trusts.get(trust).cloned();
    found.ok_or_else(|| ChangeRefused::NotFound { kind: ClientTrust::KIND, name: trust.to_owned() })
}

async fn set(site: &Site, draft: &mut Draft<'_>, name: &str, trust: ClientTrust) -> Result<Arc<ClientTrust>, ChangeRefused> {
    let read = <ClientTrust as resources::Written>::read(trust).map_err(ChangeRefused::Problems)?;
    let (trust, _) = resources::set::<ClientTrust>(site, draft, name, read).await?;
    Ok(Arc::new(trust))
}

/// A text without the certificates that `is_it` means; the same where it has none of them, and none where nothing is left.
fn without(pem: &str, is_it: impl Fn(&CertificateDer<'_>) -> bool) -> Option<String> {
    let all: Vec<CertificateDer<'_>> = ders(pem).collect();
    if !all.iter().any(&is_it) {
        return Some(pem.to_owned());
    }
    let left: String = all.iter().filter(|der| !is_it(der)).map(|der| certificate_pem(der)).collect();
    (!left.is_empty()).then_some(left)
}

fn ders(pem: &str) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect::<Vec<_>>().into_iter()
}
