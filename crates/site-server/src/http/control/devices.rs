//! What management points say of devices at work: their messages, who is online; and what they ask for them: tasks.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use cmg_api::device::{MOST_PASSED_ON, PassedOn, Presence};
use serde::Deserialize;
use tokio::time::timeout;
use tracing::warn;

use super::{Answer, LONGEST_WAIT, Refused, management_point, read};
use crate::app::devices;
use crate::http::listener::Peer;
use crate::site::Site;

/// Most devices of one word about who is online: more than a process holds.
const MOST_ONLINE: usize = 25_000;

/// Longest id of a client, and longest name of a service, in bytes.
const LONGEST_NAME: usize = 128;

pub(super) async fn messages(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let point = management_point(&peer, &site)?;
    let passed_on: PassedOn = read(&body)?;
    drop(body);
    if passed_on.messages.len() > MOST_PASSED_ON {
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {MOST_PASSED_ON} messages: send fewer at once")));
    }
    let kept = devices::take(&site, passed_on).await?;
    for refused in &kept.refused {
        warn!(point, message = refused.id, why = refused.why, "A message of a device is not kept");
    }
    Ok(Json(kept).into_response())
}

pub(super) async fn presence(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, body: Bytes) -> Answer {
    let point = management_point(&peer, &site)?;
    let presence: Presence = read(&body)?;
    let names = presence.online.iter().flat_map(|one| [one.client.len(), one.through.to_string().len()]);
    let longest = names.chain(presence.offline.iter().map(String::len)).max().unwrap_or_default();
    if presence.online.len() > MOST_ONLINE || presence.offline.len() > MOST_ONLINE || longest > LONGEST_NAME {
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, format!("more than {MOST_ONLINE} devices, or a name is too long")));
    }
    devices::note_presence(&site, &point, &presence).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
pub(super) struct AskedTasks {
    #[serde(default)]
    after: u64,
    #[serde(default)]
    wait: u64,
}

/// Held until a device shall do something.
pub(super) async fn tasks(State(site): State<Arc<Site>>, Extension(peer): Extension<Peer>, Query(asked): Query<AskedTasks>) -> Answer {
    management_point(&peer, &site)?;
    let mut last = site.tasks();
    let wait = Duration::from_secs(asked.wait.min(LONGEST_WAIT));
    // Whether the time is over or there is news, the answer is what there is then. What was asked of a database of before is told at once.
    let _ = timeout(wait, last.wait_for(|last| *last != asked.after)).await;
    management_point(&peer, &site)?;
    Ok(Json(devices::tasks(&site, asked.after).await?).into_response())
}
