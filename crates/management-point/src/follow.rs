//! Following the site: one question is always held there. What it is answered with is verified, its parts are fetched, and it is put
//! in force.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::GenerationId;
use cmg_enrolled::{ManifestRefused, PartError, manifest};
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, SiteError, Trouble};
use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use crate::point::{Point, now};

/// Shortest time between two questions where the first has brought nothing new: it should have been held.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Error)]
enum FollowError {
    #[error("the site does not answer")]
    Site(#[from] SiteError),
    #[error("the configuration does not count")]
    Manifest(#[from] ManifestRefused),
    #[error("a part does not fit its name, or cannot be kept")]
    Part(#[from] PartError),
    #[error("a part could not be written")]
    Ended(#[from] tokio::task::JoinError),
}

/// Follows the site until dropped.
pub(crate) async fn follow(point: Arc<Point>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut trouble = Trouble::default();
    // The first question asks for everything: what was lost between two writes comes again.
    let mut seen = GenerationId::default();
    loop {
        let asked_at = Instant::now();
        match turn(&point, seen).await {
            Ok(newest) => {
                backoff.reset();
                if trouble.is_over() {
                    info!("The site is followed again");
                }
                if newest == seen {
                    sleep_until(asked_at + PAUSE).await;
                }
                seen = newest;
            }
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

/// Asks once, and does what the answer says; gives the newest generation that was looked at.
async fn turn(point: &Arc<Point>, seen: GenerationId) -> Result<GenerationId, FollowError> {
    let member = point.site.member();
    let news = member.client.news(seen).await?;
    let me = member.identity.member();
    let Some(signed) = news.manifests.get(&me) else { return Ok(seen) };
    let manifest = match manifest(signed, &me, in_force(point).max(seen), point.snapshots.believed(&member.identity.roots), now()) {
        Ok(manifest) => manifest,
        Err(ManifestRefused::Older { offered, .. }) => return Ok(offered.max(seen)),
        Err(refused) => return Err(refused.into()),
    };
    for (part, _) in point.snapshots.missing(&manifest) {
        let bytes = member.client.part(part).await?;
        let parts = point.snapshots.parts().clone();
        tokio::task::spawn_blocking(move || parts.write(&part, &bytes)).await??;
    }
    let generation = manifest.generation;
    let (of, signed) = (Arc::clone(point), signed.clone());
    tokio::task::spawn_blocking(move || of.take(&manifest, Some(&signed))).await?;
    Ok(generation)
}

fn in_force(point: &Point) -> GenerationId {
    point.state().as_ref().as_ref().map(|state| state.generation).unwrap_or_default()
}
