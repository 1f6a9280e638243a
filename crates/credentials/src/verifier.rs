//! Verification of credentials under one generation of the configuration: trust policies, token keys and the block list.
//!
//! A credential is verified once and remembered until the generation ends; after that a request costs one digest, one look-up and
//! two comparisons. Only successes are remembered. What has run out is verified again, so that the reason is the true one.
use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256};
use cmg_core::identity::{CertificateFacts, TokenFacts};
use cmg_core::ids::TrustName;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::{Block, TokenKey, Trust};
use pki_types::CertificateDer;

use crate::blocks::Blocks;
use crate::chain::ClientTrust;
use crate::memo::{Digest, Memo};
use crate::token::TokenVerifier;
use crate::validity::Verified;
use crate::wanted_keys::WantedKeys;

/// Verifies certificates and tokens; make a new one for each generation of the configuration.
pub struct Verifier {
    trusts: BTreeMap<TrustName, ClientTrust>,
    tokens: TokenVerifier,
    blocks: Arc<Blocks>,
    known_certificates: Memo<CertificateFacts>,
    known_tokens: Memo<TokenFacts>,
    wanted_keys: WantedKeys,
}

impl Verifier {
    /// Prepares everything, or tells everything that is wrong.
    pub fn new(trusts: &[Trust], blocks: &[Block], keys: &[TokenKey]) -> Result<Self, Vec<Problem>> {
        let blocks = Arc::new(Blocks::new(blocks));
        let mut ready = BTreeMap::new();
        let mut problems = Vec::new();
        for trust in trusts {
            match ClientTrust::with_blocks(trust, Arc::clone(&blocks)) {
                Ok(client_trust) => _ = ready.insert(trust.name.clone(), client_trust),
                Err(more) => problems.extend(more),
            }
        }
        let tokens = TokenVerifier::new(keys).map_err(|more| problems.extend(more));
        match tokens {
            Ok(tokens) if problems.is_empty() => Ok(Self {
                trusts: ready,
                tokens,
                blocks,
                known_certificates: Memo::new(),
                known_tokens: Memo::new(),
                wanted_keys: WantedKeys::default(),
            }),
            _ => Err(problems),
        }
    }

    /// Verifies a client's `chain`, the leaf first, under the policy `trust` at `now`.
    pub fn certificate(
        &self,
        trust: &TrustName,
        chain: &[CertificateDer<'_>],
        now: WallTime,
    ) -> Result<Verified<CertificateFacts>, Refusal> {
        let policy = self.trusts.get(trust).ok_or(Refusal::CertificateForeign)?;
        remembered(&self.known_certificates, chain_digest(Some(trust), chain), now, || policy.verify(chain, now))
    }

    /// Verifies a client's `chain`, the leaf first, at `now`, where any policy will do: the first that accepts it counts.
    ///
    /// Where none does, the reason is that of a policy which knows the certificate's authority, if one does.
    pub fn certificate_of_any(&self, chain: &[CertificateDer<'_>], now: WallTime) -> Result<Verified<CertificateFacts>, Refusal> {
        remembered(&self.known_certificates, chain_digest(None, chain), now, || {
            let mut reason = Refusal::CertificateForeign;
            for policy in self.trusts.values() {
                match policy.verify(chain, now) {
                    Ok(verified) => return Ok(verified),
                    Err(Refusal::CertificateForeign | Refusal::CertificateIssuerNotFound) => {}
                    Err(other) => reason = other,
                }
            }
            Err(reason)
        })
    }

    /// Verifies a bearer `token` at `now`. Audience and kind are for the endpoint to judge.
    pub fn token(&self, token: &[u8], now: WallTime) -> Result<Verified<TokenFacts>, Refusal> {
        remembered(&self.known_tokens, digest_of(digest::digest(&SHA256, token)), now, || {
            let verified = self.tokens.verify(token, now).inspect_err(|_| self.note_unknown_key(token, now))?;
            if self.blocks.block_token(&verified.facts) { Err(Refusal::TokenBlocked) } else { Ok(verified) }
        })
    }

    /// Configured issuers whose tokens, in the last minute, named a key that is not known here.
    pub fn wanted_keys(&self, now: WallTime) -> Vec<String> {
        self.wanted_keys.issuers(now)
    }

    fn note_unknown_key(&self, token: &[u8], now: WallTime) {
        if let Some(issuer) = self.tokens.issuer_of_unknown_key(token) {
            self.wanted_keys.note(issuer, now);
        }
    }

    /// The issuer that is missing between `chain` and the roots of `trust`, for the log.
    pub fn issuer_not_found(&self, trust: &TrustName, chain: &[CertificateDer<'_>]) -> Option<String> {
        self.trusts.get(trust)?.issuer_not_found(chain)
    }
}

fn remembered<T>(
    memo: &Memo<T>,
    digest: Digest,
    now: WallTime,
    verify: impl FnOnce() -> Result<Verified<T>, Refusal>,
) -> Result<Verified<T>, Refusal> {
    if let Some(known) = memo.find(&digest).filter(|known| known.is_good(now)) {
        return Ok(known);
    }
    let verified = verify()?;
    memo.keep(digest, verified.clone());
    Ok(verified)
}

/// Lengths are part of it, so that no other cut of the same bytes has the same digest. No trust: any.
fn chain_digest(trust: Option<&TrustName>, chain: &[CertificateDer<'_>]) -> Digest {
    let mut context = digest::Context::new(&SHA256);
    context.update(&[u8::from(trust.is_some())]);
    let parts = trust.map(|trust| trust.as_str().as_bytes()).into_iter().chain(chain.iter().map(AsRef::as_ref));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    digest_of(context.finish())
}

fn digest_of(digest: digest::Digest) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}
