//! A gateway that belongs to a site: it is made a member by a connection point, and follows the configuration of the site down the
//! tunnels that are there anyway. It dials nobody.
//!
//! `enrolment` is before it is a member; `run` owns what is in force; `follow`, `report` and `renewal` are tasks beside it. The site may
//! be gone for as long as the role certificate lasts: what is in force stays so, and a start needs nobody.

mod ask;
mod enrolment;
mod follow;
mod metrics;
mod renewal;
mod report;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cmg_api::control::{GenerationId, Manifest, MemberStatus, RefusedGeneration};
use cmg_core::problem::Problem;
use cmg_enrolled::{DataFolder, Identity, Snapshots};
use tokio::sync::{Notify, watch};
use tracing::info;

use crate::state::{Gateway, now};
use metrics::SiteMetrics;

pub(crate) use run::run;

/// What the tasks of an enrolled gateway share.
struct Site {
    gateway: Arc<Gateway>,
    folder: DataFolder,
    snapshots: Snapshots,
    identity: ArcSwap<Identity>,
    /// Rings when other roots count.
    believes: Notify,
    own: watch::Sender<Own>,
    metrics: SiteMetrics,
}

/// What the gateway knows of itself, for the site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Own {
    applied: GenerationId,
    /// In milliseconds since 1970.
    applied_at: u64,
    refused: Option<RefusedGeneration>,
    findings: Vec<String>,
}

/// Lines about findings and problems that are sent to the site, and bytes of each: connection points take a status of 128 KiB.
const MOST_LINES: usize = 100;
const LONGEST_LINE: usize = 500;

impl Site {
    /// What the site is told.
    fn status(&self) -> MemberStatus {
        let own = self.own.borrow().clone();
        let refused = own.refused.map(|refused| RefusedGeneration { problems: bounded(refused.problems), ..refused });
        let tunnels = self.gateway.hub.connection_points();
        MemberStatus {
            applied: own.applied,
            applied_at: own.applied_at,
            refused,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            certificate_ends: self.identity.load().ends.0,
            findings: bounded(own.findings),
            tunnels: tunnels.into_iter().map(|(connection_point, sessions)| (connection_point.as_str().to_owned(), sessions)).collect(),
            wanted_keys: self.wanted_keys(),
            said_at: milliseconds(),
        }
    }

    /// Believes the roots that a manifest of the site names.
    fn believe(&self, manifest: &Manifest) -> Result<(), Vec<Problem>> {
        if let Some(identity) = self.identity.load().believing(manifest, &self.folder).map_err(|problem| vec![problem])? {
            self.identity.store(Arc::new(identity));
            self.believes.notify_one();
            info!(roots = manifest.authorities.len(), "The site has named the roots that count");
        }
        Ok(())
    }

    /// Issuers whose keys the site may have to fetch.
    fn wanted_keys(&self) -> Vec<String> {
        self.gateway.state().verifier.wanted_keys(now())
    }
}

fn bounded(lines: Vec<String>) -> Vec<String> {
    let short = |mut line: String| {
        line.truncate(line.floor_char_boundary(LONGEST_LINE));
        line
    };
    lines.into_iter().take(MOST_LINES).map(short).collect()
}

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
