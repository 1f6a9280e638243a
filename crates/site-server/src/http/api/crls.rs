//! Revocation lists of a trust: how fresh they are, and fetching them now.

use cmg_api::resource::{ClientTrust, Resource};
use cmg_store::Crl;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

use super::answer::Answer;
use super::asked::Asked;
use super::route::{Method, Route};
use crate::app::change::ChangeRefused;
use crate::app::crls;
use crate::app::fetching::Fetcher;
use crate::app::roles::Needs;
use crate::http::problem::Refused;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::new(Method::Get, "/trusts/{name}/crls", Needs::Read, "Shows how fresh the fetched revocation lists of a trust are", show)
            .gives::<CrlList>(),
        Route::new(Method::Post, "/trusts/{name}/sync-crls", Needs::Infrastructure, "Fetches the revocation lists of a trust now", sync)
            .status(200)
            .gives::<CrlList>(),
    ]
}

/// Revocation lists of a trust.
#[derive(Serialize, ToSchema)]
struct CrlList {
    /// One for each address, in the order of the trust.
    items: Vec<ShownCrl>,
}

/// A revocation list.
#[derive(Serialize, ToSchema)]
struct ShownCrl {
    /// The address.
    source: String,
    /// `fresh`, `stale`, or `none` where none was fetched yet.
    state: String,
    /// When it was made, in seconds since 1970.
    this_update: Option<i64>,
    /// When the next one is due, in seconds since 1970.
    next_update: Option<i64>,
    /// When it was fetched, in seconds since 1970.
    fetched_at: Option<i64>,
    /// When it was tried last, in seconds since 1970.
    tried_at: Option<i64>,
    /// When it is tried again, in seconds since 1970.
    again_at: Option<i64>,
    /// Why the last try failed; none: it did not.
    error: Option<String>,
}

impl ShownCrl {
    fn of(source: &str, known: Option<&Crl>, now: i64) -> Self {
        let state = match known.and_then(|crl| crl.next_update) {
            None => "none",
            Some(next_update) if next_update <= now => "stale",
            Some(_) => "fresh",
        };
        Self {
            source: source.to_owned(),
            state: state.to_owned(),
            this_update: known.and_then(|crl| crl.this_update),
            next_update: known.and_then(|crl| crl.next_update),
            fetched_at: known.and_then(|crl| crl.fetched_at),
            tried_at: known.map(|crl| crl.tried_at),
            again_at: known.map(crls::due),
            error: known.and_then(|crl| crl.error.clone()),
        }
    }
}

fn trust(asked: &Asked) -> Result<Arc<ClientTrust>, Refused> {
    let name = asked.part("name");
    let found = asked.site().in_force().model.trusts.get(name).cloned();
    Ok(found.ok_or_else(|| ChangeRefused::NotFound { kind: ClientTrust::KIND, name: name.to_owned() })?)
}

async fn show(asked: Asked) -> Result<Answer, Refused> {
    let trust = trust(&asked)?;
    listed(&asked, &trust).await
}

async fn sync(asked: Asked) -> Result<Answer, Refused> {
    let trust = trust(&asked)?;
    crls::sync(asked.site(), &Fetcher::of_system(), &trust, asked.site().now().0 as i64).await?;
    listed(&asked, &trust).await
}

async fn listed(asked: &Asked, trust: &ClientTrust) -> Result<Answer, Refused> {
    let known = asked.site().store.crls_of(&trust.name).await?;
    let now = asked.site().now().0 as i64;
    let shown = |url: &String| ShownCrl::of(url, known.iter().find(|crl| crl.source == *url), now);
    Ok(Answer::ok(&CrlList { items: trust.crl_urls.iter().map(shown).collect() }))
}
