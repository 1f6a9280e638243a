//! Devices at work: what they send through management points is kept, who is online is known, and what they shall do is passed on.
//!
//! A management point is believed about who has sent what: it has verified that. Whether the client counts, is decided here. All of it is
//! kept beside the configuration: no generation comes of it.

use std::collections::{BTreeMap, BTreeSet};

use cmg_api::device::{
    ClientTask, Kept, MOST_TASKS, MessageKind, PRESENCE_REPEATED, PassedOn, PassedOnMessage, Presence, RefusedMessage, Task, TaskKind,
    Tasks,
};
use cmg_core::problem::Problem;
use cmg_store::{ClientState, Device, NewMessage, Present};
use serde::de::IgnoredAny;

use super::change::{ChangeRefused, Draft};
use super::clients;
use crate::site::Site;

/// How long a management point may be silent before nobody counts as online there, in seconds.
const SILENT: i64 = 3 * PRESENCE_REPEATED as i64;

/// Keeps what devices have sent. What is kept already is kept; what never will be is told with the reason.
pub(crate) async fn take(site: &Site, passed_on: PassedOn) -> Result<Kept, cmg_store::Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    let counting = counting(&mut change, &passed_on).await?;
    let mut told = Kept::default();
    let mut good = Vec::new();
    for passed in passed_on.messages {
        let why = counting.get(&passed.client).cloned().unwrap_or_else(|| Some("the site knows no such client".to_owned()));
        match why.or_else(|| problem(&passed)) {
            Some(why) => told.refused.push(RefusedMessage { id: passed.message.id, why }),
            None => {
                told.kept.push(passed.message.id.clone());
                good.push(passed);
            }
        }
    }
    let rows: Vec<NewMessage> = good.iter().map(row).collect();
    let new = change.take_messages(&rows).await?;
    for passed in &good {
        if new.contains(&(passed.client.clone(), passed.message.id.clone())) {
            keep_latest(&mut change, passed).await?;
        }
    }
    let seen: BTreeSet<&str> = good.iter().map(|passed| &*passed.client).collect();
    change.touch_clients(&seen.into_iter().collect::<Vec<_>>()).await?;
    change.commit().await?;
    Ok(told)
}

/// The clients that there are: why nothing is taken from each, or that it counts.
async fn counting(change: &mut cmg_store::Change, passed_on: &PassedOn) -> Result<BTreeMap<String, Option<String>>, cmg_store::Error> {
    let ids: BTreeSet<&str> = passed_on.messages.iter().map(|passed| &*passed.client).collect();
    let senders = change.senders(&ids.into_iter().collect::<Vec<_>>()).await?;
    let why = |sender: &cmg_store::Sender| match sender.state {
        _ if sender.is_blocked => Some("the client is blocked"),
        ClientState::Blocked => Some("the client is blocked"),
        ClientState::Pending => Some("the client waits for an administrator's approval"),
        ClientState::Approved => None,
    };
    Ok(senders.into_iter().map(|sender| (sender.id.clone(), why(&sender).map(str::to_owned))).collect())
}

/// What is wrong with a message, looked at again: a management point may be out of hand.
fn problem(passed: &PassedOnMessage) -> Option<String> {
    let message = &passed.message;
    if message.upload.is_none() || message.kind == MessageKind::Foreign {
        return message.problem();
    }
    let text = message.body.as_str().unwrap_or_default();
    let is_object = text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    (!is_object).then(|| "the upload is no object of JSON".to_owned())
}

/// The text of a message.
fn text(passed: &PassedOnMessage) -> String {
    match (&passed.message.upload, passed.message.body.as_str()) {
        (Some(_), Some(text)) if passed.message.kind != MessageKind::Foreign => text.to_owned(),
        _ => passed.message.body.to_string(),
    }
}

fn row(passed: &PassedOnMessage) -> NewMessage {
    let message = &passed.message;
    let is_latest_only = matches!(message.kind, MessageKind::Heartbeat | MessageKind::Inventory);
    NewMessage {
        client: passed.client.clone(),
        id: message.id.clone(),
        kind: message.kind.word().to_owned(),
        at: i64::try_from(message.at).unwrap_or(i64::MAX),
        received_at: i64::try_from(passed.received_at).unwrap_or(i64::MAX),
        through: passed.through.to_string(),
        body: (!is_latest_only).then(|| text(passed)),
    }
}

async fn keep_latest(change: &mut cmg_store::Change, passed: &PassedOnMessage) -> Result<(), cmg_store::Error> {
    let received_at = i64::try_from(passed.received_at).unwrap_or(i64::MAX);
    match passed.message.kind {
        MessageKind::Heartbeat => change.put_heartbeat(&passed.client, received_at, &text(passed)).await,
        MessageKind::Inventory => change.put_inventory(&passed.client, received_at, &text(passed)).await,
        MessageKind::Status | MessageKind::Foreign => Ok(()),
    }
}

/// Notes who is online at a management point.
pub(crate) async fn note_presence(site: &Site, point: &str, presence: &Presence) -> Result<(), cmg_store::Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    let mut gone: BTreeSet<String> = presence.offline.iter().cloned().collect();
    if presence.whole {
        gone.extend(change.present_at(point).await?);
    }
    for online in &presence.online {
        gone.remove(&online.client);
    }
    let present: BTreeMap<&str, Present> = presence.online.iter().map(|online| (&*online.client, present(online))).collect();
    change.remove_present(point, &gone.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    change.put_present(point, &present.into_values().collect::<Vec<_>>()).await?;
    change.note_presence_told(point).await?;
    change.commit().await
}

fn present(online: &cmg_api::device::OnlineDevice) -> Present {
    let since = i64::try_from(online.since).unwrap_or(i64::MAX);
    Present { client: online.client.clone(), through: online.through.to_string(), since }
}

/// Forgets who was online at management points that have gone silent.
pub async fn expire_presence(site: &Site, now: i64) -> Result<u64, cmg_store::Error> {
    let mut change = site.store.begin(now).await?;
    let expired = change.expire_presence(now - SILENT).await?;
    change.commit().await?;
    Ok(expired)
}

/// Tasks after a number. One that was never given is of a database that is not here any more: then all are told.
pub(crate) async fn tasks(site: &Site, after: u64) -> Result<Tasks, cmg_store::Error> {
    let mut view = site.store.view().await?;
    let last = view.last_task().await?;
    let after = if after > last { 0 } else { after };
    let tasks = view.tasks_after(after, MOST_TASKS as u32).await?;
    let after = if tasks.len() == MOST_TASKS { tasks.last().map_or(last, |task| task.number) } else { last };
    let task = |task: cmg_store::Task| {
        let kind = TaskKind::of(&task.kind)?;
        Some(ClientTask { client: task.client, task: Task { number: task.number, kind } })
    };
    Ok(Tasks { after, tasks: tasks.into_iter().filter_map(task).collect() })
}

/// Asks a device to do something, and gives it with the number of the task.
pub(crate) async fn ask(draft: &mut Draft<'_>, id: &str, kind: TaskKind) -> Result<(Device, u64), ChangeRefused> {
    let client = clients::present(draft, id).await?;
    if client.state != ClientState::Approved {
        let what = format!("the device is {}", client.state.word());
        return Err(ChangeRefused::Problems(vec![Problem::new("state", what, "approve or unblock it first")]));
    }
    let number = draft.change.add_task(id, kind.word()).await?;
    let after = serde_json::json!({ "task": number, "kind": kind.word() }).to_string();
    draft.record("ask", clients::KIND, id, None, Some(after)).await?;
    let device = draft.change.device(id).await?;
    let gone = || ChangeRefused::NotFound { kind: clients::KIND, name: id.to_owned() };
    Ok((device.ok_or_else(gone)?, number))
}
