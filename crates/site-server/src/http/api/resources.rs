//! The resources of the configuration: list, show, new, set, remove, for every kind in the same way.

use axum::http::StatusCode;
use cmg_api::control::GenerationId;
use cmg_api::resource::{
    BoundaryGroup, Certificate, ClientSettings, ClientTrust, ConnectionPoint, Gateway, InternetServer, ManagementPoint, PublishedEndpoint,
    Resource, SignInProvider, Site, SiteSystem, TokenIssuer,
};
use cmg_core::problem::Problem;
use cmg_store::DocumentPage;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::answer::Answer;
use super::asked::Asked;
use super::openapi::reference;
use super::route::{Method, Parameter, Route, Shape};
use super::{BASE, body};
use crate::app::change::{ChangeRefused, Draft};
use crate::app::resources::{self, Written, shown};
use crate::app::roles::Needs;
use crate::http::problem::Refused;

/// Items of a page where the query does not say.
const PAGE: i64 = 100;

/// The most items of a page.
const LONGEST_PAGE: i64 = 500;

const LIST: &[Parameter] = &[
    Parameter("search", "string", "Only names that contain this, in either case."),
    Parameter("after", "string", "Only names after this one: `next` of the page before."),
    Parameter("limit", "integer", "How many at most, 1 to 500. Default 100."),
];

pub(super) const DRY_RUN: &[Parameter] = &[Parameter("dry_run", "boolean", "Judges everything and stores nothing. Default false.")];

pub(super) fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    routes.extend(routes_of::<Site>());
    routes.extend(routes_of::<Gateway>());
    routes.extend(routes_of::<ConnectionPoint>());
    routes.extend(routes_of::<ManagementPoint>());
    routes.extend(routes_of::<ClientTrust>());
    routes.extend(routes_of::<Certificate>());
    routes.extend(routes_of::<TokenIssuer>());
    routes.extend(routes_of::<SiteSystem>());
    routes.extend(routes_of::<PublishedEndpoint>());
    routes.extend(routes_of::<BoundaryGroup>());
    routes.extend(routes_of::<InternetServer>());
    routes.extend(routes_of::<ClientSettings>());
    routes.extend(routes_of::<SignInProvider>());
    routes
}

fn routes_of<T: Written>() -> [Route; 5] {
    let (all, one, kind) = (format!("/{}", T::PLURAL), format!("/{}/{{name}}", T::PLURAL), T::KIND);
    let shown = format!("Shown{}", <T as ToSchema>::name());
    let shape = || Shape { beside: Some((shown.clone(), beside::<T>())), ..Shape::of::<T>() };
    let items = json!({ "items": { "type": "array", "items": { "$ref": reference(&shown) } } });
    let page = Shape { beside: Some((format!("{}Page", <T as ToSchema>::name()), items)), ..Shape::of::<Page>() };
    [
        Route::new(Method::Get, &all, Needs::Read, format!("Lists {}", T::PLURAL), list::<T>).query(LIST).gives_shape(page),
        Route::new(Method::Post, &all, T::NEEDS, format!("Adds a {kind}"), create::<T>)
            .query(DRY_RUN)
            .once()
            .takes::<T::Body>()
            .gives_shape(shape()),
        Route::new(Method::Get, &one, Needs::Read, format!("Shows a {kind}"), show::<T>).gives_shape(shape()),
        Route::new(Method::Put, &one, T::NEEDS, format!("Replaces a {kind}"), replace::<T>)
            .query(DRY_RUN)
            .matches()
            .takes::<T::Body>()
            .gives_shape(shape()),
        Route::new(Method::Delete, &one, T::NEEDS, format!("Removes a {kind}"), remove::<T>).query(DRY_RUN).matches(),
    ]
}

/// A page of a list.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema counts")]
pub(super) struct Page {
    /// The resources, by name.
    items: Vec<Value>,
    /// What to send as `after` to get the next page; none: this is the last one.
    next: Option<String>,
    /// How many there are on all pages.
    total: u64,
}

/// The properties that are shown beside those of the resource.
fn beside<T: Written>() -> Value {
    let mut properties = json!({ "version": { "type": "integer", "description": "One more with every change: the ETag." } });
    let schema = serde_json::to_value(<T::Beside as PartialSchema>::schema()).unwrap_or_default();
    if let (Some(properties), Some(more)) = (properties.as_object_mut(), schema["properties"].as_object()) {
        properties.extend(more.clone());
    }
    properties
}

async fn list<T: Written>(asked: Asked) -> Result<Answer, Refused> {
    let limit = asked.number("limit", 1, LONGEST_PAGE)?.unwrap_or(PAGE) as usize;
    let search = asked.text("search");
    // One more than asked for tells whether there is a next page.
    let page = DocumentPage { after: asked.text("after"), search, limit: limit as u32 + 1 };
    let mut documents = asked.site().store.document_page(T::KIND, page).await?;
    let next = (documents.len() > limit).then(|| documents[limit - 1].name.clone());
    documents.truncate(limit);
    let mut items = Vec::with_capacity(documents.len());
    for document in &documents {
        let resource: T = serde_json::from_str(&document.body).map_err(|error| Refused::failed(&error))?;
        items.push(shown(&resource, document.version));
    }
    let in_force = asked.site().in_force();
    let search = search.map(str::to_lowercase);
    let names = T::of(&in_force.model).keys();
    let total = names.filter(|name| search.as_ref().is_none_or(|search| name.to_lowercase().contains(search))).count();
    Ok(Answer::ok(&json!({ "items": items, "next": next, "total": total })))
}

async fn show<T: Written>(asked: Asked) -> Result<Answer, Refused> {
    let name = asked.part("name");
    let Some(document) = asked.site().store.document(T::KIND, name).await? else {
        return Err(ChangeRefused::NotFound { kind: T::KIND, name: name.to_owned() }.into());
    };
    let resource: T = serde_json::from_str(&document.body).map_err(|error| Refused::failed(&error))?;
    let mut shown = shown(&resource, document.version);
    if let Some((field, place)) = resource.shown_from()
        && let Some(kept) = asked.site().store.secret(&place).await?
    {
        shown[field] = serde_json::from_slice(&kept).map_err(|error| Refused::failed(&error))?;
    }
    Ok(Answer::ok(&shown).version(document.version))
}

async fn create<T: Written>(asked: Asked) -> Result<Answer, Refused> {
    let (once, dry_run) = (asked.once()?, asked.flag("dry_run")?);
    let read = read::<T>(body::parse(&asked.body)?).await?;
    let name = T::named(&read).to_owned();
    let mut draft = asked.draft().await?;
    if let Some(answer) = asked.earlier(once.as_ref(), &mut draft).await? {
        return Ok(answer);
    }
    let made = resources::create::<T>(asked.site(), &mut draft, read).await.map_err(|refused| own::<T>(&name, refused))?;
    let answer = Answer::new(StatusCode::CREATED, &shown(&made, 1)).version(1).location(format!("{BASE}/{}/{name}", T::PLURAL));
    if dry_run {
        resources::judge(asked.site(), draft).map_err(|refused| own::<T>(&name, refused))?;
        return Ok(answer);
    }
    let answer = answer.generation(next(&draft));
    asked.keep(once.as_ref(), &mut draft, &answer).await?;
    draft.commit().await.map_err(|refused| own::<T>(&name, refused))?;
    Ok(answer)
}

async fn replace<T: Written>(asked: Asked) -> Result<Answer, Refused> {
    let (expected, dry_run, name) = (asked.expected()?, asked.flag("dry_run")?, asked.part("name"));
    let mut value = body::parse(&asked.body)?;
    // What was read can be sent back as it is.
    if let Some(table) = value.as_table_mut() {
        table.remove("version");
    }
    let read = read::<T>(value).await?;
    if T::named(&read) != name {
        let what = format!("it is \"{}\", and the address says \"{name}\"", T::named(&read));
        return Err(Refused::invalid(vec![Problem::new("name", what, "write the same; a name does not change")]));
    }
    let mut draft = asked.draft().await?;
    let replaced =
        resources::replace::<T>(asked.site(), &mut draft, name, read, expected).await.map_err(|refused| own::<T>(name, refused))?;
    let answer = Answer::ok(&shown(&replaced.resource, replaced.version)).version(replaced.version);
    if dry_run {
        resources::judge(asked.site(), draft).map_err(|refused| own::<T>(name, refused))?;
        return Ok(answer);
    }
    if !replaced.is_changed {
        return Ok(answer.generation(draft.before.generation()));
    }
    let generation = draft.commit().await.map_err(|refused| own::<T>(name, refused))?;
    Ok(answer.generation(generation))
}

async fn remove<T: Written>(asked: Asked) -> Result<Answer, Refused> {
    let (expected, dry_run, name) = (asked.expected()?, asked.flag("dry_run")?, asked.part("name"));
    let mut draft = asked.draft().await?;
    resources::remove::<T>(&mut draft, name, expected).await?;
    if dry_run {
        resources::judge(asked.site(), draft)?;
        return Ok(Answer::nothing());
    }
    let generation = draft.commit().await?;
    Ok(Answer::nothing().generation(generation))
}

/// Reads what was sent as a resource of this kind. Some are read for a while, so not among the other requests.
pub(super) async fn read<T: Written>(value: toml::Value) -> Result<T::Read, Refused> {
    let body: T::Body = body::of_value(value)?;
    let read = tokio::task::spawn_blocking(move || T::read(body)).await;
    read.map_err(|error| Refused::failed(&error))?.map_err(Refused::invalid)
}

/// The generation that a draft will make.
pub(super) fn next(draft: &Draft<'_>) -> GenerationId {
    let GenerationId { epoch, number } = draft.before.generation();
    GenerationId { epoch, number: number + 1 }
}

/// A refusal of the whole, in which the fields of the resource that was sent are called as they were sent.
fn own<T: Resource>(name: &str, refused: ChangeRefused) -> Refused {
    let prefix = format!("{}/{name}.", T::PLURAL);
    Refused::from(refused).with_keys(|key| key.strip_prefix(&prefix).unwrap_or(key).to_owned())
}
