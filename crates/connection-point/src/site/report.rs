//! What the site is told: how this connection point is, and what its gateways have said about themselves.
//!
//! A reconciler: it compares what would be said with what was said last, a few times a second, and says it where it differs. So a
//! change is there at once, however many come together, and what was lost on the way is said again.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::{GenerationId, MemberStatus, RefusedGeneration, StatusReport};
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, Site, SiteError, Trouble};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::relay::{LARGEST_STATUS, Relay};
use crate::state::{Point, now};
use crate::tunnels::Live;

/// How often it is looked whether something has changed.
const LOOK: Duration = Duration::from_millis(100);

/// How often it is said that nothing has.
const REPEAT: Duration = Duration::from_secs(15);

/// Members in one report, so that it stays below the largest message.
const MEMBERS: usize = cmg_api::control::LARGEST_MESSAGE / LARGEST_STATUS / 2;

/// What this connection point knows about its own configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) applied: GenerationId,
    /// In milliseconds since 1970.
    pub(crate) applied_at: u64,
    pub(crate) refused: Option<RefusedGeneration>,
    /// In seconds since 1970.
    pub(crate) certificate_ends: u64,
    pub(crate) findings: Vec<String>,
    /// Names of the gateway instances that it connects to, as the site says: of no others does the site want to hear.
    pub(crate) gateways: Vec<String>,
}

/// Everything that a report is made of.
pub(crate) struct Reporter {
    /// This connection point as the site calls it: `connection-point/NAME`.
    pub(crate) me: String,
    pub(crate) own: watch::Receiver<Own>,
    pub(crate) live: Live,
    pub(crate) point: Arc<Point>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) site: Arc<Site>,
}

impl Reporter {
    /// Tells the site until dropped.
    pub(crate) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let (mut said, mut said_at) = (BTreeMap::new(), Instant::now());
        let mut trouble = Trouble::default();
        loop {
            let members = self.members();
            if members == said && said_at.elapsed() < REPEAT {
                sleep(LOOK).await;
                continue;
            }
            match self.say(&members).await {
                Ok(()) => {
                    if trouble.is_over() {
                        info!("The site hears of this connection point's state again");
                    }
                    backoff.reset();
                    (said, said_at) = (members, Instant::now());
                }
                Err(error) => {
                    let text = chain(&error);
                    if trouble.is_news(&text) {
                        warn!(error = text, "The site does not hear of this connection point's state");
                    }
                    sleep(backoff.failed(error.retry_after(), dice::draw())).await;
                }
            }
        }
    }

    async fn say(&self, members: &BTreeMap<String, MemberStatus>) -> Result<(), SiteError> {
        let all: Vec<_> = members.iter().collect();
        for some in all.chunks(MEMBERS) {
            let members = some.iter().map(|(name, status)| ((*name).clone(), (*status).clone())).collect();
            self.site.member().client.report(&StatusReport { members }).await?;
        }
        Ok(())
    }

    /// This connection point, and the gateways that it has sessions with: of others it knows nothing that is true.
    fn members(&self) -> BTreeMap<String, MemberStatus> {
        let tunnels = self.live.sessions();
        let own = self.own.borrow().clone();
        let statuses = self.relay.statuses.borrow();
        let gateways = statuses.iter().filter(|(name, _)| tunnels.contains_key(*name) && own.gateways.contains(name));
        let mut members: BTreeMap<_, _> = gateways.map(|(name, status)| (format!("gateway/{name}"), status.clone())).collect();
        drop(statuses);
        members.insert(self.me.clone(), status(own, tunnels, self.point.state().verifier.wanted_keys(now())));
        members
    }
}

fn status(own: Own, tunnels: BTreeMap<String, u32>, wanted_keys: Vec<String>) -> MemberStatus {
    MemberStatus {
        applied: own.applied,
        applied_at: own.applied_at,
        refused: own.refused,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        certificate_ends: own.certificate_ends,
        findings: own.findings,
        tunnels,
        wanted_keys,
    }
}
