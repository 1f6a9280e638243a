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

/// Bytes of gateways' words in one message, so that it stays below the largest.
const MUCH: usize = cmg_api::control::LARGEST_MESSAGE / 2;

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
        let (mut said, mut said_at) = (StatusReport::default(), Instant::now());
        let mut trouble = Trouble::default();
        loop {
            let report = self.report();
            if report == said && said_at.elapsed() < REPEAT {
                sleep(LOOK).await;
                continue;
            }
            match self.say(&report).await {
                Ok(()) => {
                    if trouble.is_over() {
                        info!("The site hears of this connection point's state again");
                    }
                    backoff.reset();
                    (said, said_at) = (report, Instant::now());
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

    /// Says everything, in several messages where there is much.
    async fn say(&self, report: &StatusReport) -> Result<(), SiteError> {
        let site = self.site.member();
        let mut message = StatusReport { members: report.members.clone(), ..StatusReport::default() };
        let mut size = 0;
        for (name, status) in &report.gateways {
            let more = serde_json::to_vec(status).map_or(LARGEST_STATUS, |text| text.len());
            if size + more > MUCH {
                site.client.report(&std::mem::take(&mut message)).await?;
                size = 0;
            }
            size += more;
            message.gateways.insert(name.clone(), status.clone());
        }
        site.client.report(&message).await
    }

    /// This connection point, and the gateways that it has sessions with: of others it knows nothing that is true.
    fn report(&self) -> StatusReport {
        let tunnels = self.live.sessions();
        let own = self.own.borrow().clone();
        let said = self.relay.said();
        let gateways = said.at(Instant::now()).filter(|(name, _)| tunnels.contains_key(*name) && own.gateways.contains(name));
        let gateways = gateways.map(|(name, status)| (format!("gateway/{name}"), status.clone())).collect();
        drop(said);
        let own = status(own, tunnels, self.point.state().verifier.wanted_keys(now()));
        StatusReport { members: [(self.me.clone(), own)].into(), gateways }
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
        said_at: 0,
    }
}
