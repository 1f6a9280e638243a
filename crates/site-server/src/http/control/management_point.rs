//! What management points ask for themselves: news of their own, its parts, the next certificate; and how they are.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use cmg_api::bytes::Sha256;
use cmg_api::control::{RenewRequest, StatusReport};
use cmg_authority::check_renewal;
use cmg_core::ids::Role;
use cmg_store::MemberStatus;

use super::{Answer, Asked, Refused, actor, keep_statuses, management_point, read, tell_news, tell_part};
use crate::app::enrol::{self, EnrolRefused};
use crate::http::listener::Peer;
use crate::site::Site;

pub(super) async fn news(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, Query(asked): Query<Asked>) -> Answer {
    member(&peer, &site)?;
    tell_news(&site, &asked, |_| Ok(vec![member(&peer, &site)?])).await
}

/// A part of its own configuration, and of nobody else's: what is inside is none of its business.
pub(super) async fn part(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, Path(digest): Path<String>) -> Answer {
    let member = member(&peer, &site)?;
    let digest: Sha256 = digest.parse().map_err(|_| Refused::new(StatusCode::BAD_REQUEST, "write the SHA-256 of a part"))?;
    let in_force = site.in_force();
    let is_its_own = in_force.publication.manifests.get(&member).is_some_and(|manifest| manifest.parts.contains_key(&digest));
    if !is_its_own {
        return Err(Refused::new(StatusCode::NOT_FOUND, "there is no such part in the configuration of this management point"));
    }
    tell_part(&in_force, &digest)
}

pub(super) async fn status(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let name = management_point(&peer, &site)?;
    let report: StatusReport = read(&body)?;
    let own = format!("management-point/{name}");
    if let Some(other) = report.members.keys().find(|member| **member != own) {
        return Err(Refused::new(StatusCode::FORBIDDEN, format!("management point \"{name}\" does not speak for {other}")));
    }
    let seen_at = site.now().0 as i64;
    let mut statuses = Vec::new();
    for status in report.members.values() {
        let body = serde_json::to_string(status).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        statuses.push(MemberStatus { kind: "management-point".to_owned(), name: name.clone(), body, seen_at });
    }
    keep_statuses(&site, &own, statuses).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Its own certificate is renewed here, and no other.
pub(super) async fn renew(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let name = management_point(&peer, &site)?;
    let request: RenewRequest = read(&body)?;
    let whose = check_renewal(&request, &site.keys().roots(), site.now()).map_err(EnrolRefused::from)?.role;
    if !matches!(&whose, Role::ManagementPoint(id) if id.as_str() == name) {
        let what = format!("management point \"{name}\" does not ask for {}/{}", whose.kind(), whose.name());
        return Err(Refused::new(StatusCode::FORBIDDEN, what));
    }
    Ok(Json(enrol::renew(&site, &actor(format!("management-point/{name}"), &peer), &request).await?).into_response())
}

fn member(peer: &Peer, site: &Site) -> Result<String, Refused> {
    management_point(peer, site).map(|name| format!("management-point/{name}"))
}
