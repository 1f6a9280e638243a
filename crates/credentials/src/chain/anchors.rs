//! Turning a configured trust policy into anchors, intermediates and lists, with every problem named.
use std::sync::Arc;

use cmg_core::problem::Problem;
use cmg_core::trust::Trust;
use pki_types::{CertificateDer, TrustAnchor};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;

use super::ClientTrust;
use super::issuers::Issuers;
use crate::blocks::Blocks;
use crate::facts;
use crate::lists::List;
use crate::validity::Span;

/// What webpki's anchors leave out.
pub(super) struct Anchor {
    pub(super) span: Span,
    pub(super) signs_lists: bool,
}

/// Whether the key usage of an authority allows signing lists; silence does.
pub(super) fn signs_lists(authority: &X509Certificate<'_>) -> bool {
    match authority.key_usage() {
        Ok(Some(usage)) => usage.value.crl_sign(),
        Ok(None) => true,
        Err(_) => false,
    }
}

pub(super) fn load(trust: &Trust, blocks: Arc<Blocks>) -> Result<ClientTrust, Vec<Problem>> {
    let mut loading = Loading { name: trust.name.as_str(), problems: Vec::new() };
    let (anchors, roots) = loading.anchors(&trust.authorities);
    let intermediates = loading.intermediates(&trust.intermediates);
    let lists = loading.lists(&trust.lists);
    for (place, list) in &lists {
        loading.demand_known_signer(*place, list, &anchors, &intermediates);
    }
    if !loading.problems.is_empty() {
        return Err(loading.problems);
    }
    let lists = lists.into_iter().map(|(_, list)| Arc::new(list)).collect();
    Ok(ClientTrust { anchors, roots, intermediates, lists, policy: trust.revocation, blocks, issuers: Issuers::default() })
}

impl ClientTrust {
    /// The root behind `anchor`; of several with the same name and key, the one that lasts longest.
    pub(super) fn root_of(&self, anchor: &TrustAnchor<'_>) -> &Anchor {
        let same = self
            .anchors
            .iter()
            .zip(&self.roots)
            .filter(|(known, _)| known.subject == anchor.subject && known.subject_public_key_info == anchor.subject_public_key_info);
        let (_, root) = same.max_by_key(|(_, root)| root.span.until).expect("webpki's anchor is one of those it was given");
        root
    }
}

struct Loading<'a> {
    name: &'a str,
    problems: Vec<Problem>,
}

impl Loading<'_> {
    fn anchors(&mut self, authorities: &[Vec<u8>]) -> (Vec<TrustAnchor<'static>>, Vec<Anchor>) {
        if authorities.is_empty() {
            let key = format!("trust.{}.authorities", self.name);
            self.problems.push(Problem::new(key, "no authority is named", "name at least one root certificate"));
        }
        let mut loaded = (Vec::new(), Vec::new());
        for (place, der) in authorities.iter().enumerate() {
            let certificate = CertificateDer::from(der.as_slice());
            match (webpki::anchor_from_trusted_cert(&certificate), facts::parse(der)) {
                (Ok(anchor), Ok(parsed)) => {
                    loaded.0.push(anchor.to_owned());
                    loaded.1.push(Anchor { span: facts::span_of(&parsed), signs_lists: signs_lists(&parsed) });
                }
                _ => self.unusable("authorities", place, "it cannot be read", "name a file of X.509 root certificates"),
            }
        }
        loaded
    }

    fn intermediates(&mut self, intermediates: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
        let mut loaded = Vec::new();
        for (place, der) in intermediates.iter().enumerate() {
            let certificate = CertificateDer::from(der.clone());
            let is_authority = EndEntityCert::try_from(&certificate).is_ok() && facts::parse(der).is_ok_and(|parsed| parsed.is_ca());
            if is_authority {
                loaded.push(certificate);
            } else {
                self.unusable("intermediates", place, "it is no certificate of an authority", "name issuing authorities only");
            }
        }
        loaded
    }

    fn lists(&mut self, lists: &[Vec<u8>]) -> Vec<(usize, List)> {
        let mut loaded = Vec::new();
        for (place, der) in lists.iter().enumerate() {
            match List::parse(der) {
                Ok(list) => loaded.push((place, list)),
                Err(what) => self.unusable("crls", place, what, "name complete version 2 lists of the authorities"),
            }
        }
        loaded
    }

    /// A list that bears the name of a configured authority must be signed by it. One of an unknown name may belong to an
    /// intermediate that clients send.
    fn demand_known_signer(&mut self, place: usize, list: &List, anchors: &[TrustAnchor<'_>], intermediates: &[CertificateDer<'_>]) {
        let roots = anchors.iter().filter(|anchor| anchor.subject.as_ref() == list.issuer()).map(webpki::spki_for_anchor);
        let below = intermediates.iter().filter_map(|der| EndEntityCert::try_from(der).ok());
        let below = below.filter(|certificate| certificate.subject() == list.issuer());
        let keys: Vec<_> = roots.chain(below.map(|certificate| certificate.subject_public_key_info())).collect();
        if !keys.is_empty() && !keys.iter().any(|key| list.is_signed_by(key)) {
            let what = "it bears an authority's name, but not its signature";
            self.unusable("crls", place, what, "fetch the list from the authority again");
        }
    }

    fn unusable(&mut self, list: &str, place: usize, what: &str, instead: &str) {
        self.problems.push(Problem::new(format!("trust.{}.{list}[{place}]", self.name), what, instead));
    }
}
