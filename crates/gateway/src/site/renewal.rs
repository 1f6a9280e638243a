//! A new role certificate in time, asked for down the tunnels. Whoever carries the question can neither read a key nor put in another.
use std::sync::Arc;
use std::time::Duration;

use cmg_core::time::WallTime;
use cmg_enrolled::{CodeError, EnrolError, Identity, Renewal};
use cmg_process::dice;
use cmg_process::log::chain;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::Site;
use super::ask::{Asked, NoAnswer};
use crate::state::now;

/// The longest sleep: the wall clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Wait after a failure.
const AGAIN: Duration = Duration::from_secs(60);

/// Why the certificate was not renewed.
#[derive(Debug, Error)]
enum NotRenewed {
    #[error("no connection point is connected")]
    Nobody,
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error(transparent)]
    Keys(#[from] CodeError),
    #[error(transparent)]
    Answer(#[from] EnrolError),
}

/// Renews until dropped; rings `renewed` after each time.
pub(super) async fn run(site: Arc<Site>, renewed: Arc<Notify>) {
    let draw = dice::draw();
    let mut sessions = site.gateway.hub.changes();
    loop {
        let identity = site.identity.load_full();
        let due = identity.due(draw);
        if now() < due {
            let longest = LONGEST_SLEEP.min(Duration::from_secs(due.0 - now().0));
            drop(timeout(longest, site.believes.notified()).await);
            continue;
        }
        sessions.mark_unchanged();
        match renew(&site, &identity).await {
            Ok(identity) => {
                info!(ends = cmg_process::clock::text(identity.ends), "Role certificate renewed");
                site.identity.store(Arc::new(identity));
                renewed.notify_one();
            }
            Err(NotRenewed::Nobody) => drop(timeout(AGAIN, sessions.changed()).await),
            Err(problem) => {
                tell(&problem, identity.ends);
                sleep(AGAIN).await;
            }
        }
    }
}

fn tell(problem: &NotRenewed, ends: WallTime) {
    let ends_at = cmg_process::clock::text(ends);
    if ends < now() {
        error!(error = chain(problem), "Role certificate not renewed, and it has run out: connection points do not come back");
    } else {
        warn!(error = chain(problem), ends = ends_at, "Role certificate not renewed");
    }
}

async fn renew(site: &Site, identity: &Identity) -> Result<Identity, NotRenewed> {
    let renewal = Renewal::new(identity)?;
    let hub = &site.gateway.hub;
    let mut failed = NotRenewed::Nobody;
    for connection_point in hub.connection_points().into_keys() {
        match (Asked { hub, connection_point: &connection_point }).renew(&renewal.request).await {
            // What the site has named meanwhile counts.
            Ok(answer) => return Ok(renewal.accept(&answer, &site.identity.load(), &site.folder, now())?),
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}
