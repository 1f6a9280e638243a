//! Counters, gauges and histograms for Prometheus.
//!
//! What is counted on the way of a request costs atomic additions only: the labels of a counter are an enum, each
//! variant has its handle from the start, and so every series exists with 0 before its first event.

mod histogram;

use std::fmt;
use std::marker::PhantomData;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

pub use histogram::Histogram;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of a program. Filled at the start, rendered ever after.
pub struct Metrics {
    registry: Registry,
}

/// The values of a label that are known when the program is written.
pub trait Label: Copy + 'static {
    /// The name of the label, such as `reason`.
    const NAME: &'static str;
    /// Every value, at the place that `index` says.
    const ALL: &'static [Self];

    /// The place in `ALL`.
    fn index(self) -> usize;

    /// The value as it is written, such as `certificate_expired`.
    fn value(self) -> &'static str;
}

/// One counter for each value of a label.
pub struct Counters<L> {
    handles: Box<[Counter]>,
    label: PhantomData<fn(L)>,
}

impl Metrics {
    /// No metrics yet; all names will begin with `prefix` and an underscore.
    pub fn new(prefix: &str) -> Self {
        Self { registry: Registry::with_prefix(prefix) }
    }

    /// Adds a metric made elsewhere. The unit, if there is one, is the end of the name: `_seconds`, `_bytes`.
    pub fn register(&mut self, name: &str, help: &str, metric: impl Metric) {
        self.registry.register(name, help, metric);
    }

    /// A counter without labels; `_total` is appended to its name.
    pub fn counter(&mut self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.clone());
        counter
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.clone());
        gauge
    }

    /// A counter that somebody else keeps, read whenever it is rendered.
    pub fn counter_of(&mut self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.register(name, help, Kept { read, metric_type: MetricType::Counter });
    }

    /// A gauge that somebody else keeps, read whenever it is rendered.
    pub fn gauge_of(&mut self, name: &str, help: &str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.register(name, help, Kept { read, metric_type: MetricType::Gauge });
    }

    /// A counter for each value of `L`; `_total` is appended to the name.
    pub fn counters<L: Label>(&mut self, name: &str, help: &str) -> Counters<L> {
        let family = Family::<[(&'static str, &'static str); 1], Counter>::default();
        let handle = |label: &L| family.get_or_create_owned(&[(L::NAME, label.value())]);
        let handles = L::ALL.iter().map(handle).collect();
        self.register(name, help, family);
        Counters { handles, label: PhantomData }
    }

    /// A histogram of seconds with these upper bounds, ascending.
    pub fn histogram(&mut self, name: &str, help: &str, bounds: &'static [f64]) -> Histogram {
        let histogram = Histogram::new(bounds);
        self.register(name, help, histogram.clone());
        histogram
    }

    /// Everything in the text format.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl<L: Label> Counters<L> {
    /// One more.
    pub fn count(&self, label: L) {
        self.add(label, 1);
    }

    /// `n` more.
    pub fn add(&self, label: L, n: u64) {
        self.handles[label.index()].inc_by(n);
    }

    /// How many so far.
    pub fn get(&self, label: L) -> u64 {
        self.handles[label.index()].get()
    }
}

/// A number that lives elsewhere.
struct Kept<F> {
    read: F,
    metric_type: MetricType,
}

impl<F: Fn() -> u64> EncodeMetric for Kept<F> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let number = (self.read)();
        match self.metric_type {
            MetricType::Counter => encoder.encode_counter::<NoLabelSet, _, u64>(&number, None),
            _ => encoder.encode_gauge(&number),
        }
    }

    fn metric_type(&self) -> MetricType {
        self.metric_type
    }
}

impl<F> fmt::Debug for Kept<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Kept")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Reason {
        Expired,
        Revoked,
    }

    impl Label for Reason {
        const NAME: &'static str = "reason";
        const ALL: &'static [Self] = &[Self::Expired, Self::Revoked];

        fn index(self) -> usize {
            self as usize
        }

        fn value(self) -> &'static str {
            match self {
                Self::Expired => "expired",
                Self::Revoked => "revoked",
            }
        }
    }

    #[test]
    fn every_label_is_rendered_from_the_start() {
        let mut metrics = Metrics::new("gateway");
        let refusals = metrics.counters::<Reason>("refusals", "Refused requests");
        refusals.count(Reason::Revoked);
        refusals.add(Reason::Revoked, 2);

        let text = metrics.render().unwrap();

        assert!(text.contains("gateway_refusals_total{reason=\"expired\"} 0\n"), "{text}");
        assert!(text.contains("gateway_refusals_total{reason=\"revoked\"} 3\n"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn counters_and_gauges_are_rendered() {
        let mut metrics = Metrics::new("gateway");
        metrics.counter("connections", "Accepted connections").inc_by(7);
        metrics.gauge("connection_points", "Live connection points").set(2);
        metrics.counter_of("lost_lines", "Lines that the access log lost", || 3);
        metrics.gauge_of("in_flight", "Requests in flight", || 4);

        let text = metrics.render().unwrap();

        assert!(text.contains("gateway_connections_total 7\n"), "{text}");
        assert!(text.contains("gateway_connection_points 2\n"), "{text}");
        assert!(text.contains("gateway_lost_lines_total 3\n"), "{text}");
        assert!(text.contains("gateway_in_flight 4\n"), "{text}");
    }
}
