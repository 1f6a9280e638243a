//! What a gateway claims about a client, verified again from this side's own copy.
//!
//! The chain, validity, revocation and block state of a certificate, and everything about a token, are checked as if nobody had
//! checked them before. That the client held the certificate's key cannot be checked here: only the gateway saw the handshake.
use std::sync::{Arc, PoisonError};

use cmg_core::endpoint::{Demand, Endpoint};
use cmg_core::identity::{CertificateFacts, TokenFacts};
use cmg_core::ids::TrustName;
use cmg_core::permit::{permit_anonymous, permit_certificate, permit_token};
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::Generation;
use cmg_credentials::Verified;
use cmg_tunnel::{Claim, ClaimedCredential};
use pki_types::CertificateDer;

use crate::state::{State, now};

/// Who is asking, as verified here.
#[derive(Clone)]
pub(crate) enum Asker {
    /// The holder of a certificate, whose chain the claim carries.
    Certificate(Arc<CertificateFacts>),
    /// The bearer of a token.
    Token(Arc<TokenFacts>),
    /// Somebody at an open endpoint.
    Nobody,
}

impl Asker {
    /// Whether the client proves with every request that it has a key.
    pub(crate) fn is_bound_to_a_key(&self) -> bool {
        matches!(self, Self::Token(facts) if facts.confirmation.key.is_some())
    }
}

/// What the verification of one claim found, kept with the claim.
enum Memo {
    Certificate { generation: Generation, trust: TrustName, verified: Verified<CertificateFacts> },
    Token { generation: Generation, verified: Verified<TokenFacts> },
}

/// Verifies a claim as the endpoint demands, and permits the request.
pub(crate) fn verify(claim: Option<&Claim>, demand: Demand, endpoint: &Endpoint, state: &State) -> Result<Asker, Refusal> {
    match (demand, claim) {
        (Demand::Nothing, _) => permit_anonymous(endpoint).map(|_| Asker::Nobody),
        (Demand::Certificate | Demand::TokenOrCertificate, Some(claim @ Claim { credential: ClaimedCredential::Chain(chain), .. })) => {
            let trust = endpoint.trust.as_ref().ok_or(Refusal::CertificateForeign)?;
            let facts = certificate(claim, chain, trust, state)?;
            permit_certificate(&facts, endpoint)?;
            Ok(Asker::Certificate(facts))
        }
        (Demand::Token | Demand::TokenOrCertificate, Some(claim @ Claim { credential: ClaimedCredential::Token(bytes), .. })) => {
            let facts = token(claim, bytes, state)?;
            permit_token(&facts, endpoint)?;
            Ok(Asker::Token(facts))
        }
        (Demand::Certificate | Demand::TokenOrCertificate, _) => Err(Refusal::CertificateMissing),
        (Demand::Token, _) => Err(Refusal::TokenMissing),
    }
}

fn certificate(claim: &Claim, chain: &[Vec<u8>], trust: &TrustName, state: &State) -> Result<Arc<CertificateFacts>, Refusal> {
    let (now, current) = (now(), state.snapshot.generation);
    if let Some(Memo::Certificate { generation, trust: under, verified }) = recall(claim).as_deref()
        && (*generation, under) == (current, trust)
        && verified.is_good(now)
    {
        return Ok(Arc::clone(&verified.facts));
    }
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let verified = state.verifier.certificate(trust, &chain, now)?;
    let facts = Arc::clone(&verified.facts);
    remember(claim, Memo::Certificate { generation: current, trust: trust.clone(), verified });
    Ok(facts)
}

fn token(claim: &Claim, bytes: &[u8], state: &State) -> Result<Arc<TokenFacts>, Refusal> {
    let (now, current) = (now(), state.snapshot.generation);
    if let Some(Memo::Token { generation, verified }) = recall(claim).as_deref()
        && *generation == current
        && verified.is_good(now)
    {
        return Ok(Arc::clone(&verified.facts));
    }
    let verified = state.verifier.token(bytes, now)?;
    let facts = Arc::clone(&verified.facts);
    remember(claim, Memo::Token { generation: current, verified });
    Ok(facts)
}

fn recall(claim: &Claim) -> Option<Arc<Memo>> {
    let memo = claim.memo.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
    memo.downcast().ok()
}

fn remember(claim: &Claim, memo: Memo) {
    *claim.memo.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(memo));
}
