//! ID tokens: who has signed in, as the provider says it (OpenID Connect Core, 3.1.3.7).

use cmg_api::Algorithm as Written;
use cmg_core::identity::TokenKind;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::{Algorithm, TokenKey};
use cmg_credentials::TokenVerifier;
use pki_types::SubjectPublicKeyInfoDer;
use pki_types::pem::PemObject;

use super::identity::is_subject;
use crate::app::key_sets::IssuerKey;

/// How far the clocks of provider and site may be apart, in seconds.
const LEEWAY: u64 = 60;

/// Why an ID token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IdTokenRefused {
    /// It names a key that is not known: it may be a new one.
    #[error("it is signed with a key that the provider does not publish")]
    UnknownKey,
    /// Signature, issuer or lifetime are wrong.
    #[error("it does not verify ({0})")]
    Unverified(&'static str),
    /// It is for somebody else.
    #[error("it is not for this site: its audience is not the client_id of the provider here")]
    Audience,
    /// It does not belong to this sign-in.
    #[error("it belongs to another sign-in: its nonce is not the one that was sent")]
    Nonce,
    /// It does not say who signed in.
    #[error("its subject is missing, too long, or not printable")]
    Subject,
}

/// What an ID token must say.
pub(crate) struct Expected<'e> {
    pub(crate) issuer: &'e str,
    pub(crate) client_id: &'e str,
    pub(crate) nonce: &'e str,
}

/// The subject of a token that counts at `now`.
pub(crate) fn subject(token: &str, keys: &[IssuerKey], expected: &Expected<'_>, now: WallTime) -> Result<String, IdTokenRefused> {
    let keys: Vec<TokenKey> = keys.iter().filter_map(|key| token_key(key, expected.issuer)).collect();
    let verifier = TokenVerifier::new(&keys).map_err(|_| IdTokenRefused::Unverified("keys"))?;
    let facts = verifier.verify(token.as_bytes(), now).map_err(|refusal| match refusal {
        Refusal::TokenUnknownKey => IdTokenRefused::UnknownKey,
        other => IdTokenRefused::Unverified(other.row().label),
    })?;
    let facts = &facts.facts;
    let authorized = facts.claims.get("azp");
    let is_for_us = facts.audiences.iter().any(|audience| audience == expected.client_id)
        && authorized.is_none_or(|party| party == expected.client_id)
        && (facts.audiences.len() == 1 || authorized.is_some());
    if !is_for_us {
        return Err(IdTokenRefused::Audience);
    }
    if facts.claims.get("nonce").is_none_or(|nonce| nonce != expected.nonce) {
        return Err(IdTokenRefused::Nonce);
    }
    facts.subject.clone().filter(|subject| is_subject(subject)).ok_or(IdTokenRefused::Subject)
}

fn token_key(key: &IssuerKey, issuer: &str) -> Option<TokenKey> {
    let info = SubjectPublicKeyInfoDer::from_pem_slice(key.pem.as_bytes()).ok()?;
    let algorithm = |written: &Written| match written {
        Written::Rs256 => Algorithm::Rs256,
        Written::Ps256 => Algorithm::Ps256,
        Written::Es256 => Algorithm::Es256,
        Written::Es384 => Algorithm::Es384,
        Written::EdDsa => Algorithm::EdDsa,
    };
    Some(TokenKey {
        id: key.id.clone(),
        issuer: issuer.to_owned(),
        algorithms: key.algorithms.iter().map(algorithm).collect(),
        public_key: info.to_vec(),
        kind: TokenKind::OidcUser,
        leeway: LEEWAY,
    })
}
