//! What an enrolled connection point counts besides.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cmg_api::control::GenerationId;
use cmg_process::metrics::{Counters, Metrics};
use prometheus_client::metrics::gauge::Gauge;

use crate::events::Reload;

/// Counts and gauges of what came from the site.
pub(crate) struct SiteMetrics {
    epoch: Gauge,
    number: Gauge,
    snapshots: Counters<Reload>,
    heard: Heard,
}

/// When a site server has answered last. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Heard {
    started: Instant,
    /// Milliseconds after `started`.
    at: Arc<AtomicU64>,
}

impl SiteMetrics {
    /// Registers every metric.
    pub(crate) fn new(metrics: &mut Metrics) -> Self {
        let heard = Heard { started: Instant::now(), at: Arc::default() };
        let since = heard.clone();
        metrics.gauge_of("site_heard_seconds", "Since a site server has answered last, or since the start", move || since.ago().as_secs());
        Self {
            epoch: metrics.gauge("snapshot_epoch", "Epoch of the snapshot in force"),
            number: metrics.gauge("snapshot_number", "Number of the snapshot in force within its epoch"),
            snapshots: metrics.counters("snapshots", "Snapshots from the site, by result"),
            heard,
        }
    }

    /// What tells when a site server has answered last.
    pub(crate) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// A snapshot came in force.
    pub(crate) fn applied(&self, generation: GenerationId) {
        self.snapshots.count(Reload::Applied);
        self.epoch.set(i64::try_from(generation.epoch).unwrap_or(i64::MAX));
        self.number.set(i64::try_from(generation.number).unwrap_or(i64::MAX));
    }

    /// A snapshot could not come in force.
    pub(crate) fn refused(&self) {
        self.snapshots.count(Reload::Refused);
    }
}

impl Heard {
    /// A site server has answered.
    pub(crate) fn now(&self) {
        self.at.store(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn ago(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.at.load(Ordering::Relaxed)))
    }
}
