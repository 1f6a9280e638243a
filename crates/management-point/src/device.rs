//! Which device asks: the door of everything but registration.
//!
//! [`identify`] stands before the routes of devices. What passes has a [`Device`] among its extensions, which handlers take out with
//! `Extension<Device>`; everything else was refused.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use cmg_api::device::Through;
use cmg_core::identity::{TokenFacts, TokenKind};
use cmg_core::refusal::Refusal;
use cmg_credentials::Nonce;
use tracing::debug;

use crate::claim::Claim;
use crate::listener::Peer;
use crate::point::{self, Point};
use crate::refused::{Refused, tell};
use crate::requests::{count, demand_known};
use crate::verify::{Credential, Verified, verify};

/// A device that has proven who it is.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    /// Its id at the site; none: it has shown a certificate alone, which the site knows and the management point does not.
    id: Option<Arc<str>>,
    /// Through what it has come.
    pub(crate) through: Through,
    /// Its address. Through an internet-facing server, that of the reverse proxy.
    pub(crate) address: IpAddr,
    /// The request, as all logs name it.
    pub(crate) request_id: Arc<str>,
}

impl Device {
    /// Its id at the site, a GUID: for everything that is kept under it.
    pub(crate) fn id(&self) -> Result<&Arc<str>, Refused> {
        let detail = "a certificate alone names no registered device: show the token that registration gave, beside it or with a proof";
        self.id.as_ref().ok_or_else(|| Refused::new("no-token", StatusCode::FORBIDDEN, detail))
    }
}

/// Lets devices of the site through to the routes behind, and tells them a new nonce in time.
pub(crate) async fn identify(State(point): State<Arc<Point>>, mut request: Request, next: Next) -> Response {
    let _in_flight = point.drain.guard();
    let (parts, body) = request.into_parts();
    let known = match parts.extensions.get::<Peer>() {
        Some(peer) => device(&point, peer, &parts),
        None => Err(Refused::unavailable("the connection is not known")),
    };
    request = Request::from_parts(parts, body);
    let response = match known {
        Ok((device, nonce)) => {
            request.extensions_mut().insert(device);
            let mut response = next.run(request).await;
            tell(response.headers_mut(), nonce);
            response
        }
        Err(refused) => refused.into_response(),
    };
    count(&point, response)
}

fn device(point: &Point, peer: &Peer, parts: &Parts) -> Result<(Device, Option<Nonce>), Refused> {
    let state = point.state();
    let state = demand_known(&state, peer)?;
    let claim = Claim::of(peer, parts, state)?;
    let Verified { credential, nonce } = verify(point, state, &claim, parts.method.as_str())?;
    let id = match credential {
        Credential::Certificate => None,
        Credential::Token(facts) => Some(of_site(&facts, state)?),
    };
    debug!(client = id.as_deref(), through = ?claim.through, request_id = claim.asked.request_id, "A device asks");
    let (through, address, request_id) = (claim.through, claim.address, claim.asked.request_id.into());
    Ok((Device { id, through, address, request_id }, nonce))
}

/// The client that a token of the site's own names. One that is bound to nothing would be anybody's.
fn of_site(facts: &TokenFacts, state: &point::State) -> Result<Arc<str>, Refused> {
    if facts.kind != TokenKind::Site || state.token_issuer.as_ref() != Some(&facts.issuer) {
        let detail = format!("a token of kind {} does not count here: show the one that registration gave", facts.kind.name());
        return Err(Refused::new("wrong-kind", StatusCode::FORBIDDEN, detail));
    }
    if facts.confirmation.key.is_none() && facts.confirmation.certificate.is_none() {
        return Err(Refusal::TokenUnbound.into());
    }
    facts.subject.as_deref().map(Arc::from).ok_or_else(|| Refusal::TokenClaim.into())
}
