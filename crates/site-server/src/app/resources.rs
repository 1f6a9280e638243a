//! The resources of the configuration: how each kind is written and shown, and the changes that all kinds have.

use std::collections::BTreeSet;

use cmg_api::resource::{
    BoundaryGroup, Certificate, ClientSettings, ClientTrust, ConnectionPoint, Gateway, InternetServer, ManagementPoint, PublishedEndpoint,
    SignInProvider, Site, SiteSystem, TokenIssuer,
};
use cmg_authority::Secret;
use cmg_core::problem::Problem;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::change::{ChangeRefused, Draft};
use super::crls::leave_out_misfits;
use super::model::{Kept, Model};
use super::publish::publication;
use super::roles::Needs;
use crate::config::is_site_code;
use crate::site::Site as SiteServer;

/// The first number that site systems are given: above 2^53, as clients expect it.
const FIRST_ROLE_ID: u64 = 72_057_594_037_927_937;

/// A kind of resource that administrators write.
pub trait Written: Kept + PartialEq + ToSchema {
    /// What they send.
    type Body: DeserializeOwned + ToSchema + Send + 'static;
    /// The same, read.
    type Read: Send + Sync + 'static;
    /// What is shown beside it.
    type Beside: Serialize + ToSchema + Default;

    /// Who may change it.
    const NEEDS: Needs = Needs::Infrastructure;

    /// Reads what was sent by itself. May take its time.
    fn read(body: Self::Body) -> Result<Self::Read, Vec<Problem>>;

    /// The name in what was sent.
    fn named(read: &Self::Read) -> &str;

    /// Makes the resource, in the place of the present one where there is one.
    fn accept(read: Self::Read, present: Option<&Self>, model: &Model) -> Result<Accepted<Self>, Vec<Problem>>;

    /// What is shown beside it.
    fn beside(&self) -> Self::Beside {
        Self::Beside::default()
    }

    /// Why it cannot be removed, apart from what refers to it.
    fn stays(&self, _model: &Model) -> Option<Problem> {
        None
    }

    /// The secret that belongs to a resource of this name, and goes with it.
    fn secret_of(_name: &str) -> Option<String> {
        None
    }

    /// What else is kept for a resource of this name, and goes with it.
    fn kept_for(_name: &str) -> Vec<String> {
        Vec::new()
    }

    /// What is shown beside it out of the database: the field, and where it is kept as JSON.
    fn shown_from(&self) -> Option<(&'static str, String)> {
        None
    }

    /// What this site server lacks for it.
    fn lacking(&self, _site: &SiteServer) -> Vec<Problem> {
        Vec::new()
    }
}

/// A resource, and the secret that comes with it.
pub struct Accepted<T> {
    /// The resource.
    pub resource: T,
    /// What goes into the vault for it.
    pub secret: Option<Secret>,
    /// What goes there besides, and where. Another one is a change of the resource.
    pub more: Option<(String, Secret)>,
}

impl<T> Accepted<T> {
    /// A resource without a secret.
    pub fn plain(resource: T) -> Self {
        Self { resource, secret: None, more: None }
    }
}

/// Nothing is shown beside most resources.
#[derive(Default, Serialize, ToSchema)]
pub struct Nothing {}

macro_rules! plain {
    ($($type:ident),*) => {
        $(impl Written for $type {
            type Body = Self;
            type Read = Self;
            type Beside = Nothing;

            fn read(body: Self) -> Result<Self, Vec<Problem>> {
                Ok(body)
            }

            fn named(read: &Self) -> &str {
                &read.name
            }

            fn accept(read: Self, _present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
                Ok(Accepted::plain(read))
            }
        })*
    };
}

plain!(Gateway, ConnectionPoint, PublishedEndpoint, BoundaryGroup, InternetServer, ClientSettings);

impl Written for Site {
    type Body = Self;
    type Read = Self;
    type Beside = Nothing;

    fn read(body: Self) -> Result<Self, Vec<Problem>> {
        if is_site_code(&body.name) {
            return Ok(body);
        }
        let what = format!("\"{}\" is no site code", body.name);
        Err(vec![Problem::new("name", what, "write 1 to 8 letters and digits, such as LAB")])
    }

    fn named(read: &Self) -> &str {
        &read.name
    }

    fn accept(read: Self, _present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        Ok(Accepted::plain(read))
    }

    fn stays(&self, model: &Model) -> Option<Problem> {
        let what = "it is the site that the site server was set up with";
        (self.name == model.own_site).then(|| Problem::new(format!("sites/{}", self.name), what, "keep it"))
    }
}

impl Written for SiteSystem {
    type Body = Self;
    type Read = Self;
    type Beside = Nothing;

    fn read(body: Self) -> Result<Self, Vec<Problem>> {
        Ok(body)
    }

    fn named(read: &Self) -> &str {
        &read.name
    }

    fn accept(mut read: Self, present: Option<&Self>, model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        read.role_id = Some(role_id(read.role_id, present.and_then(|present| present.role_id.clone()), model));
        Ok(Accepted::plain(read))
    }
}

impl Written for ManagementPoint {
    type Body = Self;
    type Read = Self;
    type Beside = Nothing;

    fn read(body: Self) -> Result<Self, Vec<Problem>> {
        Ok(body)
    }

    fn named(read: &Self) -> &str {
        &read.name
    }

    fn accept(mut read: Self, present: Option<&Self>, model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        read.role_id = Some(role_id(read.role_id, present.and_then(|present| present.role_id.clone()), model));
        Ok(Accepted::plain(read))
    }
}

/// The number that was sent, the one that it has already, or a free one.
fn role_id(sent: Option<String>, known: Option<String>, model: &Model) -> String {
    sent.or(known).unwrap_or_else(|| free_role_id(model))
}

/// The first number that no site system has and no endpoint stands under.
fn free_role_id(model: &Model) -> String {
    let systems = model.site_systems.values().filter_map(|system| system.role_id.as_deref());
    let points = model.management_points.values().filter_map(|point| point.role_id.as_deref());
    let endpoints = model.endpoints.values().filter_map(|endpoint| endpoint.role_id.as_deref());
    let taken: BTreeSet<u64> = systems.chain(points).chain(endpoints).filter_map(|id| id.parse().ok()).collect();
    (FIRST_ROLE_ID..).find(|id| !taken.contains(id)).unwrap_or(FIRST_ROLE_ID).to_string()
}

/// Waits for a generic function for the kind that is called `$kind`, and gives none where there is no such kind.
macro_rules! for_kind {
    ($kind:expr, $function:ident($($argument:expr),*)) => {
        $crate::app::resources::for_kind!(@ $kind, $function($($argument),*);
            Site, Gateway, ConnectionPoint, ManagementPoint, ClientTrust, Certificate, TokenIssuer, SiteSystem, PublishedEndpoint, BoundaryGroup, InternetServer,
            ClientSettings, SignInProvider)
    };
    (@ $kind:expr, $function:ident $arguments:tt; $($type:ident),*) => {
        match $kind {
            $(kind if kind == <cmg_api::resource::$type as cmg_api::resource::Resource>::KIND => {
                Some($crate::app::resources::for_kind!(@call $function $arguments $type))
            })*
            _ => None,
        }
    };
    (@call $function:ident ($($argument:expr),*) $type:ident) => {
        $function::<cmg_api::resource::$type>($($argument),*).await
    };
}
pub(crate) use for_kind;

/// All kinds, as they are stored.
pub fn kinds() -> [&'static str; 13] {
    use cmg_api::resource::Resource;
    [
        Site::KIND,
        Gateway::KIND,
        ConnectionPoint::KIND,
        ManagementPoint::KIND,
        ClientTrust::KIND,
        Certificate::KIND,
        TokenIssuer::KIND,
        SiteSystem::KIND,
        PublishedEndpoint::KIND,
        BoundaryGroup::KIND,
        InternetServer::KIND,
        ClientSettings::KIND,
        SignInProvider::KIND,
    ]
}

/// Adds a resource.
pub(crate) async fn create<T: Written>(site: &SiteServer, draft: &mut Draft<'_>, read: T::Read) -> Result<T, ChangeRefused> {
    let Accepted { resource, secret, more } = T::accept(read, None, &draft.model).map_err(ChangeRefused::Problems)?;
    demand_nothing_lacks(&resource, site)?;
    draft.insert(resource.clone()).await?;
    keep_secret::<T>(site, draft, resource.name(), secret).await?;
    keep_more(site, draft, more).await?;
    Ok(resource)
}

/// What [`replace`] did.
pub(crate) struct Replaced<T> {
    /// The resource as it is after that.
    pub(crate) resource: T,
    /// Its version.
    pub(crate) version: u64,
    /// Whether it differs from what was there.
    pub(crate) is_changed: bool,
}

/// Puts a resource in the place of the one of its name that has the version `expected`. The same again changes nothing.
pub(crate) async fn replace<T: Written>(
    site: &SiteServer,
    draft: &mut Draft<'_>,
    name: &str,
    read: T::Read,
    expected: Option<u64>,
) -> Result<Replaced<T>, ChangeRefused> {
    let version = draft.change.document(T::KIND, name).await?.map(|document| document.version);
    let version = version.ok_or_else(|| not_found::<T>(name))?;
    if expected.is_some_and(|expected| expected != version) {
        return Err(ChangeRefused::Stale { present: version });
    }
    let (resource, is_changed) = set::<T>(site, draft, name, read).await?;
    Ok(Replaced { resource, version: version + u64::from(is_changed), is_changed })
}

/// The same, whatever its version; whether it differs from what was there. What does not differ is not looked up in the database.
pub(crate) async fn set<T: Written>(
    site: &SiteServer,
    draft: &mut Draft<'_>,
    name: &str,
    read: T::Read,
) -> Result<(T, bool), ChangeRefused> {
    let Some(before) = T::of(&draft.model).get(name).cloned() else { return Err(not_found::<T>(name)) };
    let Accepted { resource, secret, more } = T::accept(read, Some(&before), &draft.model).map_err(ChangeRefused::Problems)?;
    if resource == *before && !keep_more(site, draft, more.clone()).await? {
        return Ok((resource, false));
    }
    demand_nothing_lacks(&resource, site)?;
    let version = draft.change.document(T::KIND, name).await?.map(|document| document.version);
    draft.replace(resource.clone(), version.ok_or_else(|| not_found::<T>(name))?).await?;
    keep_secret::<T>(site, draft, name, secret).await?;
    keep_more(site, draft, more).await?;
    Ok((resource, true))
}

/// Takes a resource away.
pub(crate) async fn remove<T: Written>(draft: &mut Draft<'_>, name: &str, expected: Option<u64>) -> Result<(), ChangeRefused> {
    let Some(before) = T::of(&draft.model).get(name).cloned() else { return Err(not_found::<T>(name)) };
    if let Some(problem) = before.stays(&draft.model) {
        return Err(ChangeRefused::Problems(vec![problem]));
    }
    draft.remove::<T>(name, expected).await?;
    if let Some(secret) = T::secret_of(name) {
        draft.change.remove_secret(&secret).await?;
    }
    for place in T::kept_for(name) {
        draft.change.remove_secret(&place).await?;
    }
    Ok(())
}

/// Judges a draft as its commit would, and stores nothing.
pub(crate) fn judge(site: &SiteServer, mut draft: Draft<'_>) -> Result<(), ChangeRefused> {
    leave_out_misfits(&draft.before.model, &draft.model, &mut draft.ground);
    let published = publication(&draft.model, &draft.ground, site.judged(), draft.before.generation());
    published.map(|_| ()).map_err(ChangeRefused::Problems)
}

/// A resource as it is shown, with its version.
pub fn shown<T: Written>(resource: &T, version: u64) -> Value {
    let fields = [serde_json::to_value(resource), serde_json::to_value(resource.beside())];
    let mut shown = Map::new();
    for value in fields {
        if let Ok(Value::Object(fields)) = value {
            shown.extend(fields);
        }
    }
    shown.insert("version".to_owned(), version.into());
    Value::Object(shown)
}

fn not_found<T: Written>(name: &str) -> ChangeRefused {
    ChangeRefused::NotFound { kind: T::KIND, name: name.to_owned() }
}

fn demand_nothing_lacks<T: Written>(resource: &T, site: &SiteServer) -> Result<(), ChangeRefused> {
    let lacking = resource.lacking(site);
    if lacking.is_empty() { Ok(()) } else { Err(ChangeRefused::Problems(lacking)) }
}

/// Keeps what goes into the vault besides. Whether it differs from what was there.
async fn keep_more(site: &SiteServer, draft: &mut Draft<'_>, more: Option<(String, Secret)>) -> Result<bool, ChangeRefused> {
    let Some((place, secret)) = more else { return Ok(false) };
    let keys = site.keys();
    let vault = &keys.vault;
    let before = draft.change.secret(&place).await?.and_then(|sealed| vault.open(&place, &sealed).ok());
    if before.as_ref() == Some(&secret) {
        return Ok(false);
    }
    let sealed = vault.seal(&place, secret.expose()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    draft.change.put_secret(&place, &sealed).await?;
    Ok(true)
}

async fn keep_secret<T: Written>(
    site: &SiteServer,
    draft: &mut Draft<'_>,
    name: &str,
    secret: Option<Secret>,
) -> Result<(), ChangeRefused> {
    let (Some(place), Some(secret)) = (T::secret_of(name), secret) else { return Ok(()) };
    let keys = site.keys();
    let vault = &keys.vault;
    let sealed = vault.seal(&place, secret.expose()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    Ok(draft.change.put_secret(&place, &sealed).await?)
}
