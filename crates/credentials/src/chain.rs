//! Client certificate chains: from a leaf to a configured root, or the reason why not.
//!
//! webpki builds the path and checks signatures, purposes, constraints and validity. What it leaves open is done on every path
//! that it proposes: validity of the root, the block list, and revocation of each certificate below the root. Only configured
//! roots are anchors, only the leaf is an identity; other certificates that a client sends can only help to build its path.
//!
//! Most clients of a site share an issuer, so the path above a leaf that passed is remembered (`issuers`): below a remembered
//! issuer a leaf costs one signature. Whatever does not pass there goes the whole way, which alone says why something is refused.
mod anchors;
mod issuers;
mod judging;
mod purpose;
mod reason;
mod sent;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use cmg_core::identity::CertificateFacts;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::revocation::RevocationPolicy;
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, VerifiedPath};
use x509_parser::certificate::X509Certificate;

use crate::blocks::Blocks;
use crate::facts;
use crate::lists::List;
use crate::validity::{Span, Verified};
use anchors::Anchor;
use issuers::Issuers;
use purpose::ClientPurpose;

/// Most certificates that a client may send. Real chains have two to four.
const LONGEST_CHAIN: usize = 10;
/// Most bytes that they may have together.
const LARGEST_CHAIN: usize = 64 << 10;

/// One trust policy, ready to verify chains.
pub struct ClientTrust {
    anchors: Vec<TrustAnchor<'static>>,
    /// What `anchors` leave out, in the same order.
    roots: Vec<Anchor>,
    intermediates: Vec<CertificateDer<'static>>,
    lists: Vec<Arc<List>>,
    policy: RevocationPolicy,
    blocks: Arc<Blocks>,
    issuers: Issuers,
}

/// What both parsers see in the certificate that is to be an identity.
struct Leaf<'a> {
    certificate: EndEntityCert<'a>,
    parsed: X509Certificate<'a>,
    facts: CertificateFacts,
}

impl ClientTrust {
    /// Prepares `trust`, or tells everything that is wrong with it.
    pub fn new(trust: &Trust) -> Result<Self, Vec<Problem>> {
        Self::with_blocks(trust, Arc::default())
    }

    /// The same, refusing paths with a blocked certificate.
    pub(crate) fn with_blocks(trust: &Trust, blocks: Arc<Blocks>) -> Result<Self, Vec<Problem>> {
        anchors::load(trust, blocks)
    }

    /// Verifies `chain`, the leaf first, at `now`.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: WallTime) -> Result<Verified<CertificateFacts>, Refusal> {
        let leaf = Leaf::read(first_of(chain)?)?;
        let span = match self.below_known_issuer(&leaf, &chain[1..], now) {
            Some(span) => span,
            None => self.find_path(&leaf, chain, now)?,
        };
        Ok(Verified::new(leaf.facts, span))
    }

    /// The whole way: builds paths to the roots until one passes.
    fn find_path(&self, leaf: &Leaf<'_>, chain: &[CertificateDer<'_>], now: WallTime) -> Result<Span, Refusal> {
        let intermediates = self.intermediates_with(&chain[1..]);
        let judged = Cell::new(None);
        let refused = Cell::new(None);
        let judge_path = |path: &VerifiedPath<'_>| match self.judge_path(leaf, path, now) {
            Ok(good) => {
                judged.set(Some(good));
                Ok(())
            }
            Err(refusal) => {
                refused.set(refused.get().or(Some(refusal)));
                Err(Error::CertRevoked)
            }
        };
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let certificate = &leaf.certificate;
        let path =
            certificate.verify_for_usage(algorithms, &self.anchors, &intermediates, unix(now), ClientPurpose, None, Some(&judge_path));
        match (path, judged.get(), refused.get()) {
            (Ok(path), Some(judged), _) => {
                purpose::demand_client(&leaf.parsed)?;
                self.remember_issuer(&path, judged.above);
                Ok(judged.above.and(judged.leaf))
            }
            (_, _, Some(refusal)) => Err(refusal),
            (Err(error), _, None) => Err(self.reason(chain, &error)),
            (Ok(_), None, None) => Err(Refusal::CertificateMalformed),
        }
    }

    /// Configured intermediates, then those that the client sent.
    fn intermediates_with<'a>(&'a self, sent: &'a [CertificateDer<'_>]) -> Vec<CertificateDer<'a>> {
        self.intermediates.iter().chain(self.vouched(sent)).map(|der| CertificateDer::from(der.as_ref())).collect()
    }
}

impl<'a> Leaf<'a> {
    fn read(der: &'a CertificateDer<'a>) -> Result<Self, Refusal> {
        let parsed = facts::parse(der)?;
        let facts = facts::facts_of(&parsed, der)?;
        let certificate = EndEntityCert::try_from(der).map_err(|error| reason::of(&error))?;
        Ok(Self { certificate, parsed, facts })
    }
}

fn first_of<'a, 'b>(chain: &'a [CertificateDer<'b>]) -> Result<&'a CertificateDer<'b>, Refusal> {
    let leaf = chain.first().ok_or(Refusal::CertificateMissing)?;
    let size: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if chain.len() > LONGEST_CHAIN || size > LARGEST_CHAIN {
        return Err(Refusal::CertificateMalformed);
    }
    Ok(leaf)
}

fn unix(now: WallTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.0))
}
