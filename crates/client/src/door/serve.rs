//! Connections at the door: what is asked, and the answer of the server or the reason why there is none.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::authority::DoorAuthority;
use super::guard::{Unwelcome, host_of, no_browser, server_of};
use super::listen::Entrance;
use crate::carrier::{BodyError, Carrier, CarryError};
use crate::origin::Origin;

/// How long a head, or a handshake, may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// When whoever finds no way to the site asks again, in seconds.
const AGAIN: u64 = 15;

type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// Serves one connection to its end.
pub(crate) async fn connection<S>(stream: S, entrance: Arc<Entrance>, carrier: Carrier)
where
    S: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let (entrance, carrier) = (Arc::clone(&entrance), carrier.clone());
        async move { Ok::<_, Infallible>(enter(request, &entrance, carrier).await) }
    });
    let served = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(PATIENCE).serve_connection(stream, service);
    if let Err(error) = served.with_upgrades().await {
        debug!(%error, "A connection at the door ended");
    }
}

async fn enter(request: Request<Incoming>, entrance: &Entrance, carrier: Carrier) -> Answer {
    if let Err(unwelcome) = no_browser(request.headers()) {
        return unwelcomed(unwelcome);
    }
    match entrance {
        Entrance::Server(origin) => match host_of(request.headers(), origin, true) {
            Ok(()) => carry(&carrier, origin, request).await,
            Err(unwelcome) => unwelcomed(unwelcome),
        },
        Entrance::Proxy(authority) if request.method() == Method::CONNECT => connect(request, authority, carrier),
        Entrance::Proxy(_) => match server_of(request.uri()) {
            Ok(origin) => carry(&carrier, &origin, request).await,
            Err(unwelcome) => unwelcomed(unwelcome),
        },
    }
}

/// Ends TLS for a server of the policy, and carries what comes.
fn connect(request: Request<Incoming>, authority: &Arc<DoorAuthority>, carrier: Carrier) -> Answer {
    let origin = request.uri().authority().and_then(|authority| Origin::parse(&format!("https://{authority}")));
    let Some(origin) = origin else { return unwelcomed(Unwelcome::NoServer) };
    let Some(policy) = carrier.policy() else { return nowhere("there is no policy yet") };
    if !policy.servers.iter().flat_map(|server| &server.origins).filter_map(|known| Origin::parse(known)).any(|known| known == origin) {
        return unknown(&origin);
    }
    let tls = match authority.server(&origin, &policy) {
        Ok(tls) => tls,
        Err(error) => {
            warn!(error = cmg_process::log::chain(&error), server = %origin, "The door has no certificate for this server");
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "the client has no certificate for this server; its log says why");
        }
    };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        match timeout(PATIENCE, TlsAcceptor::from(tls).accept(TokioIo::new(upgraded))).await {
            Ok(Ok(stream)) => inner(TokioIo::new(stream), origin, carrier).await,
            Ok(Err(error)) => debug!(%error, server = %origin, "An agent at the door does not believe the client's certificate"),
            Err(_) => debug!(server = %origin, "A handshake at the door did not end"),
        }
    });
    Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
}

/// What an agent asks within a connection that the client has ended for a server.
async fn inner<S>(stream: S, origin: Origin, carrier: Carrier)
where
    S: Read + Write + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (origin, carrier) = (origin.clone(), carrier.clone());
        async move {
            let welcome = no_browser(request.headers()).and_then(|()| host_of(request.headers(), &origin, false));
            Ok::<_, Infallible>(match welcome {
                Ok(()) => carry(&carrier, &origin, request).await,
                Err(unwelcome) => unwelcomed(unwelcome),
            })
        }
    });
    let served = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(PATIENCE).serve_connection(stream, service);
    if let Err(error) = served.await {
        debug!(%error, "A connection at the door ended");
    }
}

async fn carry(carrier: &Carrier, origin: &Origin, mut request: Request<Incoming>) -> Answer {
    // The target is in absolute form where a proxy is asked.
    let target = request.uri().path_and_query().map_or("/", |path| path.as_str()).parse::<Uri>();
    *request.uri_mut() = target.unwrap_or_default();
    match carrier.carry(origin, request).await {
        Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
        Err(CarryError::Unknown(origin)) => unknown(&origin),
        Err(CarryError::Nowhere(why)) => nowhere(&why),
        Err(CarryError::Body(error)) => plain(StatusCode::BAD_REQUEST, &format!("the request broke: {error}")),
        Err(error) => {
            warn!(server = %origin, error = cmg_process::log::chain(&error), "A request was not carried");
            plain(StatusCode::BAD_GATEWAY, &error.to_string())
        }
    }
}

fn unwelcomed(unwelcome: Unwelcome) -> Answer {
    warn!(why = unwelcome.words(), "Refused at the door");
    let status = match unwelcome {
        Unwelcome::Browser => StatusCode::FORBIDDEN,
        Unwelcome::Host => StatusCode::MISDIRECTED_REQUEST,
        Unwelcome::NoServer => StatusCode::BAD_REQUEST,
    };
    plain(status, unwelcome.words())
}

fn unknown(origin: &Origin) -> Answer {
    plain(StatusCode::FORBIDDEN, &format!("the policy names no server {origin}: only its servers are carried"))
}

fn nowhere(why: &str) -> Answer {
    let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, &format!("there is no way to the site at the moment: {why}"));
    answer.headers_mut().insert(RETRY_AFTER, AGAIN.into());
    answer
}

fn plain(status: StatusCode, words: &str) -> Answer {
    let body = Full::from(format!("{words}\n")).map_err(|never| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}
