//! A histogram of durations that threads fill without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Durations counted in buckets with fixed bounds. Clones are the same histogram.
///
/// One observation is a short search and two atomic additions. A rendering between these may show a sum that misses
/// a duration which is counted; the next one shows it.
#[derive(Debug, Clone)]
pub struct Histogram {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bounds: &'static [f64],
    /// The bounds in nanoseconds, so that no observation touches a float.
    limits: Box<[u64]>,
    /// One for each bound, and one for what is beyond the last.
    counts: Box<[AtomicU64]>,
    /// All durations in nanoseconds: enough for 584 years of them.
    sum: AtomicU64,
}

impl Histogram {
    /// Upper bounds for whole requests, in seconds: from what a cache answers to what is parked.
    pub const REQUEST: &'static [f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 900.0];

    /// Upper bounds in seconds, ascending.
    pub fn new(bounds: &'static [f64]) -> Self {
        let limits = bounds.iter().map(|bound| nanoseconds(Duration::from_secs_f64(*bound))).collect();
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { shared: Arc::new(Shared { bounds, limits, counts, sum: AtomicU64::new(0) }) }
    }

    /// Counts one duration, in the first bucket whose bound it does not exceed.
    pub fn observe(&self, duration: Duration) {
        let Shared { limits, counts, sum, .. } = &*self.shared;
        let duration = nanoseconds(duration);
        let bucket = limits.partition_point(|limit| *limit < duration);
        counts[bucket].fetch_add(1, Ordering::Relaxed);
        sum.fetch_add(duration, Ordering::Relaxed);
    }

    /// How many durations so far.
    pub fn count(&self) -> u64 {
        self.shared.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Shared { bounds, counts, sum, .. } = &*self.shared;
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(sum.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    use super::*;

    #[test]
    fn a_duration_counts_in_the_bucket_that_just_holds_it() {
        let mut metrics = Metrics::new("gateway");
        let histogram = metrics.histogram("wait_seconds", "Waiting", &[0.01, 0.1]);
        for milliseconds in [5, 10, 11, 100, 101] {
            histogram.observe(Duration::from_millis(milliseconds));
        }

        let text = metrics.render().unwrap();

        assert!(text.contains("gateway_wait_seconds_bucket{le=\"0.01\"} 2\n"), "{text}");
        assert!(text.contains("gateway_wait_seconds_bucket{le=\"0.1\"} 4\n"), "{text}");
        assert!(text.contains("gateway_wait_seconds_bucket{le=\"+Inf\"} 5\n"), "{text}");
        assert!(text.contains("gateway_wait_seconds_count 5\n"), "{text}");
        assert!(text.contains("gateway_wait_seconds_sum 0.227\n"), "{text}");
    }

    #[test]
    fn threads_lose_no_observation() {
        let histogram = Histogram::new(Histogram::REQUEST);

        std::thread::scope(|threads| {
            for _ in 0..4 {
                let histogram = histogram.clone();
                threads.spawn(move || (0..1_000).for_each(|n| histogram.observe(Duration::from_micros(n * 10))));
            }
        });

        assert_eq!(histogram.count(), 4_000);
    }
}
