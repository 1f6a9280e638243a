//! The control interface: what connection points ask, for themselves and for their gateways, and what management points ask, for
//! themselves and for clients.
//!
//! The protocol is written down in `cmg_api::control`. Whoever shows no certificate may enrol and nothing else; `intake` looks at that
//! before it takes a body in.

mod clients;
mod devices;
mod intake;
mod management_point;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use cmg_api::bytes::Sha256;
use cmg_api::control::{self, EnrolRequest, GenerationId, News, RenewRequest, Signed, StatusReport};
use cmg_authority::check_status;
use cmg_core::ids::Role;
use cmg_process::log::chain;
use cmg_store::MemberStatus;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::{debug, error, warn};

use self::intake::Intake;
use super::listener::Peer;
use crate::app::change::{Actor, ChangeRefused};
use crate::app::enrol::{self, EnrolRefused};
use crate::app::in_force::InForce;
use crate::app::reports::{REPEATED, newer};
use crate::site::Site;

/// The longest that a question is held.
const LONGEST_WAIT: u64 = 60;

/// When whoever cannot be served asks again, in seconds.
const LATER: HeaderValue = HeaderValue::from_static("2");

/// Answers the control interface of `site`.
pub fn router(site: Arc<Site>) -> Router {
    let takes = |intake: Intake, route: MethodRouter<Arc<Site>>| route.layer(from_fn_with_state((Arc::clone(&site), intake), intake::take));
    Router::new()
        .route("/control/v1/enrol", takes(Intake::OF_ANYBODY, post(enrol_point)))
        .route("/control/v1/news", takes(Intake::NOTHING, get(news)))
        .route("/control/v1/part/{digest}", takes(Intake::NOTHING, get(part)))
        .route("/control/v1/status", takes(Intake::STATES, post(status)))
        .route("/control/v1/renew", takes(Intake::CERTIFICATE, post(renew_point)))
        .route("/control/v1/gateway/enrol", takes(Intake::CERTIFICATE, post(enrol_gateway)))
        .route("/control/v1/gateway/renew", takes(Intake::CERTIFICATE, post(renew_gateway)))
        .route("/control/v1/management-point/news", takes(Intake::NOTHING.of_management_point(), get(management_point::news)))
        .route("/control/v1/management-point/part/{digest}", takes(Intake::NOTHING.of_management_point(), get(management_point::part)))
        .route("/control/v1/management-point/status", takes(Intake::STATES.of_management_point(), post(management_point::status)))
        .route("/control/v1/management-point/renew", takes(Intake::CERTIFICATE.of_management_point(), post(management_point::renew)))
        .route("/control/v1/client/register", takes(Intake::CLIENT, post(clients::register)))
        .route("/control/v1/client/token", takes(Intake::CLIENT, post(clients::renew)))
        .route("/control/v1/client/exchange", takes(Intake::CLIENT, post(clients::exchange)))
        .route("/control/v1/client/messages", takes(Intake::MESSAGES, post(devices::messages)))
        .route("/control/v1/client/presence", takes(Intake::STATES.of_management_point(), post(devices::presence)))
        .route("/control/v1/client/tasks", takes(Intake::NOTHING.of_management_point(), get(devices::tasks)))
        // A body that got through was measured by its route.
        .layer(DefaultBodyLimit::disable())
        .with_state(site)
}

type Answer = Result<Response, Refused>;

/// A refusal, with words that its reader can act on.
struct Refused {
    status: StatusCode,
    what: String,
}

impl Refused {
    fn new(status: StatusCode, what: impl Into<String>) -> Self {
        Self { status, what: what.into() }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.what).into_response();
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, LATER);
        }
        response
    }
}

impl From<EnrolRefused> for Refused {
    fn from(refused: EnrolRefused) -> Self {
        let status = match &refused {
            EnrolRefused::NoMember { .. } | EnrolRefused::NoCode | EnrolRefused::Code(_) | EnrolRefused::Revoked => StatusCode::FORBIDDEN,
            EnrolRefused::NotDue | EnrolRefused::TooOften => StatusCode::TOO_MANY_REQUESTS,
            EnrolRefused::Renewal(_) => StatusCode::FORBIDDEN,
            EnrolRefused::Change(ChangeRefused::Store(_)) => StatusCode::SERVICE_UNAVAILABLE,
            EnrolRefused::Change(_) | EnrolRefused::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            error!(error = chain(&refused), "A member could not be certified");
        }
        Self::new(status, refused.to_string())
    }
}

impl From<cmg_store::Error> for Refused {
    fn from(refused: cmg_store::Error) -> Self {
        warn!(error = chain(&refused), "The database refused");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, refused.to_string())
    }
}

/// The connection point at the other end.
fn connection_point(peer: &Peer, site: &Site) -> Result<String, Refused> {
    let id = match &peer.member {
        Some(Role::ConnectionPoint(id)) => Some(id.as_str()),
        Some(_) | None => None,
    };
    member(peer, site, "connection-point", "connection point", id)
}

/// The management point at the other end.
fn management_point(peer: &Peer, site: &Site) -> Result<String, Refused> {
    let id = match &peer.member {
        Some(Role::ManagementPoint(id)) => Some(id.as_str()),
        Some(_) | None => None,
    };
    member(peer, site, "management-point", "management point", id)
}

/// A member of this kind that has proven `id`. One whose certificate was revoked has nothing sealed to it any more.
fn member(peer: &Peer, site: &Site, kind: &str, words: &str, id: Option<&str>) -> Result<String, Refused> {
    let Some(id) = id else {
        return Err(Refused::new(StatusCode::UNAUTHORIZED, format!("a {words} shows its role certificate here")));
    };
    let in_force = site.in_force();
    let is_revoked = peer.fingerprint.is_some_and(|fingerprint| in_force.ground.revoked_members.contains(&fingerprint));
    if is_revoked || !in_force.is_member(&format!("{kind}/{id}")) {
        let what = format!("{words} \"{id}\" was removed from the site, or its certificate was revoked: enrol it again");
        return Err(Refused::new(StatusCode::FORBIDDEN, what));
    }
    Ok(id.to_owned())
}

fn actor(account: String, peer: &Peer) -> Actor {
    Actor { account, role: "member".to_owned(), address: peer.address.ip().to_string(), request_id: String::new() }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))
}

async fn enrol_point(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let request: EnrolRequest = read(&body)?;
    if !["connection-point", "management-point"].contains(&request.kind.as_str()) {
        return Err(Refused::new(StatusCode::FORBIDDEN, "a gateway is enrolled by a connection point that dials it"));
    }
    let actor = actor(format!("{}/{}", request.kind, request.name), &peer);
    Ok(Json(enrol::enrol(&site, &actor, &request).await?).into_response())
}

async fn enrol_gateway(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let point = connection_point(&peer, &site)?;
    let request: EnrolRequest = read(&body)?;
    let dials_it = site.in_force().model.instances_of(&point).contains(&request.name.as_str());
    if request.kind != "gateway" || !dials_it {
        let what = format!("connection point \"{point}\" connects to no gateway instance \"{}\"", request.name);
        return Err(Refused::new(StatusCode::FORBIDDEN, what));
    }
    Ok(Json(enrol::enrol(&site, &actor(format!("connection-point/{point}"), &peer), &request).await?).into_response())
}

async fn renew_point(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    renew(&site, &peer, &body).await
}

async fn renew_gateway(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    renew(&site, &peer, &body).await
}

/// Whoever asks: the certificate and the signature in the request prove whose renewal it is.
async fn renew(site: &Site, peer: &Peer, body: &[u8]) -> Answer {
    let point = connection_point(peer, site)?;
    let request: RenewRequest = read(body)?;
    Ok(Json(enrol::renew(site, &actor(format!("connection-point/{point}"), peer), &request).await?).into_response())
}

#[derive(Deserialize)]
struct Asked {
    after: String,
    #[serde(default)]
    wait: u64,
}

async fn news(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, Query(asked): Query<Asked>) -> Answer {
    let point = connection_point(&peer, &site)?;
    tell_news(&site, &asked, |in_force| {
        connection_point(&peer, &site)?;
        let instances = in_force.model.instances_of(&point).into_iter().map(|name| format!("gateway/{name}"));
        Ok(instances.chain([format!("connection-point/{point}")]).collect())
    })
    .await
}

/// Waits for news, and tells those of the members that `members` names: whoever counted when it asked may have been revoked by the
/// very news.
async fn tell_news(site: &Site, asked: &Asked, members: impl FnOnce(&InForce) -> Result<Vec<String>, Refused>) -> Answer {
    let after = GenerationId::parse(&asked.after)
        .ok_or_else(|| Refused::new(StatusCode::BAD_REQUEST, "write after=EPOCH.NUMBER, such as after=1.42"))?;
    let mut newest = site.newest();
    let wait = Duration::from_secs(asked.wait.min(LONGEST_WAIT));
    // Whether the time is over or there is news, the answer is what is in force then.
    let _ = timeout(wait, newest.wait_for(|newest| *newest != after)).await;
    let in_force = site.in_force();
    let members = members(&in_force)?;
    let mut news = News { freshness: site.freshness(), ..News::default() };
    if in_force.generation() != after {
        for member in members {
            if let Some(signed) = in_force.signed.get(&member) {
                news.manifests.insert(member, signed.clone());
            }
        }
    }
    Ok(Json(news).into_response())
}

async fn part(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, Path(digest): Path<String>) -> Answer {
    connection_point(&peer, &site)?;
    let digest: Sha256 = digest.parse().map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "write the SHA-256 of a part"))?;
    tell_part(&site.in_force(), &digest)
}

fn tell_part(in_force: &InForce, digest: &Sha256) -> Answer {
    match in_force.publication.parts.get(digest) {
        Some(part) => Ok(Bytes::copy_from_slice(part).into_response()),
        None => Err(Refused::new(StatusCode::NOT_FOUND, "there is no such part in the generation in force")),
    }
}

async fn status(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let point = connection_point(&peer, &site)?;
    let report: StatusReport = read(&body)?;
    let in_force = site.in_force();
    let own = format!("connection-point/{point}");
    let foreign = |member: &str| Refused::new(StatusCode::FORBIDDEN, format!("connection point \"{point}\" does not speak for {member}"));
    if let Some(other) = report.members.keys().find(|member| **member != own) {
        return Err(foreign(other));
    }
    let instances = in_force.model.instances_of(&point);
    let mut said: Vec<_> = report.members.into_values().map(|status| ("connection-point", point.clone(), status)).collect();
    for (member, signed) in &report.gateways {
        let name = member.strip_prefix("gateway/").filter(|name| instances.contains(name)).ok_or_else(|| foreign(member))?;
        said.extend(gateway_said(&site, &in_force, name, signed).map(|status| ("gateway", name.to_owned(), status)));
    }
    let of_this_generation = said.iter().filter(|(_, _, status)| status.applied == in_force.generation());
    let wanted: Vec<_> = of_this_generation.flat_map(|(_, _, status)| status.wanted_keys.clone()).collect();
    let seen_at = site.now().0 as i64;
    let stored = |(kind, name, status): (&str, String, control::MemberStatus)| {
        let body = serde_json::to_string(&status).expect("a status has text keys only");
        MemberStatus { kind: kind.to_owned(), name, body, seen_at }
    };
    keep_statuses(&site, &own, said.into_iter().map(stored).collect()).await?;
    site.wanted_keys.note(&in_force.model, wanted.iter().collect());
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The word of the gateway instance `name`, if it has signed it and its certificate counts. Who brings it may not know that it does not.
fn gateway_said(site: &Site, in_force: &InForce, name: &str, signed: &Signed) -> Option<control::MemberStatus> {
    match check_status(signed, &site.keys().roots(), site.now()) {
        Ok(said) if said.gateway.as_str() == name && !in_force.ground.revoked_members.contains(&Sha256(said.fingerprint)) => {
            Some(said.status)
        }
        Ok(said) => {
            debug!(gateway = name, signer = %said.gateway, "A gateway's state is signed by another, or under a revoked certificate");
            None
        }
        Err(refused) => {
            debug!(gateway = name, error = chain(&refused), "A gateway's state is not signed as it should be");
            None
        }
    }
}

/// Keeps what `whose` has said of members, unless it says too much.
async fn keep_statuses(site: &Site, whose: &str, statuses: Vec<MemberStatus>) -> Result<(), Refused> {
    let Ok(turn) = site.reports.take(whose, statuses).await else {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "say the state of members once a second at most, and all of it at once"));
    };
    if let Some(statuses) = turn {
        let mut change = site.store.begin(site.now().0 as i64).await?;
        let known = change.member_statuses().await?;
        change.put_member_statuses(&newer(statuses, &known), REPEATED).await?;
        change.commit().await?;
    }
    Ok(())
}
