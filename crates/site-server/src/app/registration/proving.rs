//! What a client has proven: by which credential, and with which key.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_api::TokenKind as Kind;
use cmg_api::clients::{Asked, LARGEST_FIELD, Shown};
use cmg_api::control::GenerationId;
use cmg_api::resource::RegistrationTraffic;
use cmg_authority::Confirmation;
use cmg_core::identity::{CertificateFacts, TokenFacts, TokenKind};
use cmg_core::ids::TrustName;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_credentials::dpop::{self, Request};
use cmg_credentials::{Verifier, members};
use pki_types::CertificateDer;

use super::RegistrationRefused;
use crate::app::change::ChangeRefused;
use crate::app::clients::IdentityKind;
use crate::app::doctor::as_a_gateway;
use crate::app::in_force::InForce;
use crate::app::model::Model;
use crate::app::sign_in::network;
use crate::app::templates::registration::audiences;
use crate::app::text::{hex, sha256};
use crate::site::Site;

/// How old a proof may be, and how far clocks may be apart, in seconds.
const PROOF_LEEWAY: u64 = 120;

/// Most certificates of a chain.
const MOST_CERTIFICATES: usize = 10;

/// Longest text that a management point tells about a request, in bytes: URLs are the longest.
const LARGEST_TOLD: usize = 2048;

/// Who asks.
pub(super) struct Asking {
    /// The credential, verified.
    pub(super) credential: Credential,
    /// The key that it has proven, as the database knows clients by.
    pub(super) key: String,
    /// What a token for it is bound to.
    pub(super) confirmation: Confirmation,
}

/// A credential that counts.
pub(super) enum Credential {
    Token(TokenFacts),
    Certificate(CertificateFacts),
}

impl Asking {
    /// How a client that registers so is known to be who it is.
    pub(super) fn identity(&self) -> (IdentityKind, String) {
        match &self.credential {
            Credential::Certificate(facts) => (IdentityKind::Certificate, named(&facts.subject, &self.key)),
            Credential::Token(facts) => {
                let subject = named(facts.subject.as_deref().unwrap_or_default(), &self.key);
                match facts.kind {
                    TokenKind::OidcDevice => (IdentityKind::EntraDevice, subject),
                    TokenKind::OidcUser => (IdentityKind::OidcUser, subject),
                    TokenKind::Bulk => (IdentityKind::BulkToken, facts.id.clone().unwrap_or_default()),
                    TokenKind::Site | TokenKind::Ccm => (IdentityKind::Key, self.key.clone()),
                }
            }
        }
    }

    /// The id of its token.
    pub(super) fn token_id(&self) -> Option<&str> {
        match &self.credential {
            Credential::Token(facts) => facts.id.as_deref(),
            Credential::Certificate(_) => None,
        }
    }

    /// The client that its token names, where the site has issued it to a client.
    pub(super) fn subject_of_site(&self) -> Option<&str> {
        match &self.credential {
            Credential::Token(facts) if facts.kind == TokenKind::Site => Some(facts.subject.as_deref().unwrap_or_default()),
            Credential::Token(_) | Credential::Certificate(_) => None,
        }
    }
}

/// A name that fits into one line of a list.
fn named<'a>(name: &'a str, otherwise: &'a str) -> String {
    let line: String = name.chars().filter(|character| !character.is_control()).take(500).collect();
    let line = line.trim();
    if line.is_empty() { otherwise.to_owned() } else { line.to_owned() }
}

/// Verifies everything that a client has shown; `kinds` are those of its token that count.
pub(super) async fn prove(site: &Arc<Site>, point: &str, asked: &Asked, kinds: &[Kind]) -> Result<Asking, RegistrationRefused> {
    if asked.address.parse::<IpAddr>().is_err() {
        let problem = Problem::new("address", "it is no address", "the management point tells where the client came from");
        return Err(RegistrationRefused::Invalid(problem));
    }
    if !site.limits.admits_address(&network(&asked.address)) {
        return Err(RegistrationRefused::TooMany("from this address"));
    }
    let in_force = site.in_force();
    let allowed = allowed(&in_force.model, point, asked).ok_or(RegistrationRefused::NotPublished)?;
    let (of, with) = (Arc::clone(site), Arc::clone(&in_force));
    let verifier = tokio::task::spawn_blocking(move || of.verifiers.of(&with)).await;
    let verifier = verifier.map_err(|error| ChangeRefused::Failed(Box::new(error)))?.map_err(ChangeRefused::Problems)?;
    match &asked.shown {
        Shown::Certificate(chain) => {
            let chain: Vec<_> = chain.iter().take(MOST_CERTIFICATES).map(|der| CertificateDer::from(der.0.as_slice())).collect();
            by_certificate(site, &verifier, &allowed, &chain)
        }
        Shown::Token(token) => by_token(site, &verifier, &allowed, asked, token, kinds),
    }
}

/// What counts at a management point. Through gateways nothing does unless it is allowed; clients that come to it without a connection
/// point need no such word.
fn allowed(model: &Model, point: &str, asked: &Asked) -> Option<RegistrationTraffic> {
    let allowed = model.management_points.get(point)?.allow_cmg_traffic.clone();
    allowed.or_else(|| asked.connection_point.is_empty().then(RegistrationTraffic::default))
}

/// That the client holds the certificate's key, gateway and connection point have seen, or the management point itself.
fn by_certificate(
    site: &Site,
    verifier: &Verifier,
    allowed: &RegistrationTraffic,
    chain: &[CertificateDer<'_>],
) -> Result<Asking, RegistrationRefused> {
    let trust = allowed.trust.as_deref().ok_or(Refusal::CertificateForeign)?;
    let facts = verifier.certificate(&TrustName::new(trust), chain, site.now())?.facts;
    let key = chain.first().and_then(|leaf| members::public_key(leaf)).ok_or(Refusal::CertificateMalformed)?;
    if !site.limits.admits_token(&hex(&facts.thumbprint_sha256)) {
        return Err(RegistrationRefused::TooMany("with this certificate"));
    }
    let (key, confirmation) = (URL_SAFE_NO_PAD.encode(sha256(&key)), Confirmation::Certificate(facts.thumbprint_sha256));
    Ok(Asking { credential: Credential::Certificate(CertificateFacts::clone(&facts)), key, confirmation })
}

fn by_token(
    site: &Site,
    verifier: &Verifier,
    allowed: &RegistrationTraffic,
    asked: &Asked,
    token: &str,
    kinds: &[Kind],
) -> Result<Asking, RegistrationRefused> {
    let facts = TokenFacts::clone(&verifier.token(token.as_bytes(), site.now())?.facts);
    let counts = |kind: &Kind| facts.kind == of_kind(*kind) && (*kind == Kind::Site || allowed.token_kinds.contains(kind));
    if !kinds.iter().any(counts) {
        return Err(RegistrationRefused::WrongKind(facts.kind.name()));
    }
    if !audiences(allowed).iter().any(|audience| facts.audiences.contains(audience)) {
        return Err(RegistrationRefused::WrongAudience);
    }
    let told_apart_by = facts.id.as_deref().or(facts.subject.as_deref()).unwrap_or_default();
    if !site.limits.admits_token(&format!("{} {told_apart_by}", facts.issuer)) {
        return Err(RegistrationRefused::TooMany("with this token"));
    }
    let proof = asked.proof.as_deref().ok_or(RegistrationRefused::NoProof)?;
    // Gateways ask for the nonce, and take each proof once where the token is bound. Whoever sends a registration again gets the same
    // client for the same key, and nothing that it could use without that key.
    let request = Request { method: "POST", url: &asked.url, access_token: Some(token), nonces: &[] };
    let key = dpop::verify(proof, request, site.now(), PROOF_LEEWAY).map_err(RegistrationRefused::Proof)?.jkt;
    if facts.kind == TokenKind::Site && facts.confirmation.key.as_ref() != Some(&key) {
        return Err(RegistrationRefused::WrongKey);
    }
    Ok(Asking { credential: Credential::Token(facts), confirmation: Confirmation::Key(key.clone()), key })
}

fn of_kind(kind: Kind) -> TokenKind {
    match kind {
        Kind::Site => TokenKind::Site,
        Kind::Ccm => TokenKind::Ccm,
        Kind::Bulk => TokenKind::Bulk,
        Kind::OidcDevice => TokenKind::OidcDevice,
        Kind::OidcUser => TokenKind::OidcUser,
    }
}

/// The verifier of the generation in force, made once.
#[derive(Default)]
pub(crate) struct Verifiers(Mutex<Option<(GenerationId, Arc<Verifier>)>>);

impl Verifiers {
    /// Takes its time where much is blocked.
    fn of(&self, in_force: &InForce) -> Result<Arc<Verifier>, Vec<Problem>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((generation, verifier)) = &*known
            && *generation == in_force.generation()
        {
            return Ok(Arc::clone(verifier));
        }
        let (_, verifier) = as_a_gateway(&in_force.model, &in_force.ground)?;
        let verifier = Arc::new(verifier);
        *known = Some((in_force.generation(), Arc::clone(&verifier)));
        Ok(verifier)
    }
}

/// Whether what a client has shown can be looked at at all.
pub(crate) fn is_bounded(asked: &Asked) -> bool {
    let shown = match &asked.shown {
        Shown::Token(token) => token.len(),
        Shown::Certificate(chain) => chain.iter().map(|der| der.0.len()).sum(),
    };
    let told = [&asked.url, &asked.address, &asked.connection_point, &asked.request_id];
    shown <= LARGEST_FIELD
        && asked.proof.as_ref().is_none_or(|proof| proof.len() <= LARGEST_FIELD)
        && told.iter().all(|text| text.len() <= LARGEST_TOLD)
}
