//! Root certificates by which somebody inside is believed, besides those of the system.

use cmg_core::problem::Problem;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use rustls::RootCertStore;

/// Most certificates.
const MOST: usize = 100;

/// What is wrong with texts under `key`, each of which holds certificates in PEM.
pub(crate) fn problems(key: &str, texts: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut roots = RootCertStore::empty();
    for (place, text) in texts.iter().enumerate() {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let is_good = certificates.is_ok_and(|some| !some.is_empty() && some.into_iter().all(|root| roots.add(root).is_ok()));
        if !is_good {
            problems.push(Problem::new(format!("{key}[{place}]"), "it holds no certificate, or one that cannot be read", "write PEM"));
        }
    }
    if roots.len() > MOST {
        problems.push(Problem::new(key, "there are too many", format!("write at most {MOST} certificates")));
    }
    problems
}

/// The certificates in these texts, DER.
pub(crate) fn read(texts: &[String]) -> Vec<Vec<u8>> {
    let each = texts.iter().flat_map(|text| CertificateDer::pem_slice_iter(text.as_bytes()));
    each.filter_map(Result::ok).map(|root| root.to_vec()).collect()
}
