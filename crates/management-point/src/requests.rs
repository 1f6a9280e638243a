//! What clients may ask, and no more: register, the next token, the exchange.
//!
//! A request comes from a connection point that the site counts; its credential is verified by this management point's own copy of keys,
//! authorities and blocks; then the site is asked, whose answer the client gets as it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cmg_api::bytes::Base64;
use cmg_api::clients::{Asked, ClientProblem, EXCHANGE, LARGEST_BODY, LARGEST_FIELD, REGISTER, RegisterRequest, Shown, TOKEN};
use cmg_core::refusal::Refusal;
use cmg_process::log::chain;
use cmg_site_client::{Answered, SiteError};
use pki_types::CertificateDer;
use tokio::time::timeout;
use tracing::{error, warn};

use crate::listener::Peer;
use crate::point::{self, Point};

/// The longest that a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// When whoever finds the site away asks again, in seconds.
const AGAIN: u64 = 10;

/// Most certificates of a chain.
const MOST_CERTIFICATES: usize = 10;

/// Answers clients.
pub(crate) fn router(point: Arc<Point>) -> Router {
    Router::new()
        .route(REGISTER, post(register))
        .route(TOKEN, post(renew))
        .route(EXCHANGE, post(exchange))
        .fallback(nothing)
        .method_not_allowed_fallback(not_allowed)
        .with_state(point)
}

/// A refusal of the management point's own.
struct Refused {
    word: &'static str,
    status: StatusCode,
    detail: String,
}

impl Refused {
    fn new(word: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        Self { word, status, detail: detail.into() }
    }

    fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed", StatusCode::BAD_REQUEST, detail)
    }

    fn unavailable(detail: impl Into<String>) -> Self {
        Self::new("unavailable", StatusCode::SERVICE_UNAVAILABLE, detail)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let detail = format!("the credential does not count: {}", refusal.row().label);
        match refusal {
            Refusal::TokenExpired => Self::new("token-expired", StatusCode::UNAUTHORIZED, "the token has ended: get another one"),
            Refusal::TokenBlocked => Self::new("token-blocked", StatusCode::FORBIDDEN, "the token is blocked"),
            _ => Self::new("credential", StatusCode::UNAUTHORIZED, detail),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self { word, status, detail } = self;
        let mut response = (status, Json(ClientProblem::new(word, status.as_u16(), detail))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, AGAIN.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("DPoP realm=\"cmg\""));
        }
        response
    }
}

async fn nothing() -> Response {
    Refused::new("not-found", StatusCode::NOT_FOUND, "a management point has no such address").into_response()
}

async fn not_allowed() -> Response {
    Refused::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "it is asked by POST").into_response()
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
    let response = served.unwrap_or_else(IntoResponse::into_response);
    let counter = match response.status() {
        status if status.is_success() => &point.told.answered,
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
    demand_known(point, peer)?;
    let (parts, body) = request.into_parts();
    let body = receive(body).await?;
    let asked = Asked {
        connection_point: peer.name.clone(),
        register: if what == "register" { Some(about_itself(&body)?) } else { None },
        ..of_fields(&parts.headers)?
    };
    verify(point, &asked.shown)?;
    match point.site.member().client.client(what, &asked).await {
        Ok(answered) => pass_on(answered),
        Err(error) => Err(away(&error, &asked.request_id)),
    }
}

/// Only connection points of this generation tell who clients are; one that was removed may still hold its connection.
fn demand_known(point: &Point, peer: &Peer) -> Result<(), Refused> {
    match point.state().as_ref() {
        None => Err(Refused::unavailable("no configuration has come from the site yet: ask again later")),
        Some(state) if state.connection_points.contains(&peer.name) && !state.revoked.contains(&peer.fingerprint) => Ok(()),
        Some(_) => {
            warn!(connection_point = peer.name, "Refused: the site does not count this connection point");
            Err(Refused::new("not-permitted", StatusCode::FORBIDDEN, "the site does not count this connection point"))
        }
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

/// What the connection point says of the client, and what the client has shown.
fn of_fields(headers: &HeaderMap) -> Result<Asked, Refused> {
    let needed = |name: &str| one(headers, name)?.ok_or_else(|| Refused::malformed(format!("the connection point has sent no {name}")));
    let address = needed("x-forwarded-for")?;
    if address.parse::<IpAddr>().is_err() {
        return Err(Refused::malformed("the connection point has sent no address of the client"));
    }
    Ok(Asked {
        shown: shown(headers)?,
        proof: one(headers, "dpop")?.map(str::to_owned),
        url: needed("x-original-url")?.to_owned(),
        address: address.to_owned(),
        connection_point: String::new(),
        request_id: needed("x-request-id")?.to_owned(),
        register: None,
    })
}

/// One field; two of one name are none that could be believed.
fn one<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refused> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= LARGEST_FIELD && values.next().is_none());
    text.map(Some).ok_or_else(|| Refused::malformed(format!("{name} cannot be read, is too long, or is there twice")))
}

fn shown(headers: &HeaderMap) -> Result<Shown, Refused> {
    if let Some(own) = one(headers, "client-cert")? {
        let others = one(headers, "client-cert-chain")?.unwrap_or_default();
        let all = std::iter::once(own).chain(others.split(',').map(str::trim).filter(|item| !item.is_empty()));
        let chain: Option<Vec<_>> = all.take(MOST_CERTIFICATES).map(byte_sequence).collect();
        return chain.map(Shown::Certificate).ok_or_else(|| Refused::malformed("the certificate cannot be read"));
    }
    let field = match one(headers, "cmg-authorization")? {
        Some(field) => Some(field),
        None => one(headers, "authorization")?,
    };
    let token =
        field.and_then(|field| field.split_once(' ')).filter(|(scheme, _)| ["bearer", "dpop"].contains(&&*scheme.to_ascii_lowercase()));
    match token {
        Some((_, token)) => Ok(Shown::Token(token.trim().to_owned())),
        None => Err(Refused::new("no-credential", StatusCode::UNAUTHORIZED, "there is no credential: send a token, or show a certificate")),
    }
}

/// A byte sequence of RFC 8941.
fn byte_sequence(text: &str) -> Option<Base64> {
    let inner = text.strip_prefix(':')?.strip_suffix(':')?;
    STANDARD.decode(inner).ok().map(Base64)
}

/// The third time, after gateway and connection point, by a copy of its own.
fn verify(point: &Point, shown: &Shown) -> Result<(), Refused> {
    let state = point.state();
    let Some(state) = state.as_ref() else { return Err(Refused::unavailable("no configuration is in force")) };
    match shown {
        Shown::Token(token) => _ = state.verifier.token(token.as_bytes(), point::now())?,
        Shown::Certificate(chain) => {
            let trust = state.client_trust.as_ref().ok_or(Refusal::CertificateForeign)?;
            let chain: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.0.as_slice())).collect();
            state.verifier.certificate(trust, &chain, point::now())?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    const SAID: [(&str, &str); 3] =
        [("x-forwarded-for", "203.0.113.7"), ("x-original-url", "https://cmg.example/cmg/v1/token"), ("x-request-id", "01")];

    fn asked(more: &[(&'static str, &str)]) -> Result<Asked, &'static str> {
        let said: Vec<_> = SAID.iter().chain(more).copied().collect();
        of_fields(&headers(&said)).map_err(|refused| refused.word)
    }

    #[test]
    fn the_credential_is_a_token_or_a_certificate() {
        assert!(matches!(asked(&[("authorization", "Bearer abc")]).map(|asked| asked.shown), Ok(Shown::Token(token)) if token == "abc"));
        assert!(matches!(asked(&[("authorization", "DPoP abc")]).map(|asked| asked.shown), Ok(Shown::Token(token)) if token == "abc"));
        let both = asked(&[("client-cert", ":AAEC:"), ("client-cert-chain", ":AwQ=:, :BQ==:"), ("authorization", "Bearer abc")]);
        let Ok(Shown::Certificate(chain)) = both.map(|asked| asked.shown) else { panic!("no certificate") };
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
            assert_eq!(of_fields(&headers(&said)).err().map(|refused| refused.word), Some("malformed"));
        }
    }
}
