//! What clients may ask, and no more: register, the next token, the exchange; and as devices of the site, their policy.
//!
//! Who asks is claimed and verified first; then the site is asked, whose answer the client gets as it is.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use cmg_api::clients::{Asked, ClientProblem, EXCHANGE, LARGEST_BODY, REGISTER, RegisterRequest, TOKEN};
use cmg_api::device::{LOCATION, POLICY};
use cmg_process::log::chain;
use cmg_site_client::{Answered, SiteError};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::claim::Claim;
use crate::device::identify;
use crate::listener::Peer;
use crate::location;
use crate::point::{self, Point};
use crate::policy;
use crate::refused::{Refused, tell};
use crate::verify::{Verified, verify};

/// The longest that a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers clients.
pub(crate) fn router(point: Arc<Point>) -> Router {
    let devices = Router::new()
        .route(POLICY, get(policy::policy))
        .route(LOCATION, get(location::location))
        .route_layer(from_fn_with_state(Arc::clone(&point), identify));
    Router::new()
        .route(REGISTER, post(register))
        .route(TOKEN, post(renew))
        .route(EXCHANGE, post(exchange))
        .merge(devices)
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
        .with_state(point)
}

async fn nothing() -> Response {
    Refused::new("not-found", StatusCode::NOT_FOUND, "a management point has no such address").into_response()
}

async fn not_allowed() -> Response {
    Refused::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "it is not asked by this method").into_response()
}

async fn register(State(point): State<Arc<Point>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    told(&point, serve(&point, &peer, request, "register").await)
}

async fn renew(State(point): State<Arc<Point>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    told(&point, serve(&point, &peer, request, "token").await)
}

async fn exchange(State(point): State<Arc<Point>>, Extension(peer): Extension<Peer>, request: Request) -> Response {
    told(&point, serve(&point, &peer, request, "exchange").await)
}

fn told(point: &Point, served: Result<Response, Refused>) -> Response {
    count(point, served.unwrap_or_else(IntoResponse::into_response))
}

/// Counts an answer by what it is.
pub(crate) fn count(point: &Point, response: Response) -> Response {
    let counter = match response.status() {
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => &point.told.answered,
        status if status.is_server_error() => &point.told.unavailable,
        _ => &point.told.refused,
    };
    counter.inc();
    response
}

/// Serves one request. Every way out is a response or a [`Refused`].
async fn serve(point: &Point, peer: &Peer, request: Request, what: &'static str) -> Result<Response, Refused> {
    let _in_flight = point.drain.guard();
    let Ok(_place) = point.places.try_acquire() else { return Err(Refused::unavailable("too many ask at this moment: ask again later")) };
    let (parts, body) = request.into_parts();
    let (asked, nonce) = {
        let state = point.state();
        let state = demand_known(&state, peer)?;
        let claim = Claim::of(peer, &parts, state)?;
        let Verified { nonce, .. } = verify(point, state, &claim, parts.method.as_str())?;
        (claim.asked, nonce)
    };
    let body = receive(body).await?;
    let register = if what == "register" { Some(about_itself(&body)?) } else { None };
    let asked = Asked { register, ..asked };
    match point.site.member().client.client(what, &asked).await {
        Ok(answered) => {
            let mut response = pass_on(answered)?;
            tell(response.headers_mut(), nonce);
            Ok(response)
        }
        Err(error) => Err(away(&error, &asked.request_id)),
    }
}

/// The configuration in force. Only connection points of it tell who clients are; one that was removed may still hold its connection.
pub(crate) fn demand_known<'s>(state: &'s Option<point::State>, peer: &Peer) -> Result<&'s point::State, Refused> {
    let state = state.as_ref().ok_or_else(|| Refused::unavailable("no configuration has come from the site yet: ask again later"))?;
    match peer {
        Peer::ConnectionPoint(point) if !state.counts(&point.name, &point.fingerprint) => {
            warn!(connection_point = point.name, "Refused: the site does not count this connection point");
            Err(Refused::new("not-permitted", StatusCode::FORBIDDEN, "the site does not count this connection point"))
        }
        Peer::ConnectionPoint(_) | Peer::Stranger(_) => Ok(state),
    }
}

async fn receive(body: Body) -> Result<Vec<u8>, Refused> {
    let too_large = || Refused::new("too-large", StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {LARGEST_BODY} bytes"));
    match timeout(PATIENCE, to_bytes(body, LARGEST_BODY)).await {
        Ok(received) => received.map(|bytes| bytes.to_vec()).map_err(|_| too_large()),
        Err(_) => Err(Refused::new("too-slow", StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

fn about_itself(body: &[u8]) -> Result<RegisterRequest, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| Refused::malformed(format!("the body cannot be read: {error}; write {{\"name\": \"PC-1\"}}")))
}

/// The site's answer. One that is not for a client says that this management point itself is refused.
fn pass_on(answered: Answered) -> Result<Response, Refused> {
    let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let is_problem = !status.is_success();
    if is_problem && serde_json::from_slice::<ClientProblem>(&answered.body).is_err() {
        error!(status = answered.status, detail = %String::from_utf8_lossy(&answered.body), "The site refuses this management point");
        return Err(Refused::unavailable("the site does not serve this management point at the moment: ask again later"));
    }
    let kind = if is_problem { "application/problem+json" } else { "application/json" };
    let mut response = (status, answered.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(wait) = answered.retry_after {
        headers.insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("DPoP realm=\"cmg\""));
    }
    Ok(response)
}

fn away(error: &SiteError, request_id: &str) -> Refused {
    warn!(error = chain(error), request_id, "The site does not answer");
    Refused::unavailable("the site cannot be asked at the moment: ask again later")
}
