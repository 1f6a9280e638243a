//! Everything the connection point tells about itself: each happening is one type with its log line and its metrics.
use std::time::{Duration, SystemTime};

use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_process::log::{AccessLog, JsonLine};
use cmg_process::metrics::{Counters, Histogram, Label, Metrics};
use prometheus_client::metrics::counter::Counter;

/// Upper bounds of the duration histogram, in seconds.
const BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// The connection point's log lines and metrics.
pub(crate) struct Events {
    log: AccessLog,
    delivered: Counters<Outcome>,
    duration: Histogram,
    received: Counter,
    sent: Counter,
    pub(crate) health_changes: Counter,
    reloads: Counters<Reload>,
}

/// A request was carried out, or not.
pub(crate) struct RequestDelivered<'a> {
    pub(crate) id: RequestId,
    pub(crate) endpoint: &'a str,
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    /// Host and port of the server.
    pub(crate) server: &'a str,
    pub(crate) status: u16,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    pub(crate) cut: bool,
}

#[derive(Clone, Copy)]
enum Outcome {
    Answered,
    Refused,
    Unreachable,
    ServerFault,
    Timeout,
    Cut,
}

/// What became of a changed configuration file.
#[derive(Clone, Copy)]
pub(crate) enum Reload {
    /// It is in force.
    Applied,
    /// The old one stays.
    Refused,
}

impl Label for Outcome {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[Self::Answered, Self::Refused, Self::Unreachable, Self::ServerFault, Self::Timeout, Self::Cut];

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        ["answered", "refused", "unreachable", "server_fault", "timeout", "cut"][self as usize]
    }
}

impl Label for Reload {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Self::Applied, Self::Refused];

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        ["applied", "refused"][self as usize]
    }
}

impl Events {
    /// Registers every metric.
    pub(crate) fn new(metrics: &mut Metrics, log: AccessLog) -> Self {
        let lost = log.clone();
        metrics.counter_of("log_lines_lost", "Request log lines dropped because the sink blocked", move || lost.lost());
        Self {
            log,
            delivered: metrics.counters("requests", "Requests carried out, by outcome"),
            duration: metrics.histogram("request_duration_seconds", "From the request's arrival to the end of its answer", BOUNDS),
            received: metrics.counter("received_bytes", "Bytes of request bodies"),
            sent: metrics.counter("sent_bytes", "Bytes of answer bodies"),
            health_changes: metrics.counter("server_health_changes", "Servers found well or ill by a probe"),
            reloads: metrics.counters("reloads", "Changed configuration files, by result"),
        }
    }

    pub(crate) fn request_delivered(&self, event: &RequestDelivered<'_>) {
        self.delivered.count(Outcome::of(event));
        self.duration.observe(event.took);
        self.received.inc_by(event.received);
        self.sent.inc_by(event.sent);
        self.log.line(|out| {
            let mut line = JsonLine::start(SystemTime::now(), out);
            line.text("event", "delivered").text("id", event.id.to_hex()).text("endpoint", event.endpoint);
            line.text("method", event.method)
                .text("target", event.target)
                .text("server", event.server)
                .number("status", event.status.into());
            if let Some(refusal) = event.refusal {
                line.text("refused", refusal.row().label);
            }
            line.number("in", event.received).number("out", event.sent).number("us", event.took.as_micros() as u64);
            if event.cut {
                line.flag("cut", true);
            }
            line.end();
        });
    }

    pub(crate) fn reloaded(&self, result: Reload) {
        self.reloads.count(result);
    }

    /// Waits until every line is out.
    pub(crate) fn flush(&self) {
        self.log.flush(Duration::from_secs(2));
    }
}

impl Outcome {
    fn of(event: &RequestDelivered<'_>) -> Self {
        match event.refusal {
            _ if event.cut => Self::Cut,
            None => Self::Answered,
            Some(Refusal::ServerUnreachable | Refusal::ServerUntrusted) => Self::Unreachable,
            Some(Refusal::ServerTimeout) => Self::Timeout,
            Some(Refusal::ServerMalformed | Refusal::ServerClosed | Refusal::ServerNamesInternalHost) => Self::ServerFault,
            Some(_) => Self::Refused,
        }
    }
}
