//! The administrator's interface under `/api/v1`: one table of routes, out of which come routing, authorization and the OpenAPI document.
//!
//! A route is a row of `table`; there is no other way in. Each file beside this one holds the rows of one resource and translates for
//! the file of the same name in `app`. Every request passes `serve` below, step by step: who asks, whether the role permits it, whether
//! a browser was sent by another site, the query, the body; then the row's own function.

mod accounts;
mod acme;
mod answer;
mod api_tokens;
mod apply;
mod asked;
mod audit;
mod authorities;
mod blocks;
mod body;
mod bulk_tokens;
mod crls;
mod devices;
mod doctor;
mod guard;
mod issued_certificates;
mod keys;
mod members;
mod oidc;
mod openapi;
mod page;
mod pages;
mod resources;
mod route;
mod sessions;
mod setup;
mod status;
mod token_issuers;
mod warnings;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::{RequestExt, routing};
use cmg_process::dice;

use self::asked::Asked;
use self::route::Route;
use super::listener::Peer;
use super::problem::{Kind, Refused};
use crate::app::oidc::provider::Providers;
use crate::app::passwords::Hasher;
use crate::app::status::Seen;
use crate::site::Site;

/// Where the interface is.
const BASE: &str = "/api/v1";

/// In every answer: which request this was.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In every answer: nothing is kept, guessed, framed or run. Pages with a form permit that form.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// What all requests share.
pub(crate) struct Api {
    /// The site.
    pub(crate) site: Arc<Site>,
    /// Hashes passwords, a few at once.
    pub(crate) hasher: Hasher,
    /// Who may be examined by the certificate doctor at once.
    pub(crate) chairs: doctor::Chairs,
    /// What sign-in providers have said.
    pub(crate) providers: Providers,
    /// When generations came in force, as far as this site server has seen it.
    pub(crate) seen: Seen,
}

/// One row of the table, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The method.
    pub method: &'static str,
    /// The path, with the names of its variable parts.
    pub path: String,
    /// What it needs, such as `read`.
    pub needs: &'static str,
}

/// Answers the interface of `site`.
pub fn router(site: Arc<Site>) -> Router {
    let api = Arc::new(Api {
        site,
        hasher: Hasher::default(),
        providers: Providers::default(),
        chairs: doctor::Chairs::default(),
        seen: Seen::default(),
    });
    let mut router = Router::new();
    for route in table() {
        let (path, filter, api) = (format!("{BASE}{}", route.path), route.method.filter(), Arc::clone(&api));
        let route = Arc::new(route);
        let serve = move |request: Request| answered(Arc::clone(&api), Arc::clone(&route), request);
        router = router.route(&path, routing::on(filter, serve));
    }
    router
        .method_not_allowed_fallback(|| async { refused(Kind::MethodNotAllowed, "this address has other methods") })
        .fallback(|| async { refused(Kind::NotFound, "there is nothing at this address") })
}

/// What the interface has, and what each row needs.
pub fn rows() -> Vec<Row> {
    table()
        .into_iter()
        .map(|route| Row { method: route.method.as_str(), path: format!("{BASE}{}", route.path), needs: route.needs_text() })
        .collect()
}

/// Every route.
fn table() -> Vec<Route> {
    let mut table = Vec::new();
    table.extend(openapi::routes());
    table.extend(setup::routes());
    table.extend(sessions::routes());
    table.extend(oidc::routes());
    table.extend(accounts::routes());
    table.extend(api_tokens::routes());
    table.extend(resources::routes());
    table.extend(members::routes());
    table.extend(apply::routes());
    table.extend(audit::routes());
    table.extend(status::routes());
    table.extend(blocks::routes());
    table.extend(bulk_tokens::routes());
    table.extend(devices::routes());
    table.extend(issued_certificates::routes());
    table.extend(keys::routes());
    table.extend(authorities::routes());
    table.extend(acme::routes());
    table.extend(crls::routes());
    table.extend(token_issuers::routes());
    table.extend(warnings::routes());
    table.extend(doctor::routes());
    table
}

fn refused(kind: Kind, what: &str) -> Response {
    let id = request_id();
    finished(Refused::new(kind, format!("{what}: {BASE}/openapi.json lists what there is")).into_response(&id), &id)
}

async fn answered(api: Arc<Api>, route: Arc<Route>, request: Request) -> Response {
    let id = request_id();
    let response = match serve(&api, &route, request, &id).await {
        Ok(answer) => answer.into_response(),
        Err(refused) => refused.into_response(&id),
    };
    finished(response, &id)
}

async fn serve(api: &Arc<Api>, route: &Route, mut request: Request, id: &str) -> Result<answer::Answer, Refused> {
    let path = request.extract_parts::<RawPathParams>().await;
    let path = path.map_err(|_| Refused::new(Kind::Malformed, "the path is no UTF-8"))?;
    let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    let caller = guard::caller(api, route, &parts.headers, peer.as_ref()).await?;
    guard::demand_own_site(route, &parts, peer.as_ref(), caller.as_ref())?;
    let query = asked::query(route, &parts.uri)?;
    let body = match &route.takes {
        Some(_) => body::receive(&parts.headers, body, route.media_type(), route.largest).await?,
        None => axum::body::Bytes::new(),
    };
    let asked = Asked {
        api: Arc::clone(api),
        caller: caller.map(|(_, caller)| caller),
        peer,
        id: id.to_owned(),
        path,
        query,
        headers: parts.headers,
        uri: parts.uri,
        body,
    };
    api.seen.note(api.site.in_force().generation(), api.site.now());
    let answer = (route.serve)(asked).await;
    api.seen.note(api.site.in_force().generation(), api.site.now());
    answer
}

fn request_id() -> String {
    format!("{:016x}{:016x}", dice::draw(), dice::draw())
}

fn finished(mut response: Response, id: &str) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        // A page says more precisely what it permits.
        headers.entry(name).or_insert(value);
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}
