//! What management points ask in the name of clients, and the one table that says how each refusal is answered.
//!
//! The answers are those that the client gets: the management point passes them on as they are.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cmg_api::clients::{Asked, ClientProblem};
use cmg_process::log::chain;
use serde::Serialize;
use tracing::{error, info, warn};

use super::{Refused, management_point};
use crate::app::change::ChangeRefused;
use crate::app::registration::{self, RegistrationRefused, is_bounded};
use crate::http::listener::Peer;
use crate::site::Site;

/// When whoever was refused for a while asks again, in seconds.
const AGAIN: u64 = 10;

pub(super) async fn register(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Result<Response, Refused> {
    let (point, asked) = read(&peer, &site, &body)?;
    let done = registration::register(&site, &point, &asked).await;
    Ok(told("register", StatusCode::CREATED, &point, &asked, done))
}

pub(super) async fn renew(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Result<Response, Refused> {
    let (point, asked) = read(&peer, &site, &body)?;
    let done = registration::renew(&site, &point, &asked).await;
    Ok(told("token", StatusCode::OK, &point, &asked, done))
}

pub(super) async fn exchange(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Result<Response, Refused> {
    let (point, asked) = read(&peer, &site, &body)?;
    let done = registration::exchange(&site, &point, &asked).await;
    Ok(told("exchange", StatusCode::OK, &point, &asked, done))
}

/// What a management point that counts passes on.
fn read(peer: &Peer, site: &Site, body: &[u8]) -> Result<(String, Asked), Refused> {
    let point = management_point(peer, site)?;
    let asked: Asked = super::read(body)?;
    if !is_bounded(&asked) {
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "a token, a proof or a chain of certificates is too long"));
    }
    Ok((point, asked))
}

fn told<T: Serialize>(
    what: &'static str,
    status: StatusCode,
    point: &str,
    asked: &Asked,
    done: Result<T, RegistrationRefused>,
) -> Response {
    let (address, connection_point, request_id) = (&*asked.address, &*asked.connection_point, &*asked.request_id);
    match done {
        Ok(given) => {
            info!(what, point, connection_point, address, request_id, "A client was served");
            (status, Json(given)).into_response()
        }
        Err(refused) => {
            let (status, word) = answer(&refused);
            match &refused {
                RegistrationRefused::Change(_) => error!(what, request_id, error = chain(&refused), "A client could not be served"),
                _ => warn!(what, point, connection_point, address, request_id, reason = word, "A client was refused"),
            }
            problem(status, word, &refused)
        }
    }
}

/// Every refusal, its status, and the word that programs know it by.
fn answer(refused: &RegistrationRefused) -> (StatusCode, &'static str) {
    use RegistrationRefused as R;
    match refused {
        R::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        R::Credential(_) => (StatusCode::UNAUTHORIZED, "credential"),
        R::Expired => (StatusCode::UNAUTHORIZED, "token-expired"),
        R::WrongAudience => (StatusCode::UNAUTHORIZED, "wrong-audience"),
        R::UnknownToken => (StatusCode::UNAUTHORIZED, "unknown-token"),
        R::NoProof => (StatusCode::UNAUTHORIZED, "no-proof"),
        R::Proof(_) => (StatusCode::UNAUTHORIZED, "proof"),
        R::WrongKey => (StatusCode::UNAUTHORIZED, "wrong-key"),
        R::NotPublished => (StatusCode::FORBIDDEN, "not-published"),
        R::WrongKind(_) => (StatusCode::FORBIDDEN, "wrong-kind"),
        R::Blocked => (StatusCode::FORBIDDEN, "token-blocked"),
        R::UsedUp => (StatusCode::FORBIDDEN, "token-used-up"),
        R::WrongNetwork => (StatusCode::FORBIDDEN, "wrong-network"),
        R::NotRegistered => (StatusCode::FORBIDDEN, "not-registered"),
        R::Waits => (StatusCode::FORBIDDEN, "client-waits"),
        R::ClientBlocked => (StatusCode::FORBIDDEN, "client-blocked"),
        R::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too-many"),
        R::Change(ChangeRefused::Store(_)) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        R::Change(_) => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
    }
}

fn problem(status: StatusCode, word: &str, refused: &RegistrationRefused) -> Response {
    let detail = match refused {
        RegistrationRefused::Change(_) => "the site cannot do this at the moment: ask again later".to_owned(),
        refused => refused.to_string(),
    };
    let mut response = (status, Json(ClientProblem::new(word, status.as_u16(), detail))).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        headers.insert(header::RETRY_AFTER, AGAIN.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("DPoP realm=\"cmg\""));
    }
    response
}
