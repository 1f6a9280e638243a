//! What webpki leaves open on a path whose signatures, purposes and constraints are good: validity of the root, the block list, and
//! revocation of each certificate below the root.
use std::sync::Arc;

use cmg_core::refusal::Refusal;
use cmg_core::revocation::{ListAnswer, judge};
use cmg_core::time::WallTime;
use webpki::{Cert, VerifiedPath};
use x509_parser::certificate::X509Certificate;

use super::{ClientTrust, Leaf, anchors};
use crate::facts;
use crate::lists::{self, List, Signer, Subject};
use crate::validity::Span;

/// When a path counts.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    /// The leaf alone.
    pub(super) leaf: Span,
    /// Everything above it.
    pub(super) above: Span,
}

impl ClientTrust {
    pub(super) fn judge_path(&self, leaf: &Leaf<'_>, path: &VerifiedPath<'_>, now: WallTime) -> Result<Judged, Refusal> {
        let root = self.root_of(path.anchor());
        within(root.span, now)?;
        let above: Vec<_> = path.intermediate_certificates().map(|certificate| (certificate, certificate.der())).collect();
        let parsed = above.iter().map(|(_, der)| facts::parse(der)).collect::<Result<Vec<_>, _>>()?;
        let lists_of_issuer_at = |place: usize| match (above.get(place), parsed.get(place)) {
            (Some((issuer, _)), Some(parsed)) => self.lists_of(&Signer {
                name: issuer.subject(),
                key: issuer.subject_public_key_info(),
                signs_lists: anchors::signs_lists(parsed),
            }),
            _ => self.lists_of(&Signer {
                name: &path.anchor().subject,
                key: webpki::spki_for_anchor(path.anchor()),
                signs_lists: root.signs_lists,
            }),
        };

        let mut judged = Judged { leaf: self.judge_leaf(leaf, &lists_of_issuer_at(0), now)?, above: root.span };
        for (place, (certificate, _)) in above.iter().enumerate() {
            let span = self.judge_authority(certificate, &parsed[place], &lists_of_issuer_at(place + 1), now)?;
            judged.above = judged.above.and(span);
        }
        Ok(judged)
    }

    /// Judges a leaf by `lists`, which are its issuer's.
    pub(super) fn judge_leaf(&self, leaf: &Leaf<'_>, lists: &[Arc<List>], now: WallTime) -> Result<Span, Refusal> {
        if self.blocks.block_certificate(&leaf.facts) {
            return Err(Refusal::CertificateBlocked);
        }
        self.judge_revocation(&Subject { certificate: &leaf.certificate, parsed: &leaf.parsed, is_authority: false }, lists, now)
    }

    fn judge_authority(
        &self,
        certificate: &Cert<'_>,
        parsed: &X509Certificate<'_>,
        lists: &[Arc<List>],
        now: WallTime,
    ) -> Result<Span, Refusal> {
        if self.blocks.name_certificates() && self.blocks.block_certificate(&facts::facts_of(parsed, &certificate.der())?) {
            return Err(Refusal::CertificateBlocked);
        }
        self.judge_revocation(&Subject { certificate, parsed, is_authority: true }, lists, now)
    }

    fn judge_revocation(&self, subject: &Subject<'_>, lists: &[Arc<List>], now: WallTime) -> Result<Span, Refusal> {
        let span = facts::span_of(subject.parsed);
        if !self.policy.check {
            return Ok(span);
        }
        let answer = lists::answer(lists, subject);
        judge(self.policy, answer, now)?;
        let believed_until = match answer {
            ListAnswer::NotRevoked { next_update: Some(due) } => self.policy.stale.believed_until(due),
            _ => None,
        };
        Ok(believed_until.map_or(span, |last| span.at_most(last)))
    }

    /// The lists that `signer` signed; none where the policy does not look at any.
    pub(super) fn lists_of(&self, signer: &Signer<'_>) -> Vec<Arc<List>> {
        if !self.policy.check {
            return Vec::new();
        }
        self.lists.iter().filter(|list| list.is_of(signer)).map(Arc::clone).collect()
    }
}

fn within(span: Span, now: WallTime) -> Result<(), Refusal> {
    if now < span.from {
        return Err(Refusal::CertificateNotYetValid);
    }
    if now > span.until { Err(Refusal::CertificateExpired) } else { Ok(()) }
}
