//! `GET /cmg/v1/notifications`: held until the device shall do something, or there is another policy.
//!
//! Thousands of requests are held at once, so one is little: a seat at the board, and two timers. A task is told at once; of another policy
//! the devices are told over some seconds, so that they do not all ask for it in the same moment.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cmg_api::control::GenerationId;
use cmg_api::device::{LONGEST_WAIT, Notifications};
use cmg_process::dice;
use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use crate::board::{News, Seated};
use crate::desk::Desk;
use crate::device::Device;
use crate::point;
use crate::refused::Refused;

/// Over which time devices are told of another policy, in milliseconds.
const SPREAD: u64 = 4_000;

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    after: u64,
    policy: Option<String>,
    #[serde(default)]
    wait: u64,
}

pub(crate) async fn serve(
    State(desk): State<Arc<Desk>>,
    Extension(device): Extension<Device>,
    query: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refused> {
    let Query(asked) = query.map_err(|_| Refused::malformed("write ?after=NUMBER&policy=EPOCH.NUMBER&wait=SECONDS"))?;
    let policy = match asked.policy.as_deref() {
        Some(text) => GenerationId::parse(text).ok_or_else(|| Refused::malformed("write policy=EPOCH.NUMBER, such as policy=1.42"))?,
        None => GenerationId::default(),
    };
    let seat = desk.board.sit(device.id()?, &device.through, point::now().0);
    drop(device);
    let seat = seat.ok_or_else(|| Refused::unavailable("too many wait for notifications at this moment: ask again later"))?;
    let end = Instant::now() + Duration::from_secs(asked.wait.min(LONGEST_WAIT));
    Ok(match wait(&desk, &seat, asked.after, policy, end).await {
        Some(notifications) => Json(notifications).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Waits until there is something to tell; none: the time is over, or this program ends.
async fn wait(desk: &Desk, seat: &Seated, after: u64, known: GenerationId, end: Instant) -> Option<Notifications> {
    let mut policies = desk.policy.subscribe();
    // Whoever asks with an earlier policy is told at once.
    let mut tell_policy_at = Some(Instant::now());
    loop {
        let woken = seat.wake.notified();
        let mut woken = std::pin::pin!(woken);
        woken.as_mut().enable();
        let policy = *policies.borrow_and_update();
        let is_other = policy != known && policy != GenerationId::default();
        let after = match seat.news(after) {
            News::Tasks(tasks, after) => return Some(Notifications { policy, tasks, after }),
            News::Replaced => return None,
            News::Nothing(after) => after,
        };
        if is_other && tell_policy_at.is_some_and(|at| at <= Instant::now()) {
            tell_policy_at = None;
            if seat.may_tell(policy) {
                return Some(Notifications { policy, tasks: Vec::new(), after });
            }
        }
        let next = tell_policy_at.filter(|_| is_other).map_or(end, |at| at.min(end));
        tokio::select! {
            () = woken => {}
            changed = policies.changed() => {
                changed.ok()?;
                tell_policy_at = Some(Instant::now() + Duration::from_millis(dice::draw() % SPREAD));
            }
            () = sleep_until(next) => if next >= end { return None },
            () = desk.point.drain.draining() => return None,
        }
    }
}
