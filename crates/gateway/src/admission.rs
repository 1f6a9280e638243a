//! From a head to a permit: what is asked for, who asks, and whether both go together.
use std::net::IpAddr;
use std::sync::Arc;

use cmg_core::endpoint::{Demand, Endpoint, Found, Mount};
use cmg_core::permit::{Permit, permit_anonymous, permit_certificate, permit_token};
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::host_name;
use cmg_core::target::Target;
use cmg_core::time::WallTime;
use cmg_http1::{Framing, Known as Name, RequestHead};
use cmg_tunnel::Credentials;
use pki_types::CertificateDer;

use crate::clients::{ClientUse, Clients};
use crate::connection::Received;
use crate::credential::{Known, Proven};
use crate::proof::{Asked, Due};
use crate::state::{State, now};
use cmg_credentials::Nonce;

/// A request that may be forwarded.
pub(crate) struct Admitted<'s, 'c> {
    pub(crate) permit: Permit<'s>,
    /// The client's credential; none at an open endpoint.
    pub(crate) credentials: Option<&'c mut Credentials>,
    pub(crate) client: Arc<ClientUse>,
    pub(crate) by: &'static str,
    pub(crate) who: Arc<str>,
    /// Last second at which the credential counts.
    pub(crate) good_until: WallTime,
    /// The field the token came in: it ends here, the connection point has the token from the tunnel.
    pub(crate) token_field: Option<Name>,
    /// The nonce that the client should use from here on.
    pub(crate) nonce: Option<Nonce>,
    /// The client's token is bound to its key.
    pub(crate) is_bound: bool,
}

/// Who stands before the gateway, as far as the connection knows.
pub(crate) struct Visitor<'c> {
    pub(crate) chain: Option<&'c [CertificateDer<'static>]>,
    pub(crate) known: &'c mut Known,
    pub(crate) address: IpAddr,
    /// What is still to be proven of a token.
    pub(crate) due: Due<'c>,
}

/// Where a connection came in.
#[derive(Clone, Copy)]
pub(crate) struct Door<'c> {
    /// The listener's port.
    pub(crate) port: u16,
    /// The TLS server name, lower-case.
    pub(crate) server_name: Option<&'c str>,
}

/// Where the client's token was found.
struct Bearer<'h> {
    token: &'h [u8],
    field: Name,
    /// The scheme is `DPoP`.
    called_bound: bool,
}

/// Finds the endpoint that a request names.
pub(crate) fn find<'s>(head: &RequestHead, bytes: &[u8], door: Door<'_>, state: &'s State) -> Result<Found<'s>, Refusal> {
    let target = Target::parse(head.target.of(bytes))?;
    let host = requested_host(head, bytes, &target)?;
    let endpoints = &state.snapshot.endpoints;
    if let Some(server_name) = door.server_name.filter(|_| !endpoints.is_own_port(door.port))
        && !endpoints.share_trust(server_name, &host)
    {
        return Err(Refusal::Misdirected);
    }
    endpoints.find(door.port, &host, &target)
}

/// The host name a request is for. The absolute form and the Host field must agree.
fn requested_host(head: &RequestHead, bytes: &[u8], target: &Target<'_>) -> Result<String, Refusal> {
    let field = host_field(head, bytes);
    match target.authority {
        Some(authority) if !authority.eq_ignore_ascii_case(field.as_bytes()) => Err(Refusal::AmbiguousTarget),
        _ => Ok(host_name(field)),
    }
}

/// The Host field, as written.
pub(crate) fn host_field<'b>(head: &RequestHead, bytes: &'b [u8]) -> &'b str {
    let host = head.fields.iter().find(|field| field.known == Name::Host).map_or(&b""[..], |field| field.value.of(bytes));
    std::str::from_utf8(host).unwrap_or_default()
}

/// The length of the body, where the head says it.
pub(crate) fn declared_length(head: &RequestHead) -> Option<u64> {
    match head.framing {
        Framing::None => Some(0),
        Framing::Length(length) => Some(length),
        Framing::Chunked | Framing::UntilClose => None,
    }
}

/// Proves who is asking, as the endpoint demands, and permits the request.
pub(crate) fn admit<'s, 'c>(
    found: Found<'s>,
    received: &Received,
    visitor: Visitor<'c>,
    state: &State,
    clients: &Clients,
) -> Result<Admitted<'s, 'c>, Refusal> {
    let Received { head, bytes, .. } = received;
    let Visitor { chain, known, address, due } = visitor;
    let endpoint = found.endpoint;
    endpoint.admits(head.method.of(bytes), head.upgrade, declared_length(head))?;
    let bearer = bearer(found.demand, endpoint, head, bytes, chain.is_some())?;
    match (found.demand, bearer) {
        (Demand::Nothing, _) => {
            let permit = permit_anonymous(endpoint)?;
            let client = Arc::clone(known.anonymous(address, clients));
            Ok(Admitted {
                permit,
                credentials: None,
                client,
                by: "none",
                who: Arc::default(),
                good_until: WallTime(u64::MAX),
                token_field: None,
                nonce: None,
                is_bound: false,
            })
        }
        (Demand::Token | Demand::TokenOrCertificate, Some(bearer)) => {
            let now = now();
            let proven = known.token(bearer.token, state, clients, now)?;
            let (facts, client) = (Arc::clone(&proven.verified.facts), Arc::clone(&proven.client));
            let bound = &facts.confirmation;
            // Nobody has shown yet that a bound token is the client's own: where the endpoint does not take it, nobody will.
            let permit = permit_token(&facts, endpoint).inspect_err(|_| known.doubt_token(bound))?;
            let asked = Asked { head, bytes, token: bearer.token, called_bound: bearer.called_bound, chain };
            let room = || clients.demand_room(&client, state.limits.rate, state.limits.concurrent_requests);
            let shown = due.confirm(&facts, &asked, room, now).and_then(|nonce| {
                let until = bound.certificate.map(|_| certificate_until(chain, endpoint, state, now)).transpose()?;
                Ok((nonce, until))
            });
            let (nonce, until) = shown.inspect_err(|refusal| known.disown_token(*refusal))?;
            let admitted = Admitted::by(permit, facts.kind.name(), known.good_token()?);
            let good_until = until.map_or(admitted.good_until, |until| until.min(admitted.good_until));
            Ok(Admitted { token_field: Some(bearer.field), good_until, nonce, is_bound: bound.key.is_some(), ..admitted })
        }
        (Demand::Token, None) => Err(Refusal::TokenMissing),
        (Demand::Certificate | Demand::TokenOrCertificate, _) => {
            let trust = endpoint.trust.as_ref().ok_or(Refusal::CertificateForeign)?;
            let proven = known.certificate(chain, trust, state, clients, now())?;
            let permit = permit_certificate(&proven.verified.facts, endpoint)?;
            Ok(Admitted::by(permit, "certificate", proven))
        }
    }
}

/// The last second at which the certificate that a token is bound to counts by itself: the token shall not outlive it.
///
/// An endpoint without a policy of its own takes a certificate that any policy accepts.
fn certificate_until(
    chain: Option<&[CertificateDer<'static>]>,
    endpoint: &Endpoint,
    state: &State,
    now: WallTime,
) -> Result<WallTime, Refusal> {
    let chain = chain.ok_or(Refusal::ProofCertificate)?;
    let verified = match &endpoint.trust {
        Some(trust) => state.verifier.certificate(trust, chain, now),
        None => state.verifier.certificate_of_any(chain, now),
    };
    verified.map(|verified| verified.good_until)
}

impl<'s, 'c> Admitted<'s, 'c> {
    fn by<Facts, For>(permit: Permit<'s>, by: &'static str, proven: &'c mut Proven<Facts, For>) -> Self {
        let (client, who) = (Arc::clone(&proven.client), Arc::clone(&proven.who));
        let good_until = proven.verified.good_until;
        Self {
            permit,
            credentials: Some(&mut proven.credentials),
            client,
            by,
            who,
            good_until,
            token_field: None,
            nonce: None,
            is_bound: false,
        }
    }
}

/// Finds the token that counts here.
///
/// In the ConfigMgr form the path says that a token is wanted, and it is in `Authorization`. In the plain form the application may
/// use `Authorization` itself: a token in `Cmg-Authorization` then counts, and where a client certificate was shown nothing else does.
fn bearer<'h>(
    demand: Demand,
    endpoint: &Endpoint,
    head: &RequestHead,
    bytes: &'h [u8],
    has_certificate: bool,
) -> Result<Option<Bearer<'h>>, Refusal> {
    let own = match endpoint.mount {
        Mount::Plain { .. } => token_in(Name::CmgAuthorization, head, bytes)?,
        Mount::ConfigMgr { .. } => None,
    };
    match demand {
        Demand::Nothing | Demand::Certificate => Ok(None),
        _ if own.is_some() => Ok(own),
        Demand::TokenOrCertificate if has_certificate => Ok(None),
        Demand::Token | Demand::TokenOrCertificate => token_in(Name::Authorization, head, bytes),
    }
}

/// The token in a field of this name.
fn token_in<'h>(name: Name, head: &RequestHead, bytes: &'h [u8]) -> Result<Option<Bearer<'h>>, Refusal> {
    let mut fields = head.fields.iter().filter(|field| field.known == name);
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(Refusal::TokenAmbiguous);
    }
    let value = field.value.of(bytes);
    let blank = value.iter().position(|byte| *byte == b' ').ok_or(Refusal::TokenMalformed)?;
    let (scheme, token) = value.split_at(blank);
    let called_bound = scheme.eq_ignore_ascii_case(b"dpop");
    if called_bound || scheme.eq_ignore_ascii_case(b"bearer") {
        Ok(Some(Bearer { token: token.trim_ascii(), field: name, called_bound }))
    } else {
        Err(Refusal::TokenMalformed)
    }
}
