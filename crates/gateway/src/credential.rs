//! From what a client shows to who it is, remembered per connection and generation.
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use cmg_core::identity::{CertificateFacts, Confirmation, TokenFacts};
use cmg_core::ids::TrustName;
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::Generation;
use cmg_core::time::WallTime;
use cmg_credentials::Verified;
use cmg_tunnel::Credentials;
use pki_types::CertificateDer;

use crate::clients::{ClientKey, ClientUse, Clients};
use crate::state::State;

/// Credentials that one connection may show in vain. Each may cost a signature to be verified, and what has not proven itself has no
/// rate that could be kept; on a new connection a client pays with a handshake, and of those there is a bound.
const VAIN: u8 = 8;

/// What is known about the credentials of one connection. Most connections show one credential all their life.
#[derive(Default)]
pub(crate) struct Known {
    certificate: Option<Proven<CertificateFacts, TrustName>>,
    token: Option<Proven<TokenFacts, Vec<u8>>>,
    anonymous: Option<Arc<ClientUse>>,
    /// Credentials shown in vain.
    vain: u8,
}

/// A credential that was found good.
pub(crate) struct Proven<Facts, For> {
    generation: Generation,
    /// The trust policy, or the token itself.
    what: For,
    pub(crate) verified: Verified<Facts>,
    /// What connection points are told.
    pub(crate) credentials: Credentials,
    pub(crate) client: Arc<ClientUse>,
    /// Who it is, for the log: thumbprint or token subject.
    pub(crate) who: Arc<str>,
}

impl Known {
    /// Verifies the certificate chain that the connection showed, under the trust policy of an endpoint.
    pub(crate) fn certificate(
        &mut self,
        chain: Option<&[CertificateDer<'static>]>,
        trust: &TrustName,
        state: &State,
        clients: &Clients,
        now: WallTime,
    ) -> Result<&mut Proven<CertificateFacts, TrustName>, Refusal> {
        let chain = chain.filter(|chain| !chain.is_empty()).ok_or(Refusal::CertificateMissing)?;
        let known = self.certificate.take().filter(|known| known.holds(state.generation(), trust, now));
        let proven = match known {
            Some(known) => known,
            None => {
                let verified = state.verifier.certificate(trust, chain, now).inspect_err(|_| self.vain = self.vain.saturating_add(1))?;
                Proven {
                    generation: state.generation(),
                    what: trust.clone(),
                    client: clients.of(ClientKey::Proven(verified.facts.thumbprint_sha256)),
                    who: hex(&verified.facts.thumbprint).into(),
                    credentials: Credentials::chain(chain.iter().map(AsRef::as_ref)),
                    verified,
                }
            }
        };
        Ok(self.certificate.insert(proven))
    }

    /// Verifies a bearer token.
    pub(crate) fn token(
        &mut self,
        token: &[u8],
        state: &State,
        clients: &Clients,
        now: WallTime,
    ) -> Result<&mut Proven<TokenFacts, Vec<u8>>, Refusal> {
        let known = self.token.take().filter(|known| known.holds(state.generation(), token, now));
        let proven = match known {
            Some(known) => known,
            None => {
                let verified = state.verifier.token(token, now).inspect_err(|_| self.vain = self.vain.saturating_add(1))?;
                Proven {
                    generation: state.generation(),
                    what: token.to_vec(),
                    client: clients.of(ClientKey::Proven(subject_key(&verified.facts))),
                    who: subject(&verified.facts).into(),
                    credentials: Credentials::token(token),
                    verified,
                }
            }
        };
        Ok(self.token.insert(proven))
    }

    /// The token that was found good last.
    pub(crate) fn good_token(&mut self) -> Result<&mut Proven<TokenFacts, Vec<u8>>, Refusal> {
        self.token.as_mut().ok_or(Refusal::TokenMissing)
    }

    /// Of a token that was found good, and is bound to something, nobody has looked whether it is the client's own: then it proves nothing
    /// about the connection.
    pub(crate) fn doubt_token(&mut self, bound: &Confirmation) {
        if bound.key.is_some() || bound.certificate.is_some() {
            self.token = None;
        }
    }

    /// The token that was found good is not shown to be the client's: it proves nothing about the connection. It counts as shown in vain,
    /// unless an honest client may meet the refusal; those come before a signature is verified.
    pub(crate) fn disown_token(&mut self, refusal: Refusal) {
        self.token = None;
        let is_met = matches!(
            refusal,
            Refusal::ProofMissing
                | Refusal::ProofNonce
                | Refusal::ProofTooMany
                | Refusal::Overloaded
                | Refusal::TooManyRequests
                | Refusal::TooManyConcurrent
        );
        self.vain = self.vain.saturating_add(u8::from(!is_met));
    }

    /// Whether the connection has ever shown a good credential.
    pub(crate) fn is_proven(&self) -> bool {
        self.certificate.is_some() || self.token.is_some()
    }

    /// Whether the connection has shown so many bad credentials that it is ended.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.vain >= VAIN
    }

    /// A client without a credential, by its address.
    pub(crate) fn anonymous(&mut self, address: IpAddr, clients: &Clients) -> &Arc<ClientUse> {
        self.anonymous.get_or_insert_with(|| clients.of(ClientKey::Address(site_of(address))))
    }
}

impl<Facts, For> Proven<Facts, For> {
    fn holds<Other>(&self, generation: Generation, what: &Other, now: WallTime) -> bool
    where
        For: std::borrow::Borrow<Other>,
        Other: PartialEq + ?Sized,
    {
        self.generation == generation && self.what.borrow() == what && self.verified.is_good(now)
    }
}

/// Whom a token is about: its subject, or the token's own id where it has none.
fn subject(facts: &TokenFacts) -> &str {
    facts.subject.as_deref().or(facts.id.as_deref()).unwrap_or_default()
}

/// Tells token clients apart.
fn subject_key(facts: &TokenFacts) -> [u8; 32] {
    let mut digest = Context::new(&SHA256);
    digest.update(facts.issuer.as_bytes());
    digest.update(b"\0");
    digest.update(subject(facts).as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(digest.finish().as_ref());
    key
}

/// Upper-case hex, as thumbprints are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The address; of IPv6 the first 64 bits, which is what one site is given.
pub(crate) fn site_of(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = [0; 16];
            // The first half is the site; it is put last, where the table is chosen by.
            octets[8..].copy_from_slice(&address.octets()[..8]);
            octets
        }
    }
}
