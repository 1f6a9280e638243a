//! What is claimed of a client, by whom it may be claimed: a connection point is believed, a stranger speaks for itself.
//!
//! | from | believed | verified here |
//! |---|---|---|
//! | a connection point | `X-Forwarded-For`, `X-Original-URL`, `Client-Cert`, and that the proof of a bound token was good | token, certificate |
//! | a stranger | the `Host` that it asked for, where clients are told that address | token, proof, certificate of its connection |
//!
//! A stranger is a device on the intranet, or a reverse proxy that everybody on the internet speaks through. So whatever it says of others
//! is not read, and the certificate of its connection counts under the management point's own address only.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cmg_api::bytes::Base64;
use cmg_api::clients::{Asked, LARGEST_FIELD, Shown};
use cmg_api::device::Through;
use cmg_core::ids::RequestId;
use cmg_process::dice;
use pki_types::CertificateDer;

use crate::listener::{Peer, Stranger};
use crate::point::State;
use crate::policy;
use crate::refused::Refused;

/// Most certificates of a chain.
const MOST_CERTIFICATES: usize = 10;

/// A request of a client, with what it has shown; nothing of it is verified yet but what the table says is believed.
pub(crate) struct Claim {
    pub(crate) asked: Asked,
    pub(crate) address: IpAddr,
    pub(crate) through: Through,
    pub(crate) from: From,
    /// What a stranger's connection has shown, where that counts.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
}

/// Who makes the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    ConnectionPoint,
    /// With the id that this management point has given to the request.
    Stranger(RequestId),
}

impl Claim {
    /// What `peer` claims. A request without a credential is a refusal.
    pub(crate) fn of(peer: &Peer, parts: &Parts, state: &State) -> Result<Self, Refused> {
        match peer {
            Peer::ConnectionPoint(point) => Self::told(&point.name, &parts.headers, state),
            Peer::Stranger(stranger) => Self::own(stranger, parts, state),
        }
    }

    fn told(connection_point: &str, headers: &HeaderMap, state: &State) -> Result<Self, Refused> {
        let needed = |name: &str| one(headers, name)?.ok_or_else(|| Refused::malformed(format!("the connection point has sent no {name}")));
        let address = needed("x-forwarded-for")?;
        let ip = address.parse().map_err(|_| Refused::malformed("the connection point has sent no address of the client"))?;
        let url = needed("x-original-url")?;
        let asked = Asked {
            shown: told_credential(headers)?,
            proof: one(headers, "dpop")?.map(str::to_owned),
            url: url.to_owned(),
            address: address.to_owned(),
            connection_point: connection_point.to_owned(),
            request_id: needed("x-request-id")?.to_owned(),
            register: None,
        };
        let through = state.policy.as_ref().map_or_else(|| Through::Cmg(String::new()), |held| held.addresses.gateway(url));
        Ok(Self { asked, address: ip, through, from: From::ConnectionPoint, chain: Arc::default() })
    }

    fn own(stranger: &Stranger, parts: &Parts, state: &State) -> Result<Self, Refused> {
        let held = state.policy.as_ref().ok_or_else(policy::none_yet)?;
        let host = one(&parts.headers, header::HOST.as_str())?.unwrap_or_default();
        let (through, url) = held.addresses.stranger(host, parts.uri.path()).ok_or_else(|| {
            let detail =
                format!("no client is told the address \"{host}\": enter it at the site as an internet server, or ask by the right name");
            Refused::new("misdirected", StatusCode::MISDIRECTED_REQUEST, detail)
        })?;
        let chain = if through == Through::Intranet { Arc::clone(&stranger.chain) } else { Arc::default() };
        let shown = match token(&parts.headers, "authorization")? {
            Some(token) => Shown::Token(token),
            None if chain.is_empty() => return Err(no_credential()),
            None => Shown::Certificate(chain.iter().take(MOST_CERTIFICATES).map(|der| Base64(der.to_vec())).collect()),
        };
        let id = RequestId(u128::from(dice::draw()) << 64 | u128::from(dice::draw()));
        let asked = Asked {
            shown,
            proof: one(&parts.headers, "dpop")?.map(str::to_owned),
            url,
            address: stranger.address.to_string(),
            connection_point: String::new(),
            request_id: id.to_string(),
            register: None,
        };
        Ok(Self { asked, address: stranger.address, through, from: From::Stranger(id), chain })
    }
}

/// One field; two of one name are none that could be believed.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= LARGEST_FIELD && values.next().is_none());
    text.map(Some).ok_or_else(|| Refused::malformed(format!("{name} cannot be read, is too long, or is there twice")))
}

fn told_credential(headers: &HeaderMap) -> Result<Shown, Refused> {
    if let Some(own) = one(headers, "client-cert")? {
        let others = one(headers, "client-cert-chain")?.unwrap_or_default();
        let all = std::iter::once(own).chain(others.split(',').map(str::trim).filter(|item| !item.is_empty()));
        let chain: Option<Vec<_>> = all.take(MOST_CERTIFICATES).map(byte_sequence).collect();
        return chain.map(Shown::Certificate).ok_or_else(|| Refused::malformed("the certificate cannot be read"));
    }
    let found = match one(headers, "cmg-authorization")? {
        Some(_) => token(headers, "cmg-authorization")?,
        None => token(headers, "authorization")?,
    };
    found.map(Shown::Token).ok_or_else(no_credential)
}

/// The token in the field `name`.
fn token(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refused> {
    let Some(field) = one(headers, name)? else { return Ok(None) };
    let token = field.split_once(' ').filter(|(scheme, _)| ["bearer", "dpop"].contains(&&*scheme.to_ascii_lowercase()));
    token.map(|(_, token)| Some(token.trim().to_owned())).ok_or_else(no_credential)
}

fn no_credential() -> Refused {
    Refused::new("no-credential", StatusCode::UNAUTHORIZED, "there is no credential: send a token, or show a certificate")
}

/// A byte sequence of RFC 8941.
fn byte_sequence(text: &str) -> Option<Base64> {
    let inner = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(inner).ok().map(Base64)
}

#[cfg(test)]
mod tests {
    use cmg_api::clients::Shown;
    use cmg_credentials::Verifier;

    use super::*;
    use crate::listener::ConnectionPoint;
    use crate::policy::tests::{a_policy, held};

    /// Of the management point mp1.
    fn a_state() -> State {
        State {
            generation: Default::default(),
            connection_points: ["cp-1".to_owned()].into(),
            revoked: [].into(),
            client_trust: None,
            verifier: Verifier::new(&[], &[], &[]).unwrap_or_else(|_| panic!("nothing to verify with")),
            token_issuer: None,
            policy: Some(held(a_policy())),
        }
    }

    fn parts(fields: &[(&'static str, &str)]) -> Parts {
        let mut request = axum::http::Request::post("/cmg/v1/token").body(()).expect("a request");
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().expect("a field value"));
        }
        request.into_parts().0
    }

    const SAID: [(&str, &str); 3] =
        [("x-forwarded-for", "203.0.113.7"), ("x-original-url", "https://cmg.example.com/cmg/v1/token"), ("x-request-id", "01")];

    fn told(fields: &[(&'static str, &str)]) -> Result<Claim, &'static str> {
        let point = Peer::ConnectionPoint(ConnectionPoint { name: "cp-1".to_owned(), fingerprint: [0; 32] });
        Claim::of(&point, &parts(fields), &a_state()).map_err(|refused| refused.word)
    }

    fn asked(more: &[(&'static str, &str)]) -> Result<Claim, &'static str> {
        told(&SAID.iter().chain(more).copied().collect::<Vec<_>>())
    }

    fn own(shown: Option<&'static [u8]>, fields: &[(&'static str, &str)]) -> Result<Claim, &'static str> {
        let chain = shown.map(CertificateDer::from).into_iter().collect();
        let stranger = Peer::Stranger(Stranger { address: [192, 0, 2, 1].into(), chain });
        Claim::of(&stranger, &parts(fields), &a_state()).map_err(|refused| refused.word)
    }

    fn shown(claim: Result<Claim, &'static str>) -> Shown {
        claim.unwrap_or_else(|word| panic!("refused: {word}")).asked.shown
    }

    #[test]
    fn the_credential_is_a_token_or_a_certificate() {
        for scheme in ["Bearer abc", "DPoP abc"] {
            assert!(matches!(shown(asked(&[("authorization", scheme)])), Shown::Token(token) if token == "abc"));
        }
        let both = asked(&[("client-cert", ":AAEC:"), ("client-cert-chain", ":AwQ=:, :BQ==:"), ("authorization", "Bearer abc")]);
        let Shown::Certificate(chain) = shown(both) else { panic!("no certificate") };
        assert_eq!(chain.iter().map(|der| der.0.clone()).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4], vec![5]]);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (more, word) in [
            (&[][..], "no-credential"),
            (&[("authorization", "Basic abc")], "no-credential"),
            (&[("client-cert", "AAEC")], "malformed"),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], "malformed"),
            (&[("authorization", "Bearer a"), ("dpop", "x"), ("dpop", "y")], "malformed"),
        ] {
            assert_eq!(asked(more).err(), Some(word), "{more:?}");
        }
        for missing in 0..SAID.len() {
            let mut said: Vec<_> = SAID.to_vec();
            said.remove(missing);
            said.push(("authorization", "Bearer a"));
            assert_eq!(told(&said).err(), Some("malformed"));
        }
    }

    #[test]
    fn a_stranger_is_believed_nothing_that_connection_points_say() {
        let forged = [
            ("host", "ibcm.example.com"),
            ("authorization", "DPoP abc"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-original-url", "https://cmg.example.com/cmg/v1/token"),
            ("client-cert", ":AAEC:"),
            ("cmg-authorization", "Bearer other"),
            ("x-request-id", "01"),
        ];

        let claim = own(None, &forged).unwrap_or_else(|word| panic!("refused: {word}"));

        assert!(matches!(&claim.asked.shown, Shown::Token(token) if token == "abc"));
        assert_eq!((claim.asked.address.as_str(), claim.asked.connection_point.as_str()), ("192.0.2.1", ""));
        assert_eq!(
            (claim.asked.url.as_str(), claim.through),
            ("https://ibcm.example.com/inside/cmg/v1/token", Through::Ibcm("dmz".to_owned()))
        );
        assert_ne!(claim.asked.request_id, "01");
        let nothing_else = forged.iter().copied().filter(|(name, _)| *name != "authorization").collect::<Vec<_>>();
        assert_eq!(own(None, &nothing_else).err(), Some("no-credential"));
    }

    #[test]
    fn the_certificate_of_a_connection_counts_under_the_management_points_own_name() {
        let direct = own(Some(&[7]), &[("host", "mp1.corp.example:8446")]);
        assert!(matches!(shown(direct), Shown::Certificate(chain) if chain[0].0 == [7]));
        assert_eq!(own(Some(&[7]), &[("host", "ibcm.example.com")]).err(), Some("no-credential"), "it may be the proxy's");
    }

    #[test]
    fn a_stranger_that_asks_for_a_name_that_nobody_is_told_is_misdirected() {
        for host in ["cmg.example.com", "evil.example", ""] {
            assert_eq!(own(None, &[("host", host), ("authorization", "DPoP abc")]).err(), Some("misdirected"), "{host}");
        }
    }
}
