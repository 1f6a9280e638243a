//! What a device is asked to do. It is told at once where it is online, and otherwise when it comes.

use axum::http::StatusCode;
use cmg_api::device::TaskKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::devices;
use crate::app::roles::Needs;
use crate::http::api::answer::Answer;
use crate::http::api::asked::Asked;
use crate::http::api::route::{Method, Route};
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    let asking = |path: &str, kind: TaskKind, summary: &str| {
        Route::new(Method::Post, format!("/devices/{{id}}/{path}"), Needs::Infrastructure, summary, move |asked| ask(asked, kind))
            .status(202)
            .once()
            .gives::<AskedOfDevice>()
    };
    vec![
        asking("ping", TaskKind::Ping, "Asks a device to send a heartbeat"),
        asking("policy", TaskKind::Policy, "Asks a device to get its policy now"),
        asking("inventory-now", TaskKind::Inventory, "Asks a device to send its inventory now"),
        asking("locate", TaskKind::Locate, "Asks a device to evaluate anew where it is"),
    ]
}

/// What was asked of a device.
#[derive(Serialize, ToSchema)]
struct AskedOfDevice {
    /// The number of the task. It waits for its device for a day.
    task: u64,
    /// Through what the device is online, and so is told at once; none: it is told when it comes.
    through: Option<String>,
    /// When its last heartbeat came, in seconds since 1970: an answered ping makes this later.
    heartbeat_at: Option<i64>,
}

async fn ask(asked: Asked, kind: TaskKind) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let (device, task) = devices::ask(&mut draft, asked.part("id"), kind).await?;
    let told = AskedOfDevice { task, through: device.online.map(|online| online.through), heartbeat_at: device.heartbeat_at };
    let answer = Answer::new(StatusCode::ACCEPTED, &told);
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    asked.site().note_task(task);
    Ok(answer)
}
