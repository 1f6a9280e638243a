//! The next certificate of this member, asked for when two thirds of the life of the one in force are over.
use std::sync::Arc;
use std::time::Duration;

use cmg_core::problem::Problem;
use cmg_enrolled::{CodeError, DataFolder, EnrolError, Renewal};
use cmg_process::dice;
use cmg_process::log::chain;
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::client::SiteError;
use crate::member::{Member, Site};
use crate::now;

/// Longest time between two looks at the clock, which may be set meanwhile.
const LOOK: Duration = Duration::from_secs(600);

#[derive(Debug, Error)]
enum RenewalError {
    #[error(transparent)]
    Keys(#[from] CodeError),
    #[error("the site gave none")]
    Site(#[from] SiteError),
    #[error(transparent)]
    Answer(#[from] EnrolError),
    #[error("{0}")]
    Files(Problem),
}

/// Renews until dropped; `renewed` rings for each new certificate.
pub async fn renew_until_dropped(site: Arc<Site>, folder: DataFolder, renewed: Arc<Notify>) {
    let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(600));
    let mut changes = site.changes();
    loop {
        let draw = dice::draw();
        loop {
            changes.mark_unchanged();
            let due = site.member().identity.due(draw);
            let Some(left) = due.0.checked_sub(now().0).filter(|left| *left > 0) else { break };
            drop(timeout(Duration::from_secs(left).min(LOOK), changes.changed()).await);
        }
        match renew(&site, &folder).await {
            Ok(()) => {
                info!("The role certificate was renewed");
                backoff.reset();
                renewed.notify_one();
            }
            Err(error) => {
                let asked = if let RenewalError::Site(error) = &error { error.retry_after() } else { None };
                warn!(error = chain(&error), "The role certificate was not renewed");
                sleep(backoff.failed(asked, dice::draw())).await;
            }
        }
    }
}

async fn renew(site: &Site, folder: &DataFolder) -> Result<(), RenewalError> {
    let member = site.member();
    let renewal = Renewal::new(&member.identity)?;
    let answer = member.client.renew(&renewal.request).await?;
    // What the site has named meanwhile counts.
    let identity = renewal.accept(&answer, &site.member().identity, folder, now())?;
    site.replace(Member::new(identity, folder).map_err(RenewalError::Files)?);
    Ok(())
}
