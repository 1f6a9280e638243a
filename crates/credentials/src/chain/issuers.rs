//! Issuers whose own way to a root has been verified, so that a leaf below one costs one signature.
//!
//! What is remembered holds for every leaf of the issuer, at any time within its span: signatures, purposes, constraints, blocks
//! and lists above the leaf depend on nothing but the configuration, and a `ClientTrust` is one generation of it. Three things do
//! depend on the leaf or its sender, and each is seen to:
//!
//! - A sender who does not send what is not configured has no path: the certificates needed are compared, byte by byte.
//! - Names that somebody *above* the issuer constrains are not checked below its anchor: such an issuer is never remembered.
//! - A path must not return to a certificate that it has passed: a leaf with an authority's name goes the whole way.
//!
//! So a leaf passes here only where one of its paths is good. One difference is left: whoever sends so many certificates that path
//! building gives up is refused until its issuer is remembered.
use std::sync::{Arc, PoisonError, RwLock};

use cmg_core::time::WallTime;
use pki_types::{CertificateDer, TrustAnchor};
use webpki::{Cert, VerifiedPath};

use super::purpose::{self, ClientPurpose};
use super::{ClientTrust, Leaf, anchors, unix};
use crate::facts;
use crate::lists::{List, Signer};
use crate::validity::Span;

/// Most issuers remembered. Sites have a handful; of more, those used last to be new stay.
const CAPACITY: usize = 64;

/// The issuers of one trust policy, the latest last.
#[derive(Default)]
pub(super) struct Issuers {
    known: RwLock<Vec<Arc<Issuer>>>,
}

struct Issuer {
    /// Its name, key and name constraints: one, in the form that webpki takes.
    anchor: [TrustAnchor<'static>; 1],
    /// Itself and what stands between it and the root; empty: it is a root.
    path: Vec<CertificateDer<'static>>,
    /// Those of `path` that clients have to send.
    to_be_sent: Vec<CertificateDer<'static>>,
    /// Subjects of `path`.
    names: Vec<Vec<u8>>,
    /// The lists that it signed.
    lists: Vec<Arc<List>>,
    /// When its own path counts.
    span: Span,
}

impl Issuers {
    fn named(&self, name: &[u8]) -> Vec<Arc<Issuer>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|issuer| issuer.anchor[0].subject.as_ref() == name).map(Arc::clone).collect()
    }

    fn remember(&self, issuer: Issuer) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.path != issuer.path || other.anchor != issuer.anchor);
        if known.len() >= CAPACITY {
            known.remove(0);
        }
        known.push(Arc::new(issuer));
    }
}

impl ClientTrust {
    /// When `leaf` counts, where it passes below an issuer that is remembered. `None` says nothing about it.
    pub(super) fn below_known_issuer(&self, leaf: &Leaf<'_>, sent: &[CertificateDer<'_>], now: WallTime) -> Option<Span> {
        let issuers = self.issuers.named(leaf.certificate.issuer());
        issuers.iter().filter(|issuer| issuer.may_have_issued(leaf, sent, now)).find_map(|issuer| self.below(issuer, leaf, now))
    }

    /// The signature last: it is what costs.
    fn below(&self, issuer: &Issuer, leaf: &Leaf<'_>, now: WallTime) -> Option<Span> {
        purpose::demand_client(&leaf.parsed).ok()?;
        let span = self.judge_leaf(leaf, &issuer.lists, now).ok()?;
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        leaf.certificate.verify_for_usage(algorithms, &issuer.anchor, &[], unix(now), ClientPurpose, None, None).ok()?;
        Some(issuer.span.and(span))
    }

    /// Remembers who issued the leaf of `path`, everything above which passed and counts for `span`.
    pub(super) fn remember_issuer(&self, path: &VerifiedPath<'_>, span: Span) {
        let above: Vec<_> = path.intermediate_certificates().collect();
        let Some((anchor, signs_lists)) = self.issuer_of_leaf(path.anchor(), &above) else {
            return;
        };
        let signer = Signer { name: &anchor.subject, key: webpki::spki_for_anchor(&anchor), signs_lists };
        let lists = self.lists_of(&signer);
        let path: Vec<_> = above.iter().map(|certificate| certificate.der().into_owned()).collect();
        self.issuers.remember(Issuer {
            to_be_sent: path.iter().filter(|der| !self.intermediates.contains(der)).cloned().collect(),
            names: above.iter().map(|certificate| certificate.subject().to_vec()).collect(),
            anchor: [anchor],
            path,
            lists,
            span,
        });
    }

    /// The issuer as an anchor, and whether it may sign lists. None where that anchor would know too little.
    fn issuer_of_leaf(&self, root: &TrustAnchor<'_>, above: &[&Cert<'_>]) -> Option<(TrustAnchor<'static>, bool)> {
        let Some((issuer, higher)) = above.split_first() else {
            return Some((root.to_owned(), self.root_of(root).signs_lists));
        };
        let is_constrained = root.name_constraints.is_some() || higher.iter().any(|certificate| constrains_names(certificate));
        if is_constrained {
            return None;
        }
        let der = issuer.der();
        let anchor = webpki::anchor_from_trusted_cert(&der).ok()?.to_owned();
        Some((anchor, anchors::signs_lists(&facts::parse(&der).ok()?)))
    }
}

impl Issuer {
    fn may_have_issued(&self, leaf: &Leaf<'_>, sent: &[CertificateDer<'_>], now: WallTime) -> bool {
        self.span.holds(now)
            && self.to_be_sent.iter().all(|needed| sent.iter().any(|der| der == needed))
            && !self.names.iter().any(|name| name == leaf.certificate.subject())
    }
}

/// What cannot be read is taken to do so.
fn constrains_names(certificate: &Cert<'_>) -> bool {
    webpki::anchor_from_trusted_cert(&certificate.der()).map_or(true, |anchor| anchor.name_constraints.is_some())
}

#[cfg(test)]
mod tests;
