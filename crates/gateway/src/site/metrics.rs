//! What an enrolled gateway counts beside the rest.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cmg_process::metrics::{Counters, Metrics};
use prometheus_client::metrics::gauge::Gauge;

use crate::events::Reload;
use crate::state::now;

/// Counters and gauges about the configuration of the site.
pub(super) struct SiteMetrics {
    pub(super) snapshots: Counters<Reload>,
    pub(super) withholding: Gauge,
    /// When the site made the youngest statement, in seconds since 1970; the start of the gateway before there was one.
    youngest: Arc<AtomicU64>,
}

impl SiteMetrics {
    /// Registers them.
    pub(super) fn new(metrics: &mut Metrics) -> Self {
        let youngest = Arc::new(AtomicU64::new(now().0));
        let read = Arc::clone(&youngest);
        let age = move || now().0.saturating_sub(read.load(Ordering::Relaxed));
        metrics.gauge_of("freshness_age_seconds", "Age of the youngest statement of the site about its newest configuration", age);
        Self {
            snapshots: metrics.counters("snapshots", "Configurations of the site, by result"),
            withholding: metrics.gauge("withholding", "Connection points that withhold the newest configuration"),
            youngest,
        }
    }

    /// When the youngest statement was made, in seconds since 1970.
    #[cfg(test)]
    pub(super) fn youngest(&self) -> u64 {
        self.youngest.load(Ordering::Relaxed)
    }

    /// The youngest statement was made then, in seconds since 1970.
    pub(super) fn said(&self, at: u64) {
        self.youngest.fetch_max(at, Ordering::Relaxed);
    }
}
