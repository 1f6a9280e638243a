//! A claim, verified by this management point's own copy of keys, authorities and blocks.

use std::sync::Arc;

use cmg_api::clients::Shown;
use cmg_core::identity::TokenFacts;
use cmg_core::refusal::Refusal;
use cmg_credentials::Nonce;
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;

use crate::claim::{Claim, From};
use crate::point::{Point, State, now};
use crate::proof::Asked;
use crate::refused::Refused;

/// A credential that counts.
pub(crate) enum Credential {
    Token(Arc<TokenFacts>),
    Certificate,
}

/// What was found good.
pub(crate) struct Verified {
    pub(crate) credential: Credential,
    /// The nonce that the client should use from here on, where it is another one.
    pub(crate) nonce: Option<Nonce>,
}

/// Verifies the credential of a claim that came as `method`. Of a stranger, the proof of a bound token too.
pub(crate) fn verify(point: &Point, state: &State, claim: &Claim, method: &str) -> Result<Verified, Refused> {
    let verified = match &claim.asked.shown {
        Shown::Certificate(chain) => by_certificate(state, &chain.iter().map(|der| der.0.as_slice().into()).collect::<Vec<_>>()),
        Shown::Token(token) => by_token(point, state, claim, token, method),
    };
    verified.map_err(|refusal| Refused::from(refusal).telling(point.prover.nonce(now())))
}

fn by_certificate(state: &State, chain: &[CertificateDer<'_>]) -> Result<Verified, Refusal> {
    let trust = state.client_trust.as_ref().ok_or(Refusal::CertificateForeign)?;
    state.verifier.certificate(trust, chain, now())?;
    Ok(Verified { credential: Credential::Certificate, nonce: None })
}

fn by_token(point: &Point, state: &State, claim: &Claim, token: &str, method: &str) -> Result<Verified, Refusal> {
    let facts = state.verifier.token(token.as_bytes(), now())?.facts;
    let nonce = match claim.from {
        // It and the gateway have verified that the token is the client's own.
        From::ConnectionPoint => None,
        From::Stranger(id) => {
            if let Some(bound) = facts.confirmation.certificate {
                demand_shown(state, &claim.chain, &bound)?;
            }
            match &facts.confirmation.key {
                Some(jkt) => {
                    let proof = claim.asked.proof.as_deref().ok_or(Refusal::ProofMissing)?;
                    point.prover.count(proof, Asked { method, url: &claim.asked.url, token, jkt }, id, now())?
                }
                None => None,
            }
        }
    };
    Ok(Verified { credential: Credential::Token(facts), nonce })
}

/// The certificate that a token is bound to has to be the connection's, and to count by itself.
fn demand_shown(state: &State, chain: &[CertificateDer<'_>], thumbprint: &[u8; 32]) -> Result<(), Refusal> {
    let own = chain.first().and_then(|leaf| certificate_facts(leaf).ok());
    if own.is_none_or(|own| own.thumbprint_sha256 != *thumbprint) {
        return Err(Refusal::ProofCertificate);
    }
    by_certificate(state, chain).map(|_| ())
}
