//! Following the site: one question is always held there. What it is answered with is verified, its parts are fetched, and it is handed
//! over: the own snapshot to whoever puts it in force, those of gateways to the board.
//!
//! The own one comes first, so that what a gateway begins to publish is known here before. The first question after a start asks for
//! everything: what is known already is passed over, and what was lost between two writes comes again.
use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::{GenerationId, Manifest, News, Signed};
use cmg_enrolled::{DataError, ManifestRefused, PartError, Parts, Snapshots, freshness, manifest};
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, Site, SiteError, Trouble};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::board::Posted;
use super::metrics::Heard;
use super::relay::Relay;
use super::store::GatewayStore;
use crate::state::now;

/// Shortest time between two questions where the first has brought nothing new: it should have been held.
const PAUSE: Duration = Duration::from_millis(250);

/// A snapshot for this connection point, whose parts are all here.
pub(crate) struct Update {
    pub(crate) signed: Signed,
    pub(crate) manifest: Manifest,
    /// Is told when it was put in force, or refused.
    pub(crate) done: oneshot::Sender<()>,
}

/// Whoever asks the site.
pub(crate) struct Follower {
    pub(crate) site: Arc<Site>,
    pub(crate) snapshots: Snapshots,
    pub(crate) gateways: GatewayStore,
    pub(crate) relay: Arc<Relay>,
    pub(crate) heard: Heard,
    /// The newest own generation that was looked at, in force or refused.
    pub(crate) seen: GenerationId,
    pub(crate) updates: mpsc::Sender<Update>,
}

#[derive(Debug, Error)]
enum FollowError {
    #[error("the site does not answer")]
    Site(#[from] SiteError),
    #[error("the site has no part of it any more, so there is something newer")]
    Outdated,
    #[error("the configuration of {member} does not count")]
    Manifest { member: String, source: ManifestRefused },
    #[error("what the site says about the newest configuration does not count")]
    Freshness(#[source] ManifestRefused),
    #[error("a part does not fit its name, or cannot be kept")]
    Part(#[from] PartError),
    #[error("the gateways' configurations cannot be kept")]
    Data(#[from] DataError),
    #[error("this program ends")]
    Ending,
}

impl Follower {
    /// Follows the site until dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut followed = GenerationId::default();
        let mut trouble = Trouble::default();
        loop {
            let asked_at = Instant::now();
            match self.turn(followed).await {
                Ok(newest) => {
                    let is_new = newest > followed;
                    followed = followed.max(newest);
                    backoff.reset();
                    if trouble.is_over() {
                        info!("The site is followed again");
                    }
                    if !is_new {
                        sleep_until(asked_at + PAUSE).await;
                    }
                }
                Err(FollowError::Ending) => return,
                Err(error) => {
                    let text = chain(&error);
                    if trouble.is_news(&text) {
                        warn!(error = text, "The site cannot be followed");
                    }
                    let asked = if let FollowError::Site(error) = &error { error.retry_after() } else { None };
                    sleep(backoff.failed(asked, dice::draw())).await;
                }
            }
        }
    }

    /// Asks once, and does what the answer says; gives the newest generation in it.
    async fn turn(&mut self, followed: GenerationId) -> Result<GenerationId, FollowError> {
        let member = self.site.member();
        let news = member.client.news(followed).await?;
        self.heard.now();
        let (me, roots) = (member.identity.member(), &member.identity.roots);
        // What is wrong with one of them is no reason to withhold the others.
        let mut trouble = self.hear(&news, roots).err();
        let mut newest = followed;
        if let Some(signed) = news.manifests.get(&me) {
            match self.own(&me, signed, roots).await {
                Ok(generation) => newest = newest.max(generation),
                Err(FollowError::Ending) => return Err(FollowError::Ending),
                Err(error) => trouble = Some(error),
            }
        }
        let mut is_changed = false;
        for (member, signed) in news.manifests.iter().filter(|(member, _)| **member != me) {
            match self.gateway(member, signed, roots).await {
                Ok((generation, is_new)) => {
                    newest = newest.max(generation);
                    is_changed |= is_new;
                }
                Err(error) => trouble = Some(error),
            }
        }
        if is_changed {
            self.gateways.keep(&self.relay.board.borrow())?;
        }
        trouble.map_or(Ok(newest), Err)
    }

    /// Takes in what the site says about the newest.
    fn hear(&self, news: &News, roots: &[Vec<u8>]) -> Result<(), FollowError> {
        if let Some(signed) = &news.freshness {
            let said = freshness(signed, self.snapshots.believed(roots), now()).map_err(FollowError::Freshness)?;
            self.relay.board.send_modify(|board| board.heard(signed.clone(), said));
        }
        Ok(())
    }

    async fn own(&mut self, me: &str, signed: &Signed, roots: &[Vec<u8>]) -> Result<GenerationId, FollowError> {
        let manifest = match manifest(signed, me, self.seen, self.snapshots.believed(roots), now()) {
            Ok(manifest) => manifest,
            Err(ManifestRefused::Older { offered, known }) => {
                debug!(%offered, %known, "The configuration is known");
                return Ok(offered);
            }
            Err(source) => return Err(FollowError::Manifest { member: me.to_owned(), source }),
        };
        self.fetch(&manifest, self.snapshots.parts()).await?;
        let generation = manifest.generation;
        let (done, is_done) = oneshot::channel();
        self.updates.send(Update { signed: signed.clone(), manifest, done }).await.map_err(|_| FollowError::Ending)?;
        is_done.await.map_err(|_| FollowError::Ending)?;
        self.seen = generation;
        Ok(generation)
    }

    /// Takes in the manifest of a gateway; true: it is newer than the one that was known.
    async fn gateway(&mut self, member: &str, signed: &Signed, roots: &[Vec<u8>]) -> Result<(GenerationId, bool), FollowError> {
        let refused = |source| FollowError::Manifest { member: member.to_owned(), source };
        let Some(name) = member.strip_prefix("gateway/") else { return Err(refused(ManifestRefused::OtherMember(member.to_owned()))) };
        let known = self.relay.board.borrow().generation(name).unwrap_or_default();
        let manifest = match manifest(signed, member, known, self.snapshots.believed(roots), now()) {
            Ok(manifest) => manifest,
            Err(ManifestRefused::Older { offered, .. }) => return Ok((offered, false)),
            Err(source) => return Err(refused(source)),
        };
        self.fetch(&manifest, self.gateways.parts()).await?;
        self.gateways.accept(name, signed.clone(), now());
        let posted = Posted::new(signed.clone(), &manifest);
        self.relay.board.send_modify(|board| {
            board.post(name, posted);
        });
        debug!(gateway = name, generation = %manifest.generation, "A gateway's configuration has come");
        Ok((manifest.generation, true))
    }

    /// Gets the parts of `manifest` that are not in `into`, from this machine where another member has them too.
    async fn fetch(&self, manifest: &Manifest, into: &Parts) -> Result<(), FollowError> {
        for part in manifest.parts.keys().copied() {
            let (own, of_gateways, to) = (self.snapshots.parts().clone(), self.gateways.parts().clone(), into.clone());
            let is_here = on_disk(move || {
                if to.has(&part) {
                    return Ok(true);
                }
                match own.read(&part).or_else(|_| of_gateways.read(&part)) {
                    Ok(bytes) => to.write(&part, &bytes).map(|()| true),
                    Err(_) => Ok(false),
                }
            });
            if !is_here.await? {
                let bytes = self.site.member().client.part(part).await.map_err(|error| match error.status() {
                    Some(404) => FollowError::Outdated,
                    Some(_) | None => FollowError::Site(error),
                })?;
                let to = into.clone();
                on_disk(move || to.write(&part, &bytes)).await?;
            }
        }
        Ok(())
    }
}

/// Does what waits for the disk where nobody else has to wait for it.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, PartError> + Send + 'static) -> Result<T, FollowError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(FollowError::Ending),
    }
}
