//! Keys that members want: they tell which issuers' tokens name a key that they do not have, and this site server asks those issuers.
//!
//! A stranger can make members tell it, so everything is bounded: only configured issuers count, each once however many members tell it,
//! and `token_issuers` says how seldom one is asked. A member that does not run the generation in force gets that first; what it lacks
//! may be there. Every site server does this for what it is told itself: the claim in the database makes one of them ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use cmg_api::resource::{IssuerKind, TokenIssuer};
use cmg_process::log::chain;
use tokio::sync::watch;
use tracing::{debug, error};

use super::fetching::Fetcher;
use super::model::Model;
use super::token_issuers::{self, Cause, SyncRefused, fetched, issuers};
use crate::site::Site;

/// Names of the issuers that are to be asked.
#[derive(Default)]
pub(crate) struct WantedKeys(watch::Sender<BTreeSet<String>>);

impl WantedKeys {
    /// Notes what members want, by what `iss` of the tokens was.
    pub(crate) fn note(&self, model: &Model, wanted: Vec<&String>) {
        if wanted.is_empty() {
            return;
        }
        let is_wanted = |issuer: &TokenIssuer| {
            issuer.enabled && issuer.kind != IssuerKind::Key && issuers(issuer).iter().any(|name| wanted.contains(&name))
        };
        let names: Vec<_> = model.token_issuers.values().filter(|issuer| is_wanted(issuer)).map(|issuer| issuer.name.clone()).collect();
        self.0.send_if_modified(|known| {
            known.extend(names);
            !known.is_empty()
        });
    }

    fn take(&self) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        self.0.send_if_modified(|known| {
            taken = std::mem::take(known);
            false
        });
        taken
    }
}

/// Asks issuers whenever members want their keys, until dropped.
pub(crate) async fn run(site: Arc<Site>) {
    let fetcher = Fetcher::of_system();
    let mut wanted = site.wanted_keys.0.subscribe();
    while wanted.changed().await.is_ok() {
        for name in site.wanted_keys.take() {
            match fetch(&site, &fetcher, &name, site.now().0 as i64).await {
                // A try that failed is noted and logged where it is made.
                Ok(_) | Err(SyncRefused::Failed(_) | SyncRefused::NotFound(_) | SyncRefused::Uploaded(_)) => {}
                Err(refused @ SyncRefused::TooSoon(_)) => debug!(issuer = name, "Keys are wanted: {refused}"),
                Err(refused @ SyncRefused::Change(_)) => error!(issuer = name, error = chain(&refused), "Wanted keys could not be stored"),
            }
        }
    }
}

/// Asks an issuer since members want its keys, and says whether they have changed.
pub async fn fetch(site: &Site, fetcher: &Fetcher, name: &str, now: i64) -> Result<bool, SyncRefused> {
    // Looked at first, since a flood of such tokens shall not become a flood of writes.
    let due = fetched(&mut site.store.view().await?, name).await?.due(Cause::Wanted);
    if now < due {
        return Err(SyncRefused::TooSoon(due - now));
    }
    token_issuers::sync_for(Cause::Wanted, site, fetcher, name, now).await
}
