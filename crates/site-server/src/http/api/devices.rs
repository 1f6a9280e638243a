//! Devices: list, show, new, approve, block, unblock, remove; their tokens, inventories and messages; and what they shall do.
//!
//! A device is a registered client. The site's own word for who registers is client; what administrators read and write is device.

mod asking;
mod certificates;
mod sent;
mod shown;
mod tokens;

use axum::http::StatusCode;
use cmg_core::problem::Problem;
use cmg_store::{Client, ClientState, DeviceFilter};
use serde::Deserialize;
use utoipa::ToSchema;

use self::shown::{Counts, DevicePage, ShownDevice};
use super::BASE;
use super::answer::Answer;
use super::asked::Asked;
use super::page::Page;
use super::route::{Method, Parameter, Route};
use crate::app::change::{ChangeRefused, Draft};
use crate::app::clients::{self, IdentityKind, NewClient};
use crate::app::roles::Needs;
use crate::app::text::note_problem;
use crate::http::problem::Refused;

const LIST: &[Parameter] = &[
    Parameter("search", "string", "Only those whose name, identity or id contains this, in either case."),
    Parameter("state", "string", "Only `pending`, `approved` or `blocked` ones."),
    Parameter(
        "identity",
        "string",
        "Only those that prove themselves so: `certificate`, `bulk-token`, `entra-device`, `oidc-user` or `key`.",
    ),
    Parameter("online", "boolean", "Only those that are online, or only those that are not."),
    Parameter("through", "string", "Only those that are online through this: `intranet`, `cmg`, `ibcm`, `cmg/NAME` or `ibcm/NAME`."),
    Parameter("after", "string", "Only those after this id: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) fn routes() -> Vec<Route> {
    let change = Needs::Infrastructure;
    let mut routes = vec![
        Route::new(Method::Get, "/devices", Needs::Read, "Lists devices", list).query(LIST).gives::<DevicePage>(),
        Route::new(Method::Post, "/devices", change, "Registers a device", create).once().takes::<NewClient>().gives::<ShownDevice>(),
        Route::new(Method::Get, "/devices/{id}", Needs::Read, "Shows a device", show).gives::<ShownDevice>(),
        Route::new(Method::Delete, "/devices/{id}", change, "Removes a device; what it can show stays blocked", remove),
        Route::new(Method::Post, "/devices/{id}/approve", change, "Lets a device count that waits", approve)
            .status(200)
            .gives::<ShownDevice>(),
        Route::new(Method::Post, "/devices/{id}/block", change, "Blocks a device with its certificates and tokens", block)
            .status(200)
            .takes::<BlockNote>()
            .gives::<ShownDevice>(),
        Route::new(Method::Post, "/devices/{id}/unblock", change, "Lifts the block of a device", unblock)
            .status(200)
            .gives::<ShownDevice>(),
    ];
    routes.extend(certificates::routes());
    routes.extend(tokens::routes());
    routes.extend(sent::routes());
    routes.extend(asking::routes());
    routes
}

/// Why a device is blocked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct BlockNote {
    /// In your words. Default empty.
    #[serde(default)]
    note: String,
    /// Whether what it came by is blocked too, so that it does not come back with another key: the bulk registration token, or the user,
    /// device or certificate name, which other devices may come by as well. Default false.
    #[serde(default)]
    origin: bool,
}

async fn list(asked: Asked) -> Result<Answer, Refused> {
    let page = Page::of(&asked)?;
    let filter = DeviceFilter {
        state: asked.text("state").map(state).transpose()?,
        search: asked.text("search"),
        identity_kind: asked.text("identity").map(identity).transpose()?.map(IdentityKind::word),
        online: asked.text("online").is_some().then(|| asked.flag("online")).transpose()?,
        through: asked.text("through").map(through).transpose()?,
    };
    let mut view = asked.site().store.view().await?;
    let mut devices = view.device_page(filter, asked.text("after"), page.rows()).await?;
    let next = page.cut(&mut devices, |device| device.client.id.clone());
    let total = Counts::of(view.count_clients().await?, view.count_online().await?);
    Ok(Answer::ok(&DevicePage { items: devices.into_iter().map(ShownDevice::from).collect(), next, total }))
}

fn state(text: &str) -> Result<ClientState, Refused> {
    let states = [ClientState::Pending, ClientState::Approved, ClientState::Blocked];
    let state = states.into_iter().find(|state| state.word() == text);
    state.ok_or_else(|| wrong("?state", format!("\"{text}\" is no state"), "write pending, approved or blocked"))
}

fn identity(text: &str) -> Result<IdentityKind, Refused> {
    let kind = IdentityKind::ALL.into_iter().find(|kind| kind.word() == text);
    let instead = "write certificate, bulk-token, entra-device, oidc-user or key";
    kind.ok_or_else(|| wrong("?identity", format!("\"{text}\" is no kind of identity"), instead))
}

fn through(text: &str) -> Result<&str, Refused> {
    let (kind, name) = text.split_once('/').map_or((text, None), |(kind, name)| (kind, Some(name)));
    let is_known = matches!((kind, name), ("intranet", None) | ("cmg" | "ibcm", _)) && name != Some("");
    let instead = "write intranet, cmg, ibcm, cmg/NAME or ibcm/NAME";
    if is_known { Ok(text) } else { Err(wrong("?through", format!("\"{text}\" is no way"), instead)) }
}

fn wrong(key: &str, what: String, instead: &str) -> Refused {
    Refused::invalid(vec![Problem::new(key, what, instead)])
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let id = asked.part("id");
    let mut view = asked.site().store.view().await?;
    let device = view.device(id).await?.ok_or_else(|| not_found(id))?;
    let namesakes = view.namesakes(&device.client.name, id).await?;
    Ok(Answer::ok(&ShownDevice::with_findings(device, &namesakes)))
}

fn not_found(id: &str) -> ChangeRefused {
    ChangeRefused::NotFound { kind: clients::KIND, name: id.to_owned() }
}

async fn known(asked: &Asked) -> Result<Client, Refused> {
    let id = asked.part("id");
    let client = asked.site().store.client(id).await?;
    Ok(client.ok_or_else(|| not_found(id))?)
}

async fn create(asked: Asked) -> Result<Answer, Refused> {
    let once = asked.once()?;
    let new: NewClient = asked.body()?;
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let id = clients::add(&mut draft, &new).await?.id;
    let answer = Answer::new(StatusCode::CREATED, &shown(&mut draft, &id).await?).location(format!("{BASE}/devices/{id}"));
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await?;
    Ok(answer)
}

async fn remove(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    clients::remove(&mut draft, asked.part("id")).await?;
    Ok(Answer::nothing().generation(draft.commit().await?))
}

async fn approve(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    clients::approve(&mut draft, asked.part("id")).await?;
    answered(asked.part("id"), draft).await
}

async fn block(asked: Asked) -> Result<Answer, Refused> {
    let BlockNote { note, origin } = asked.body()?;
    if let Some(problem) = note_problem(&note) {
        return Err(Refused::invalid(vec![problem]));
    }
    let mut draft = asked.draft().await?;
    clients::block(&mut draft, asked.part("id"), &note, origin).await?;
    answered(asked.part("id"), draft).await
}

async fn unblock(asked: Asked) -> Result<Answer, Refused> {
    let mut draft = asked.draft().await?;
    clients::unblock(&mut draft, asked.part("id")).await?;
    answered(asked.part("id"), draft).await
}

async fn answered(id: &str, mut draft: Draft<'_>) -> Result<Answer, Refused> {
    let answer = Answer::ok(&shown(&mut draft, id).await?);
    Ok(answer.generation(draft.commit().await?))
}

async fn shown(draft: &mut Draft<'_>, id: &str) -> Result<ShownDevice, Refused> {
    let device = draft.change.device(id).await?;
    Ok(device.ok_or_else(|| not_found(id))?.into())
}
