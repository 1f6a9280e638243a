//! Everything the gateway tells about itself: each happening is one type with its log line and its metrics.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_process::log::{AccessLog, JsonLine};
use cmg_process::metrics::{Counters, Histogram, Label, Metrics};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::state::{Gateway, Seat};

/// Upper bounds of the request duration histogram, in seconds.
const BOUNDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// The gateway's log lines and metrics.
pub(crate) struct Events {
    log: AccessLog,
    client_address: bool,
    finished: Counters<Outcome>,
    refused: Counters<Reason>,
    connections_refused: Counters<ConnectionReason>,
    duration: Histogram,
    received: Counter,
    sent: Counter,
    pub(crate) connections: Gauge,
    replays: Counter,
    reloads: Counters<Reload>,
    challenges: Counter,
}

/// A request is over.
pub(crate) struct RequestFinished<'a> {
    pub(crate) id: RequestId,
    pub(crate) client: SocketAddr,
    pub(crate) method: &'a [u8],
    pub(crate) target: &'a [u8],
    pub(crate) endpoint: &'a str,
    /// How the client proved itself.
    pub(crate) by: &'static str,
    /// Who the client is: thumbprint or token subject.
    pub(crate) who: &'a str,
    pub(crate) status: u16,
    pub(crate) refusal: Option<Refusal>,
    /// More about the refusal than its label, for administrators.
    pub(crate) detail: Option<&'a str>,
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    /// Whether the answer was cut off.
    pub(crate) cut: bool,
}

/// Why a connection was ended, other than for one of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub(crate) enum ConnectionReason {
    TooMany,
    TooManyFromAddress,
    HandshakeTimeout,
    HandshakeFailed,
    ProxyHeader,
    TunnelRefused,
    TooManyResets,
    ChallengeRefused,
}

#[derive(Clone, Copy)]
enum Outcome {
    Informational,
    Success,
    Redirection,
    ClientError,
    ServerError,
    Other,
    Cut,
}

#[derive(Clone, Copy)]
struct Reason(Refusal);

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
    const ALL: &'static [Self] =
        &[Self::Informational, Self::Success, Self::Redirection, Self::ClientError, Self::ServerError, Self::Other, Self::Cut];

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        ["1xx", "2xx", "3xx", "4xx", "5xx", "other", "cut"][self as usize]
    }
}

const REASONS: [Reason; Refusal::ALL.len()] = {
    let mut reasons = [Reason(Refusal::Malformed); Refusal::ALL.len()];
    let mut place = 0;
    while place < reasons.len() {
        reasons[place] = Reason(Refusal::ALL[place]);
        place += 1;
    }
    reasons
};

impl Label for Reason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &REASONS;

    fn index(self) -> usize {
        usize::from(self.0.code()) - 1
    }

    fn value(self) -> &'static str {
        self.0.row().label
    }
}

impl Label for ConnectionReason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = &[
        Self::TooMany,
        Self::TooManyFromAddress,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::ProxyHeader,
        Self::TunnelRefused,
        Self::TooManyResets,
        Self::ChallengeRefused,
    ];

    fn index(self) -> usize {
        self as usize
    }

    fn value(self) -> &'static str {
        [
            "too_many",
            "too_many_from_address",
            "handshake_timeout",
            "handshake_failed",
            "proxy_header",
            "tunnel_refused",
            "too_many_resets",
            "challenge_refused",
        ][self as usize]
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
    pub(crate) fn new(metrics: &mut Metrics, log: AccessLog, client_address: bool) -> Self {
        let lost = log.clone();
        metrics.counter_of("log_lines_lost", "Request log lines dropped because the sink blocked", move || lost.lost());
        Self {
            log,
            client_address,
            finished: metrics.counters("requests", "Requests answered, by class of status; cut: the answer broke off"),
            refused: metrics.counters("refusals", "Requests not served, by reason"),
            connections_refused: metrics.counters("connections_refused", "Connections ended before a request, by reason"),
            duration: metrics.histogram("request_duration_seconds", "From the whole head to the last byte of the answer", BOUNDS),
            received: metrics.counter("received_bytes", "Bytes of request bodies"),
            sent: metrics.counter("sent_bytes", "Bytes of answer bodies"),
            connections: metrics.gauge("connections", "Client connections"),
            replays: metrics.counter("replays", "Requests sent again through another session"),
            reloads: metrics.counters("reloads", "Changed configuration files, by result"),
            challenges: metrics.counter("acme_challenges", "TLS-ALPN-01 challenges answered"),
        }
    }

    pub(crate) fn request_finished(&self, event: &RequestFinished<'_>) {
        self.finished.count(if event.cut { Outcome::Cut } else { Outcome::of(event.status) });
        if let Some(refusal) = event.refusal {
            self.refused.count(Reason(refusal));
        }
        self.duration.observe(event.took);
        self.received.inc_by(event.received);
        self.sent.inc_by(event.sent);
        self.log.line(|out| self.write_line(event, out));
    }

    fn write_line(&self, event: &RequestFinished<'_>, out: &mut Vec<u8>) {
        let mut line = JsonLine::start(SystemTime::now(), out);
        line.text("event", "request").text("id", event.id.to_hex());
        if self.client_address {
            let mut buffer = [0; 64];
            line.text("client", address(event.client, &mut buffer));
        }
        line.text("method", event.method).text("target", event.target).text("endpoint", event.endpoint);
        line.text("by", event.by).text("who", event.who).number("status", event.status.into());
        if let Some(refusal) = event.refusal {
            line.text("refused", refusal.row().label);
        }
        if let Some(detail) = event.detail {
            line.text("detail", detail);
        }
        line.number("in", event.received).number("out", event.sent).number("us", event.took.as_micros() as u64);
        if event.cut {
            line.flag("cut", true);
        }
        line.end();
    }

    pub(crate) fn connection_refused(&self, reason: ConnectionReason, client: SocketAddr, error: Option<&std::io::Error>) {
        self.connections_refused.count(reason);
        let error = error.map(ToString::to_string).unwrap_or_default();
        if self.client_address {
            tracing::debug!(%client, reason = reason.value(), error, "Connection refused");
        } else {
            tracing::debug!(reason = reason.value(), error, "Connection refused");
        }
    }

    pub(crate) fn replayed(&self, id: RequestId) {
        self.replays.inc();
        tracing::debug!(%id, "Request sent again");
    }

    pub(crate) fn reloaded(&self, result: Reload) {
        self.reloads.count(result);
    }

    pub(crate) fn challenge_answered(&self, name: &str) {
        self.challenges.inc();
        tracing::info!(name, "An ACME server asked for a name, and was answered");
    }

    /// Waits until every line is out.
    pub(crate) fn flush(&self) {
        self.log.flush(Duration::from_secs(2));
    }
}

impl Outcome {
    fn of(status: u16) -> Self {
        match status / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            5 => Self::ServerError,
            _ => Self::Other,
        }
    }
}

/// Writes an address without allocating.
fn address(address: SocketAddr, buffer: &mut [u8; 64]) -> &[u8] {
    use std::io::Write;
    let mut rest = &mut buffer[..];
    let _ = write!(rest, "{}", address.ip().to_canonical());
    let left = rest.len();
    &buffer[..64 - left]
}

/// Metrics that are read from elsewhere when somebody asks. Zero while there is no gateway yet.
pub(crate) fn register_gateway(metrics: &mut Metrics, seat: &Seat) {
    let of = |read: fn(&Gateway) -> u64| {
        let seat = Arc::clone(seat);
        move || seat.get().map_or(0, |gateway| read(gateway))
    };
    metrics.gauge_of("requests_in_flight", "Requests under way", of(|gateway| gateway.drain.in_flight() as u64));
    metrics.gauge_of("connection_points", "Connection points with a live session", of(|gateway| gateway.hub.live().0 as u64));
    metrics.gauge_of("tunnel_sessions", "Live sessions", of(|gateway| gateway.hub.live().1 as u64));
    metrics.gauge_of("snapshot_epoch", "Epoch of the configuration in force", of(|gateway| gateway.state().generation().epoch));
    metrics.gauge_of("snapshot_number", "Number of the configuration in force", of(|gateway| gateway.state().generation().number));
}
