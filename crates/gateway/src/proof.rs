//! Whether a token is shown by whom it was issued to: the proofs that a bound token wants.
//!
//! | `cnf` of the token | what the request shows |
//! |---|---|
//! | `jkt` | exactly one `DPoP` field (RFC 9449): for this method, URL and token, about now, with a nonce of this instance, used once |
//! | `x5t#S256` | that client certificate, whose key the handshake of this connection has proven (RFC 8705); whether it counts by itself is looked at after that |
//!
//! A proof counts for the request that it opened, however long that lasts and however often it is carried.
use aws_lc_rs::digest::{SHA256, digest};
use cmg_core::identity::TokenFacts;
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_core::replay::Use;
use cmg_core::target::Target;
use cmg_core::time::WallTime;
use cmg_credentials::{Nonce, Nonces, Proofs, dpop};
use cmg_http1::{Known, RequestHead};
use pki_types::CertificateDer;

use crate::admission::host_field;
use crate::state::now;

/// Seconds that a proof may be old, and that a client's clock may be ahead.
const LEEWAY: u64 = 60;

/// Verifies proofs, as long as the process lasts.
pub(crate) struct Prover {
    nonces: Nonces,
    proofs: Proofs,
}

/// Whether a request still has to prove that its token is the client's own.
#[derive(Clone, Copy)]
pub(crate) enum Due<'g> {
    /// It has just come.
    Now(&'g Prover, RequestId),
    /// It did when it came.
    Done,
}

/// A request with a token.
pub(crate) struct Asked<'h> {
    pub(crate) head: &'h RequestHead,
    pub(crate) bytes: &'h [u8],
    pub(crate) token: &'h [u8],
    /// The client itself calls the token bound to its key: `Authorization: DPoP`.
    pub(crate) called_bound: bool,
    /// What the connection has shown.
    pub(crate) chain: Option<&'h [CertificateDer<'static>]>,
}

impl Prover {
    pub(crate) fn new() -> Self {
        Self { nonces: Nonces::default(), proofs: Proofs::new(LEEWAY) }
    }

    /// The nonce that goes with a refusal, where a proof is asked for.
    pub(crate) fn nonce_for(&self, refusal: Refusal) -> Option<Nonce> {
        refusal.challenge().filter(|challenge| challenge.has_nonce()).map(|_| self.nonces.at(now())[0])
    }

    /// Verifies the proof of a request. A nonce comes out where the client should use another one from here on.
    fn count(&self, asked: &Asked<'_>, jkt: &str, id: RequestId, now: WallTime) -> Result<Option<Nonce>, Refusal> {
        let Asked { head, bytes, token, .. } = asked;
        let proof = proof_in(head, bytes)?;
        let target = Target::parse(head.target.of(bytes))?;
        let url = dpop::url(host_field(head, bytes), target.path()).ok_or(Refusal::ProofUrl)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Refusal::ProofMalformed);
        let (method, token) = (text(head.method.of(bytes))?, text(token)?);
        let [present, before] = self.nonces.at(now);
        let request = dpop::Request { method, url: &url, access_token: Some(token), nonces: &[present.as_str(), before.as_str()] };
        let facts = self.proofs.count(proof, request, jkt, Use { request: id, may_repeat: false }, now)?;
        Ok((facts.nonce.as_deref() != Some(present.as_str())).then_some(present))
    }
}

impl Due<'_> {
    /// Whether the client has proven what its token is bound to; a nonce comes out where it should use another one from here on.
    ///
    /// `room`: whether the client may ask anything at present. It is looked at before a proof is verified: a refusal by its rate must not
    /// cost a signature. Its rate is charged later, or whoever has stolen the token alone could use it up.
    pub(crate) fn confirm(
        self,
        facts: &TokenFacts,
        asked: &Asked<'_>,
        room: impl FnOnce() -> Result<(), Refusal>,
        now: WallTime,
    ) -> Result<Option<Nonce>, Refusal> {
        let bound = &facts.confirmation;
        if asked.called_bound && bound.key.is_none() {
            return Err(Refusal::TokenUnbound);
        }
        if bound.certificate.is_some_and(|digest| !shows(asked.chain, &digest)) {
            return Err(Refusal::ProofCertificate);
        }
        match (&bound.key, self) {
            (Some(jkt), Self::Now(prover, id)) => room().and_then(|()| prover.count(asked, jkt, id, now)),
            (Some(_), Self::Done) | (None, _) => Ok(None),
        }
    }
}

/// The one proof in a head.
fn proof_in<'h>(head: &RequestHead, bytes: &'h [u8]) -> Result<&'h [u8], Refusal> {
    let mut fields = head.fields.iter().filter(|field| field.known == Known::Dpop);
    let field = fields.next().ok_or(Refusal::ProofMissing)?;
    if fields.next().is_some() { Err(Refusal::ProofAmbiguous) } else { Ok(field.value.of(bytes)) }
}

/// Whether a connection has shown the certificate with this SHA-256.
fn shows(chain: Option<&[CertificateDer<'static>]>, thumbprint: &[u8; 32]) -> bool {
    chain.and_then(<[_]>::first).is_some_and(|own| digest(&SHA256, own).as_ref() == thumbprint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cmg_core::identity::{Confirmation, TokenKind};
    use cmg_http1::{HeadLimits, parse_request};
    use cmg_lab::ProofKey;
    use std::collections::BTreeMap;

    const NOW: WallTime = WallTime(1_790_000_090);
    const TOKEN: &str = "token";
    const LIMITS: HeadLimits = HeadLimits { bytes: 8192, fields: 16 };

    fn facts(confirmation: Confirmation) -> TokenFacts {
        TokenFacts {
            kind: TokenKind::Site,
            issuer: "site".to_owned(),
            audiences: vec![],
            subject: None,
            id: None,
            not_before: None,
            expires: NOW,
            confirmation,
            claims: BTreeMap::new(),
        }
    }

    /// Asks at `now` with a proof for `nonce` that is made at the same time, under a further id for each `id`.
    fn ask(prover: &Prover, key: &ProofKey, nonce: Nonce, id: u32, now: WallTime) -> Result<Option<Nonce>, Refusal> {
        let mut claims = ProofKey::claims("GET", "https://cmg.example/a", TOKEN).unwrap();
        for (name, value) in [("jti", id.to_string()), ("nonce", nonce.as_str().to_owned())] {
            claims.insert(name.to_owned(), value.into());
        }
        claims.insert("iat".to_owned(), now.0.into());
        let proof = key.sign(&claims).unwrap();
        let bytes = format!("GET /a?b HTTP/1.1\r\nHost: cmg.example\r\nDPoP: {proof}\r\n\r\n");
        let head = parse_request(bytes.as_bytes(), &LIMITS, Vec::new()).unwrap().unwrap();
        let asked = Asked { head: &head, bytes: bytes.as_bytes(), token: TOKEN.as_bytes(), called_bound: false, chain: None };
        let confirmation = Confirmation { key: Some(key.thumbprint()), certificate: None };
        Due::Now(prover, RequestId(u128::from(id))).confirm(&facts(confirmation), &asked, || Ok(()), now)
    }

    #[test]
    fn a_client_is_told_the_next_nonce_when_it_uses_the_one_before() {
        let (prover, key) = (Prover::new(), ProofKey::new().unwrap());
        let [first, _] = prover.nonces.at(NOW);
        let [second, _] = prover.nonces.at(WallTime(NOW.0 + 300));

        assert_eq!(ask(&prover, &key, first, 1, NOW), Ok(None));
        assert_eq!(ask(&prover, &key, first, 2, WallTime(NOW.0 + 300)), Ok(Some(second)));
        assert_eq!(ask(&prover, &key, first, 3, WallTime(NOW.0 + 600)), Err(Refusal::ProofNonce));
    }

    #[test]
    fn where_the_client_may_ask_nothing_its_proof_is_not_looked_at() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nDPoP: x\r\n\r\n";
        let head = parse_request(bytes, &LIMITS, Vec::new()).unwrap().unwrap();
        let asked = Asked { head: &head, bytes, token: b"", called_bound: false, chain: None };
        let confirmation = Confirmation { key: Some("jkt".to_owned()), certificate: None };
        let facts = facts(confirmation);
        let prover = Prover::new();
        let confirm = |room| Due::Now(&prover, RequestId(1)).confirm(&facts, &asked, || room, NOW);

        assert_eq!(confirm(Err(Refusal::TooManyRequests)), Err(Refusal::TooManyRequests));
        assert_eq!(confirm(Ok(())), Err(Refusal::ProofMalformed));
    }

    #[test]
    fn a_proof_is_not_asked_for_again_of_a_request_that_has_begun_but_its_certificate_is() {
        let head = parse_request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &LIMITS, Vec::new()).unwrap().unwrap();
        let asked = Asked { head: &head, bytes: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", token: b"", called_bound: false, chain: None };
        let key = Confirmation { key: Some("jkt".to_owned()), certificate: None };
        let certificate = Confirmation { key: None, certificate: Some([7; 32]) };

        assert_eq!(Due::Done.confirm(&facts(key), &asked, || Ok(()), NOW), Ok(None));
        assert_eq!(Due::Done.confirm(&facts(certificate), &asked, || Ok(()), NOW), Err(Refusal::ProofCertificate));
    }
}
