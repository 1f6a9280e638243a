//! Client certificate chains: from a leaf to a configured root, or the reason why not.
//!
//! webpki builds the path and checks signatures, purposes, constraints and validity. What it leaves open is done on every path
//! that it proposes: validity of the root, the block list, and revocation of each certificate below the root. Only configured
//! roots are anchors, only the leaf is an identity; other certificates that a client sends can only help to build its path.
mod anchors;
mod reason;
mod sent;

use std::cell::Cell;

use cmg_core::identity::CertificateFacts;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::revocation::{Lenience, ListAnswer, RevocationPolicy, judge};
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, VerifiedPath};
use x509_parser::certificate::X509Certificate;

use crate::blocks::Blocks;
use crate::facts;
use crate::lists::{self, List, Signer, Subject};
use crate::validity::{Span, Verified};
use anchors::Anchor;

/// Most certificates that a client may send. Real chains have two to four.
const LONGEST_CHAIN: usize = 10;
/// Most bytes that they may have together.
const LARGEST_CHAIN: usize = 64 << 10;

const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
const ANY_PURPOSE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

/// One trust policy, ready to verify chains.
pub struct ClientTrust {
    anchors: Vec<TrustAnchor<'static>>,
    /// What `anchors` leave out, in the same order.
    roots: Vec<Anchor>,
    intermediates: Vec<CertificateDer<'static>>,
    lists: Vec<List>,
    policy: RevocationPolicy,
}

impl ClientTrust {
    /// Prepares `trust`, or tells everything that is wrong with it.
    pub fn new(trust: &Trust) -> Result<Self, Vec<Problem>> {
        anchors::load(trust)
    }

    /// Verifies `chain`, the leaf first, at `now`.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: WallTime) -> Result<Verified<CertificateFacts>, Refusal> {
        self.verify_unless(&Blocks::default(), chain, now)
    }

    /// The same, refusing paths with a blocked certificate.
    pub(crate) fn verify_unless(
        &self,
        blocks: &Blocks,
        chain: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<Verified<CertificateFacts>, Refusal> {
        let leaf = first_of(chain)?;
        let parsed = facts::parse(leaf)?;
        let facts = facts::facts_of(&parsed, leaf)?;
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| reason::of(&error))?;
        let intermediates = self.intermediates_with(&chain[1..]);

        let span = Cell::new(None);
        let refused = Cell::new(None);
        let judge_path = |path: &VerifiedPath<'_>| match self.judge_path(path, blocks, now) {
            Ok(good) => {
                span.set(Some(good));
                Ok(())
            }
            Err(refusal) => {
                refused.set(refused.get().or(Some(refusal)));
                Err(Error::CertRevoked)
            }
        };
        let path = end_entity.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &self.anchors,
            &intermediates,
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.0)),
            ClientPurpose,
            None,
            Some(&judge_path),
        );
        match (path, span.get(), refused.get()) {
            (Ok(_), Some(span), _) => {
                demand_client_purpose(&parsed)?;
                Ok(Verified::new(facts, span))
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

    /// Judges a path whose signatures, purposes and constraints are good.
    fn judge_path(&self, path: &VerifiedPath<'_>, blocks: &Blocks, now: WallTime) -> Result<Span, Refusal> {
        let root = self.root_of(path.anchor());
        let mut span = root.span;
        within(span, now)?;

        let mut below = vec![path.end_entity().der()];
        below.extend(path.intermediate_certificates().map(webpki::Cert::der));
        let parsed = below.iter().map(|der| facts::parse(der)).collect::<Result<Vec<_>, _>>()?;

        let certificates = std::iter::once(&**path.end_entity()).chain(path.intermediate_certificates());
        for (depth, certificate) in certificates.enumerate() {
            span = span.and(facts::span_of(&parsed[depth]));
            if blocks.name_certificates() && blocks.block_certificate(&facts::facts_of(&parsed[depth], &below[depth])?) {
                return Err(Refusal::CertificateBlocked);
            }
            let signer = match (path.intermediate_certificates().nth(depth), parsed.get(depth + 1)) {
                (Some(issuer), Some(parsed)) => Signer { key: issuer.subject_public_key_info(), signs_lists: anchors::signs_lists(parsed) },
                _ => Signer { key: webpki::spki_for_anchor(path.anchor()), signs_lists: root.signs_lists },
            };
            let subject = Subject { certificate, parsed: &parsed[depth], is_authority: depth > 0 };
            span = self.judge_revocation(span, &subject, &signer, now)?;
        }
        Ok(span)
    }

    fn judge_revocation(&self, span: Span, subject: &Subject<'_>, signer: &Signer<'_>, now: WallTime) -> Result<Span, Refusal> {
        if !self.policy.check {
            return Ok(span);
        }
        let answer = lists::answer(&self.lists, subject, signer);
        judge(self.policy, answer, now)?;
        match (answer, self.policy.stale) {
            (ListAnswer::NotRevoked { next_update: Some(due) }, Lenience::Deny) => Ok(span.at_most(due)),
            _ => Ok(span),
        }
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

fn within(span: Span, now: WallTime) -> Result<(), Refusal> {
    if now < span.from {
        return Err(Refusal::CertificateNotYetValid);
    }
    if now > span.until { Err(Refusal::CertificateExpired) } else { Ok(()) }
}

/// A leaf must say that it is for client authentication; silence or "any purpose" is not enough.
fn demand_client_purpose(leaf: &X509Certificate<'_>) -> Result<(), Refusal> {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if usage.value.client_auth => Ok(()),
        _ => Err(Refusal::CertificatePurpose),
    }
}

/// What each certificate of a path may say: authorities often say nothing, or "any purpose".
struct ClientPurpose;

impl ExtendedKeyUsageValidator for ClientPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut silent = true;
        for purpose in purposes {
            let purpose = purpose?;
            silent = false;
            if purpose == CLIENT_AUTH || purpose == ANY_PURPOSE {
                return Ok(());
            }
        }
        if silent { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}
