//! Token issuers: what must hold of each, and the keys that the site fetches for members, which never ask an issuer themselves.
//!
//! Keys come from the discovery document and the key set that it names. The issuer that the document says must be the configured one, to
//! the letter. What was fetched last stays in use while an issuer cannot be reached. Fetched keys are public, so they are stored as
//! they are, under the name `issuer/NAME/jwks`.

use std::collections::BTreeMap;
use std::path::Path;

use cmg_api::resource::{IssuerKind, TokenIssuer};
use cmg_api::{Algorithm, TokenKeyFile};
use cmg_core::entra::is_guid;
use cmg_core::problem::Problem;
use cmg_store::{Change, View};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::change::{Actor, ChangeRefused};
use super::fetching::{FetchFailed, Fetcher, Reach, side_by_side};
pub use super::key_sets::IssuerKey;
use super::key_sets::keys;
use super::model::Model;
use super::own_roots;
use super::resources::{Accepted, Nothing, Written};
use crate::site::Site;

/// The largest discovery document or key set, in bytes.
const LARGEST: usize = 1 << 20;

/// The longest of what devices are told, in bytes.
const LONGEST_TOLD: usize = 256;

/// How often keys are fetched, in seconds.
pub const OFTEN: i64 = 60 * 60;

/// How often they are fetched at most, in seconds, however often somebody asks.
pub const SELDOM: i64 = 60;

/// How often they are fetched at most, in seconds, for tokens that name a key which the last fetch for such tokens has not brought:
/// whoever makes up names of keys shall not have the issuer asked for each.
pub const SELDOM_IN_VAIN: i64 = 5 * SELDOM;

/// What was fetched from one issuer, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The keys.
    pub keys: Vec<IssuerKey>,
    /// When they were fetched, in seconds since 1970.
    pub fetched_at: Option<i64>,
    /// When it was tried last.
    pub tried_at: i64,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
    /// When members wanted them last, and they were tried for that.
    #[serde(default)]
    pub wanted_at: i64,
    /// Whether that brought no other keys.
    #[serde(default)]
    pub in_vain: bool,
}

/// Why an issuer is asked. Each cause has its own pause: keys are wanted just after they were fetched by the clock, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An administrator asked, or it is time.
    Asked,
    /// Members have seen tokens that name a key which is not known.
    Wanted,
}

/// Why keys were not fetched.
#[derive(Debug, thiserror::Error)]
pub enum SyncRefused {
    /// There is no such issuer.
    #[error("there is no token-issuer \"{0}\"")]
    NotFound(String),
    /// Its keys are uploaded.
    #[error("the keys of token-issuer \"{0}\" are uploaded, not fetched: replace the resource")]
    Uploaded(String),
    /// It was tried a moment ago.
    #[error("the keys were asked for less than a minute ago: ask again in {0} s")]
    TooSoon(i64),
    /// They could not be fetched; that is noted.
    #[error("the keys could not be fetched: {0}")]
    Failed(String),
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl Fetched {
    /// When the issuer may be asked for this cause again, in seconds since 1970.
    pub(crate) fn due(&self, cause: Cause) -> i64 {
        match cause {
            Cause::Asked => self.tried_at + SELDOM,
            Cause::Wanted => self.wanted_at + if self.in_vain { SELDOM_IN_VAIN } else { SELDOM },
        }
    }
}

impl From<cmg_store::Error> for SyncRefused {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

impl Written for TokenIssuer {
    type Body = Self;
    type Read = Self;
    type Beside = Nothing;

    fn read(body: Self) -> Result<Self, Vec<Problem>> {
        let problems = problems(&body);
        if problems.is_empty() { Ok(body) } else { Err(problems) }
    }

    fn named(read: &Self) -> &str {
        &read.name
    }

    fn accept(read: Self, _present: Option<&Self>, _model: &Model) -> Result<Accepted<Self>, Vec<Problem>> {
        Ok(Accepted::plain(read))
    }

    fn secret_of(name: &str) -> Option<String> {
        Some(place(name))
    }
}

fn problems(issuer: &TokenIssuer) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut problem = |key: &str, what: &str, instead: &str| problems.push(Problem::new(key, what, instead));
    let given = |present: bool| if present { "is missing" } else { "does not belong to this kind" };
    let wants = |kinds: &[IssuerKind]| kinds.contains(&issuer.kind);
    for (key, is_there, kinds, instead) in [
        (
            "issuer",
            issuer.issuer.is_some(),
            &[IssuerKind::Oidc, IssuerKind::Key][..],
            "oidc and key want what `iss` is, others leave it out",
        ),
        ("tenant", issuer.tenant.is_some(), &[IssuerKind::Entra], "entra wants the id of the tenant, others leave it out"),
        ("keys", !issuer.keys.is_empty(), &[IssuerKind::Key], "key wants public keys by their ids, others leave them out"),
    ] {
        if is_there != wants(kinds) {
            problem(key, given(!is_there), instead);
        }
    }
    for (key, value) in [("client_app_id", &issuer.client_app_id), ("resource_uri", &issuer.resource_uri)] {
        if value.is_some() && issuer.kind != IssuerKind::Entra {
            problem(key, "does not belong to this kind", "leave it out, or write kind entra");
        }
        if let Some(value) = value
            && (!(1..=LONGEST_TOLD).contains(&value.len()) || !value.bytes().all(|byte| byte.is_ascii_graphic()))
        {
            problem(key, "it is empty, too long, or has characters that do not belong there", "write it as Entra ID shows it");
        }
    }
    for (key, is_there, other) in [
        ("client_app_id", issuer.client_app_id.is_some(), &issuer.resource_uri),
        ("resource_uri", issuer.resource_uri.is_some(), &issuer.client_app_id),
    ] {
        if issuer.kind == IssuerKind::Entra && !is_there && other.is_some() {
            problem(key, "is missing", "devices need client_app_id and resource_uri, or are told neither");
        }
    }
    if issuer.tenant.as_deref().is_some_and(|tenant| !is_guid(tenant)) {
        problem("tenant", "it is no id of a tenant", "write the GUID of the tenant, such as 00000000-0000-0000-0000-000000000000");
    }
    if let (IssuerKind::Oidc, Some(text)) = (issuer.kind, &issuer.issuer)
        && let Err(refused) = Fetcher::judge_url(text, true)
    {
        problem("issuer", &refused.to_string(), "write the provider's address as its tokens say it, such as https://login.example.com");
    }
    if issuer.algorithms.is_empty() {
        problem("algorithms", "it is empty", "name at least one, for example [\"RS256\"]");
    }
    if issuer.leeway.time() > std::time::Duration::from_secs(300) {
        problem("leeway", "it is too long", "write at most 5m");
    }
    problems.extend(own_roots::problems("authorities", &issuer.authorities));
    problems
}

/// What `iss` of its tokens may be.
pub fn issuers(issuer: &TokenIssuer) -> Vec<String> {
    match (issuer.kind, &issuer.tenant) {
        (IssuerKind::Entra, Some(tenant)) => {
            let tenant = tenant.to_ascii_lowercase();
            vec![format!("https://sts.windows.net/{tenant}/"), format!("https://login.microsoftonline.com/{tenant}/v2.0")]
        }
        _ => issuer.issuer.iter().cloned().collect(),
    }
}

/// A fetched key as members get it: once for each issuer of its tokens.
pub(crate) fn published(issuer: &TokenIssuer, key: &IssuerKey, path: &Path) -> Vec<TokenKeyFile> {
    let algorithms: Vec<Algorithm> = issuer.algorithms.iter().copied().filter(|algorithm| key.algorithms.contains(algorithm)).collect();
    let names = issuers(issuer);
    if algorithms.is_empty() || names.last() != Some(&key.issuer) {
        return Vec::new();
    }
    let file = |name| TokenKeyFile {
        id: key.id.clone(),
        issuer: name,
        algorithms: algorithms.clone(),
        key: path.to_owned(),
        kind: issuer.token_kind,
        leeway: issuer.leeway,
    };
    names.into_iter().map(file).collect()
}

/// Keys of all issuers, as they were fetched last.
pub(crate) async fn stored_keys(view: &mut View) -> Result<BTreeMap<String, Vec<IssuerKey>>, cmg_store::Error> {
    let mut keys = BTreeMap::new();
    for place in view.secret_names().await? {
        let Some(name) = place.strip_prefix("issuer/").and_then(|rest| rest.strip_suffix("/jwks")) else { continue };
        let fetched = fetched(view, name).await?;
        if !fetched.keys.is_empty() {
            keys.insert(name.to_owned(), fetched.keys);
        }
    }
    Ok(keys)
}

/// What was fetched from an issuer last.
pub async fn fetched(view: &mut View, name: &str) -> Result<Fetched, cmg_store::Error> {
    let stored = view.secret(&place(name)).await?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

fn place(name: &str) -> String {
    format!("issuer/{name}/jwks")
}

/// Fetches the keys of an issuer, and publishes them if they changed. Whether they did.
pub async fn sync(site: &Site, fetcher: &Fetcher, name: &str, now: i64) -> Result<bool, SyncRefused> {
    sync_for(Cause::Asked, site, fetcher, name, now).await
}

/// The same for a cause.
pub(crate) async fn sync_for(cause: Cause, site: &Site, fetcher: &Fetcher, name: &str, now: i64) -> Result<bool, SyncRefused> {
    let in_force = site.in_force();
    let issuer = in_force.model.token_issuers.get(name).ok_or_else(|| SyncRefused::NotFound(name.to_owned()))?;
    if issuer.kind == IssuerKind::Key {
        return Err(SyncRefused::Uploaded(name.to_owned()));
    }
    let before = claim(cause, site, name, now).await?;
    let error = match fetch(fetcher, issuer).await {
        Ok(keys) => {
            let is_changed = keys != before.keys;
            let in_vain = (cause == Cause::Wanted || before.in_vain) && !is_changed;
            let after = Fetched { keys, fetched_at: Some(now), error: None, in_vain, ..before.clone() };
            match store(site, name, after, is_changed).await {
                // Members would refuse such keys, so they are as good as none.
                Err(ChangeRefused::Problems(problems)) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                stored => return Ok(stored.map(|()| is_changed)?),
            }
        }
        Err(error) => error,
    };
    warn!(issuer = name, error, "Keys of a token issuer could not be fetched");
    note(site, name, Fetched { error: Some(error.clone()), in_vain: cause == Cause::Wanted || before.in_vain, ..before }).await?;
    Err(SyncRefused::Failed(error))
}

/// Notes that the issuer is asked before it is, so that many who ask at once are one who asks. What is held of it.
async fn claim(cause: Cause, site: &Site, name: &str, now: i64) -> Result<Fetched, SyncRefused> {
    let mut change = site.store.begin(now).await?;
    let before = fetched(&mut change, name).await?;
    let due = before.due(cause);
    if now < due {
        return Err(SyncRefused::TooSoon(due - now));
    }
    let wanted_at = if cause == Cause::Wanted { now } else { before.wanted_at };
    let claimed = Fetched { tried_at: now, wanted_at, ..before };
    put(&mut change, name, &claimed).await?;
    change.commit().await?;
    Ok(claimed)
}

async fn put(change: &mut Change, name: &str, fetched: &Fetched) -> Result<(), cmg_store::Error> {
    let text = serde_json::to_vec(fetched).expect("what was fetched is texts and numbers");
    change.put_secret(&place(name), &text).await
}

async fn note(site: &Site, name: &str, fetched: Fetched) -> Result<(), ChangeRefused> {
    let mut change = site.store.begin(fetched.tried_at).await?;
    put(&mut change, name, &fetched).await?;
    Ok(change.commit().await?)
}

async fn store(site: &Site, name: &str, fetched: Fetched, is_changed: bool) -> Result<(), ChangeRefused> {
    if !is_changed {
        return note(site, name, fetched).await;
    }
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    if !draft.model.token_issuers.contains_key(name) {
        return Ok(());
    }
    put(&mut draft.change, name, &fetched).await?;
    let ids: Vec<&str> = fetched.keys.iter().map(|key| key.id.as_str()).collect();
    draft.record("sync", "token-issuer", name, None, Some(serde_json::json!({ "keys": ids }).to_string())).await?;
    draft.ground.issuer_keys.insert(name.to_owned(), fetched.keys);
    draft.publish();
    let generation = draft.commit().await?;
    info!(issuer = name, %generation, "Keys of a token issuer changed");
    Ok(())
}

/// Fetches the keys of every issuer that is due.
pub async fn sync_due(site: &Site, fetcher: &Fetcher, now: i64) -> Result<(), SyncRefused> {
    let in_force = site.in_force();
    let mut due = Vec::new();
    for issuer in in_force.model.token_issuers.values().filter(|issuer| issuer.enabled && issuer.kind != IssuerKind::Key) {
        let known = fetched(&mut site.store.view().await?, &issuer.name).await?;
        let is_of_another = known.keys.iter().any(|key| issuers(issuer).last() != Some(&key.issuer));
        let again = match &known.error {
            _ if is_of_another => SELDOM,
            Some(_) => SELDOM * 5,
            None => OFTEN,
        };
        if now >= known.tried_at + again {
            due.push(sync(site, fetcher, &issuer.name, now));
        }
    }
    // One that failed is noted with its reason.
    let without_database = |result| match result {
        Err(SyncRefused::Change(refused)) => Some(refused),
        _ => None,
    };
    side_by_side(due).await.into_iter().find_map(without_database).map_or(Ok(()), |refused| Err(refused.into()))
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

async fn fetch(fetcher: &Fetcher, issuer: &TokenIssuer) -> Result<Vec<IssuerKey>, String> {
    let fetcher = fetcher.and(own_roots::read(&issuer.authorities));
    let said = |error: FetchFailed| error.to_string();
    let named = issuers(issuer).pop().ok_or("it names no issuer")?;
    // The provider says where its keys are, which reaches no further than where it is itself.
    let reach = Reach::of(issuer.allow_private_addresses, &named);
    let url = format!("{}/.well-known/openid-configuration", named.trim_end_matches('/'));
    let document = fetcher.https(&url, LARGEST, reach).await.map_err(said)?;
    let discovery: Discovery = serde_json::from_slice(&document).map_err(|error| format!("{url} is no discovery document: {error}"))?;
    if discovery.issuer != named {
        return Err(format!("{url} is the document of the issuer \"{}\": write exactly that as issuer", discovery.issuer));
    }
    let set = fetcher.https(&discovery.jwks_uri, LARGEST, reach).await.map_err(said)?;
    let keys = keys(&set, &named).map_err(|what| format!("{}: {what}", discovery.jwks_uri))?;
    if keys.iter().any(|key| issuer.algorithms.iter().any(|algorithm| key.algorithms.contains(algorithm))) {
        return Ok(keys);
    }
    Err(format!("{} holds no key for the algorithms that count", discovery.jwks_uri))
}
