//! Follows the site: keeps a question open at every connection point, fetches what is new, notices who withholds.
//!
//! Nothing that a connection point says is believed because it says so: the site has signed it, or it is not there. When to do what
//! is decided in `cmg_core::subscription`; this carries it out.
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::WhenWithheld;
use cmg_api::control::{GatewayNews, GenerationId, Manifest, Signed};
use cmg_core::ids::ConnectionPointId;
use cmg_core::snapshot::Generation;
use cmg_core::subscription::{Command, News, Now, Subscription};
use cmg_core::time::Tick;
use cmg_enrolled::{DataError, ManifestRefused, PartError, freshness, manifest};
use cmg_process::log::chain;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::Site;
use super::ask::{Asked, NoAnswer};
use crate::state::now;

/// A snapshot that is whole.
#[derive(Clone)]
pub(super) struct Update {
    pub(super) signed: Signed,
    pub(super) manifest: Manifest,
}

/// What came of a question or a fetch.
enum Done {
    Asked(ConnectionPointId, Result<GatewayNews, NoAnswer>),
    Fetched(Generation, Result<(), FetchError>),
}

/// What the site has signed of an answer.
struct Verified {
    news: News,
    offered: Option<(Signed, Manifest)>,
    /// Why its statement of freshness does not count.
    trouble: Option<ManifestRefused>,
}

/// Why a snapshot is not whole.
#[derive(Debug, Error)]
enum FetchError {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the disk was not looked at")]
    Stopped,
}

/// Follows the site until dropped.
pub(super) struct Follower {
    site: Arc<Site>,
    subscription: Subscription<ConnectionPointId>,
    /// The newest manifest.
    newest: Option<(Signed, Manifest)>,
    updates: mpsc::Sender<Update>,
    tasks: JoinSet<Done>,
    /// What was last told about each connection point.
    troubles: BTreeMap<ConnectionPointId, String>,
    started: Instant,
}

impl Follower {
    /// Follows from the generation `known` on.
    pub(super) fn new(site: Arc<Site>, known: GenerationId, updates: mpsc::Sender<Update>) -> Self {
        let started = Instant::now();
        let subscription = Subscription::new(of_core(known), Now { wall: now(), tick: Tick(0) });
        Self { site, subscription, newest: None, updates, tasks: JoinSet::new(), troubles: BTreeMap::new(), started }
    }

    /// Follows.
    pub(super) async fn run(mut self) {
        let mut sessions = self.site.gateway.hub.changes();
        sessions.mark_changed();
        loop {
            while let Some(command) = self.subscription.poll(self.moment()) {
                self.carry_out(command);
            }
            self.avoid();
            let until = self.started + Duration::from_millis(self.subscription.timeout(self.moment()).0);
            tokio::select! {
                Some(Ok(done)) = self.tasks.join_next(), if !self.tasks.is_empty() => self.take(done).await,
                Ok(()) = sessions.changed() => self.meet(),
                () = sleep_until(until) => {}
            }
        }
    }

    fn moment(&self) -> Now {
        Now { wall: now(), tick: Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)) }
    }

    /// Connection points have come or gone.
    fn meet(&mut self) {
        let live = self.site.gateway.hub.connection_points();
        let gone: Vec<_> = self.subscription.sources().filter(|source| !live.contains_key(*source)).cloned().collect();
        for source in gone {
            self.subscription.gone(&source);
            self.troubles.remove(&source);
        }
        let now = self.moment().tick;
        for source in live.into_keys() {
            self.subscription.came(source, now);
        }
        self.count_withholding();
    }

    fn carry_out(&mut self, command: Command<ConnectionPointId>) {
        match command {
            Command::Ask { source, after } => self.ask(source, after),
            Command::Fetch { source, generation } => self.fetch(source, generation),
            Command::Withholds { source, newest } => {
                warn!(connection_point = %source, newest = %of_api(newest), "Connection point withholds the newest configuration");
                self.count_withholding();
            }
            Command::Follows { source } => {
                info!(connection_point = %source, "Connection point has the newest configuration again");
                self.count_withholding();
            }
            Command::Stale => warn!("Nobody has brought a word of the site for 30 s; what is in force stays so"),
            Command::Fresh => info!("The word of the site is fresh again"),
        }
    }

    /// By the policy of the site who withholds for long carries no requests that others can carry.
    fn avoid(&self) {
        let avoided = match self.site.gateway.state().when_withheld {
            WhenWithheld::Serve => BTreeSet::new(),
            WhenWithheld::Avoid => self.subscription.long_withholding(self.moment().tick).cloned().collect(),
        };
        let names: Vec<_> = avoided.iter().map(ConnectionPointId::as_str).collect();
        let names = names.join(", ");
        if !self.site.gateway.hub.avoid(avoided) {
            return;
        }
        if names.is_empty() {
            info!("Every connection point carries requests again: none withholds the newest configuration for long");
        } else {
            warn!(
                connection_points = names,
                "These connection points carry requests only where no other can, as they withhold the newest configuration"
            );
        }
    }

    fn count_withholding(&self) {
        self.site.metrics.withholding.set(self.subscription.withholding().count() as i64);
    }

    fn ask(&mut self, source: ConnectionPointId, after: Generation) {
        let site = Arc::clone(&self.site);
        self.tasks.spawn(async move {
            let asked = Asked { hub: &site.gateway.hub, connection_point: &source };
            let answer = asked.news(of_api(after)).await;
            Done::Asked(source, answer)
        });
    }

    fn fetch(&mut self, source: ConnectionPointId, generation: Generation) {
        let Some((_, manifest)) = self.newest.clone() else { return };
        let site = Arc::clone(&self.site);
        self.tasks.spawn(async move { Done::Fetched(generation, fetch(&site, &source, manifest).await) });
    }

    async fn take(&mut self, done: Done) {
        match done {
            Done::Asked(source, Ok(answer)) => match self.verified(&answer) {
                Ok(verified) => self.heard(&source, verified),
                Err(refused) => self.failed(&source, &refused),
            },
            Done::Asked(source, Err(error)) => self.failed(&source, &error),
            Done::Fetched(generation, result) => self.fetched(generation, result).await,
        }
    }

    /// What the site has signed of an answer; something else in it makes the whole answer worth nothing. But a clock that is wrong keeps
    /// no configuration away.
    fn verified(&self, answer: &GatewayNews) -> Result<Verified, ManifestRefused> {
        let identity = self.site.identity.load();
        let believed = || self.site.snapshots.believed(&identity.roots);
        let said = answer.freshness.as_ref().map(|signed| freshness(signed, believed(), now())).transpose();
        let (said, trouble) = match said {
            Err(refused @ ManifestRefused::FromTheFuture(_)) => (None, Some(refused)),
            said => (said?, None),
        };
        let offered = match &answer.manifest {
            Some(signed) => {
                let manifest = manifest(signed, &identity.member(), GenerationId::default(), believed(), now())?;
                Some((signed.clone(), manifest))
            }
            None => None,
        };
        let news = News {
            freshness: said.map(|said| (of_core(said.newest), cmg_core::time::WallTime(said.at))),
            offered: offered.as_ref().map(|(_, manifest)| of_core(manifest.generation)),
        };
        Ok(Verified { news, offered, trouble })
    }

    fn heard(&mut self, source: &ConnectionPointId, Verified { news, offered, trouble }: Verified) {
        if let Some((_, at)) = news.freshness {
            self.site.metrics.said(at.0);
        }
        match trouble {
            Some(refused) => self.tell(source, &refused),
            None if self.troubles.remove(source).is_some() => {
                info!(connection_point = %source, "Connection point answers as it should again");
            }
            None => {}
        }
        if self.subscription.answered(source, news, self.moment()) {
            self.newest = offered;
        }
    }

    fn failed(&mut self, source: &ConnectionPointId, error: &(dyn std::error::Error + 'static)) {
        self.subscription.failed(source, self.moment().tick);
        self.tell(source, error);
    }

    /// Told once for each change of the reason.
    fn tell(&mut self, source: &ConnectionPointId, error: &(dyn std::error::Error + 'static)) {
        let trouble = chain(error);
        if self.troubles.get(source) != Some(&trouble) {
            warn!(connection_point = %source, error = trouble, "Connection point does not answer as it should");
            self.troubles.insert(source.clone(), trouble);
        }
    }

    async fn fetched(&mut self, generation: Generation, result: Result<(), FetchError>) {
        if let Err(error) = &result {
            warn!(generation = %of_api(generation), error = chain(error), "Configuration not fetched yet");
        }
        if !self.subscription.fetched(generation, result.is_ok(), self.moment().tick) {
            return;
        }
        if let Some((signed, manifest)) = self.newest.clone() {
            debug!(generation = %manifest.generation, "Configuration fetched");
            // Whoever puts it in force is gone only when the process ends.
            let _ = self.updates.send(Update { signed, manifest }).await;
        }
    }
}

/// Fetches the parts that are missing from one connection point.
async fn fetch(site: &Site, source: &ConnectionPointId, manifest: Manifest) -> Result<(), FetchError> {
    let asked = Asked { hub: &site.gateway.hub, connection_point: source };
    let (snapshots, parts) = (site.snapshots.clone(), site.snapshots.parts().clone());
    for (digest, size) in off_the_runtime(move || snapshots.missing(&manifest)).await? {
        let bytes = asked.part(&digest, size).await?;
        let parts = parts.clone();
        off_the_runtime(move || parts.write(&digest, &bytes)).await??;
    }
    Ok(())
}

/// Does what takes the disk, or long, where it holds up no request.
fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = Result<T, FetchError>> {
    let task = tokio::task::spawn_blocking(work);
    async move { task.await.map_err(|_| FetchError::Stopped) }
}

pub(super) fn of_core(generation: GenerationId) -> Generation {
    Generation { epoch: generation.epoch, number: generation.number }
}

fn of_api(generation: Generation) -> GenerationId {
    GenerationId { epoch: generation.epoch, number: generation.number }
}
