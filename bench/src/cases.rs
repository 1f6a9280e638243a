//! What is measured, one case after another, and what our gateway must reach in each.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Serialize, Serializer};

use crate::bulk::{self, Downloads, GIB, Way};
use crate::client::Request;
use crate::cpu::Usage;
use crate::figures::{Goal, Metrics, percentile};
use crate::idle::Crowd;
use crate::load::{self, Load, Outcome};
use crate::systems::{Lab, Role, Running};
use crate::{Result, memory, stream};

/// Handshakes at once.
const CALLERS: usize = 16;
/// Small requests a second beside bulk.
const BESIDE: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;

/// One kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Case {
    /// 1 KiB GET, 64 keep-alive connections, closed loop
    #[value(name = "get-1k")]
    Get1k,
    /// 64 KiB GET, 64 keep-alive connections, closed loop
    #[value(name = "get-64k")]
    Get64k,
    /// 64 KiB POST, 64 keep-alive connections, closed loop
    #[value(name = "post-64k")]
    Post64k,
    /// 1 GiB down, one connection
    Down,
    /// 1 GiB up, one connection
    Up,
    /// new connection, full mutual-TLS handshake, one 1 KiB GET, close; every time a client not seen lately
    Handshake,
    /// the same with 16 clients that come again and again, without tickets
    HandshakeAgain,
    /// new connection, resumed handshake, one 1 KiB GET, close
    Resumed,
    /// 1 KiB GET, open loop, 2,000 a second
    #[value(name = "open-2000")]
    Open2000,
    /// 1 KiB GET, open loop at half of the system's own maximum, beside the origin alone
    HalfLoad,
    /// resident memory of each idle authenticated connection
    Idle,
    /// resident memory without clients
    Memory,
    /// small requests beside 40 clients that stop reading 64 MiB answers
    Stalled,
    /// small requests beside four bulk downloads
    #[value(name = "beside-bulk")]
    BesideBulk,
}

/// How long, and how many.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Extent {
    /// Of one timed measurement.
    pub(crate) seconds: f64,
    /// Idle connections.
    pub(crate) idle: usize,
    /// Keep-alive connections that ask.
    pub(crate) connections: usize,
}

impl Extent {
    fn time(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl Case {
    /// As on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The metric that is compared with nginx.
    pub(crate) fn headline(self) -> Option<&'static str> {
        match self {
            Self::Get1k | Self::Get64k | Self::Post64k | Self::Handshake | Self::HandshakeAgain | Self::Resumed | Self::Open2000 => {
                Some("cpu_us")
            }
            Self::Down | Self::Up => Some("cpu_s_per_gib"),
            Self::Idle => Some("kib_per_connection"),
            Self::HalfLoad | Self::Memory | Self::Stalled | Self::BesideBulk => None,
        }
    }

    /// What `docs/performance.md` promises.
    pub(crate) fn goals(self) -> Vec<Goal> {
        match self {
            Self::Get1k => vec![Goal::ratio(1.4, 0.95)],
            Self::Get64k | Self::Post64k => vec![Goal::ratio(1.8, 1.3)],
            Self::Down | Self::Up => vec![Goal::ratio(1.6, 1.25)],
            Self::Handshake => vec![Goal::ratio(0.28, 0.20)],
            Self::Resumed => vec![Goal::ratio(0.27, 0.20)],
            Self::Open2000 => vec![Goal::ratio(1.7, 1.3)],
            Self::HandshakeAgain => vec![],
            Self::HalfLoad => vec![Goal::value("added_p50_ms", 1.0, 1.0), Goal::value("added_p99_ms", 5.0, 5.0)],
            Self::Idle => vec![Goal::value("kib_per_connection", 16.0, 10.0)],
            Self::Memory => vec![Goal::value("gateway_rss_mib", 30.0, 15.0)],
            Self::Stalled => vec![Goal::value("unanswered", 0.0, 0.0), Goal::value("slowest_ms", 1000.0, 1000.0)],
            Self::BesideBulk => vec![Goal::value("saturated_p99_ms", 25.0, 10.0), Goal::value("half_to_alone", 3.0, 3.0)],
        }
    }

    /// Measures once.
    pub(crate) async fn run(self, running: &Running, lab: &Lab, extent: Extent) -> Result<Metrics> {
        let load = Load {
            target: running.target(&lab.identities),
            request: Request::get(1024),
            connections: extent.connections,
            warm_up: Duration::from_millis(500),
            time: extent.time(),
        };
        match self {
            Self::Get1k => closed(running, load).await,
            Self::Get64k => closed(running, Load { request: Request::get(65_536), ..load }).await,
            Self::Post64k => closed(running, Load { request: Request::post(65_536), ..load }).await,
            Self::Down => transfer(running, &load, Way::Down).await,
            Self::Up => transfer(running, &load, Way::Up).await,
            Self::Handshake => handshakes(running, load, false).await,
            Self::HandshakeAgain => {
                let target = running.target(&lab.identities[..CALLERS].into());
                handshakes(running, Load { target, ..load }, false).await
            }
            Self::Resumed => {
                let target = running.target(&stream::resuming_identities(&lab.pki, CALLERS)?.into());
                handshakes(running, Load { target, ..load }, true).await
            }
            Self::Open2000 => Ok(per_request(running, &load::open(&load, 2_000.0, running.pids()).await?)),
            Self::HalfLoad => half_load(running, lab, load).await,
            Self::Idle => idle(running, lab, extent.idle),
            Self::Memory => Ok(at_rest(running)),
            Self::Stalled => stalled(running, &load).await,
            Self::BesideBulk => beside_bulk(running, load).await,
        }
    }
}

impl Serialize for Case {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name())
    }
}

async fn closed(running: &Running, load: Load) -> Result<Metrics> {
    Ok(per_request(running, &load::closed(&load, running.pids()).await?))
}

async fn handshakes(running: &Running, load: Load, resume: bool) -> Result<Metrics> {
    let load = Load { connections: CALLERS, ..load };
    Ok(per_request(running, &load::handshakes(&load, resume, running.pids()).await?))
}

/// CPU time of one exchange, throughput, and latency.
fn per_request(running: &Running, outcome: &Outcome) -> Metrics {
    let (usage, count) = (&outcome.usage, outcome.latencies.len() as f64);
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
    let mut metrics = Metrics::default();
    metrics.add("cpu_us", each(usage.total()));
    for (part, time) in running.parts.iter().zip(&usage.parts) {
        metrics.add(us(part.role), each(*time));
    }
    metrics.add("per_cpu_s", count / usage.total().as_secs_f64());
    metrics.add("per_s", count / usage.wall.as_secs_f64());
    metrics.add("p50_ms", percentile(&outcome.latencies, 50.0));
    metrics.add("p99_ms", percentile(&outcome.latencies, 99.0));
    metrics.add("p99_9_ms", percentile(&outcome.latencies, 99.9));
    metrics.add("core", share(usage));
    metrics.add("others", usage.others);
    metrics
}

async fn transfer(running: &Running, load: &Load, way: Way) -> Result<Metrics> {
    let usage = bulk::transfer(&load.target, way, running.pids()).await?;
    let mut metrics = Metrics::default();
    metrics.add("cpu_s_per_gib", usage.total().as_secs_f64());
    for (part, time) in running.parts.iter().zip(&usage.parts) {
        metrics.add(s_per_gib(part.role), time.as_secs_f64());
    }
    metrics.add("mib_per_s", mib_per_s(GIB, &usage));
    metrics.add("core", share(&usage));
    metrics.add("others", usage.others);
    Ok(metrics)
}

/// How much of its processor the system used; where this and `others` are well below 1, the load generator was the limit.
fn share(usage: &Usage) -> f64 {
    usage.total().as_secs_f64() / usage.wall.as_secs_f64()
}

fn mib_per_s(bytes: u64, usage: &Usage) -> f64 {
    bytes as f64 / MIB / usage.wall.as_secs_f64()
}

/// What a system adds to the latency of the origin at the same rate.
async fn half_load(running: &Running, lab: &Lab, load: Load) -> Result<Metrics> {
    let most = load::closed(&Load { time: Duration::from_secs(1), ..load.clone() }, running.pids()).await?;
    let rate = most.latencies.len() as f64 / most.usage.wall.as_secs_f64() / 2.0;
    let through = load::open(&load, rate, running.pids()).await?;
    let direct = load::open(&Load { target: lab.direct(), ..load }, rate, Vec::new()).await?;

    let mut metrics = Metrics::default();
    for (added, whole, percent) in [("added_p50_ms", "p50_ms", 50.0), ("added_p99_ms", "p99_ms", 99.0)] {
        let value = percentile(&through.latencies, percent);
        metrics.add(added, value - percentile(&direct.latencies, percent));
        metrics.add(whole, value);
    }
    metrics.add("rate", rate);
    metrics.add("cpu_us", through.usage.total().as_secs_f64() * 1e6 / through.latencies.len() as f64);
    metrics.add("others", through.usage.others);
    Ok(metrics)
}

fn idle(running: &Running, lab: &Lab, count: usize) -> Result<Metrics> {
    let before = memory::resident(running.gateway());
    let mut crowd = Crowd::gather(running, lab, count)?;
    let after = memory::resident(running.gateway());
    let (asked, answered) = crowd.ask(25)?;

    let mut metrics = Metrics::default();
    metrics.add("kib_per_connection", (after - before) / count as f64);
    metrics.add("gateway_rss_mib", after / 1024.0);
    metrics.add("asked_again", asked as f64);
    metrics.add("answered", answered as f64);
    Ok(metrics)
}

/// Resident memory after the first answer, no client connected.
fn at_rest(running: &Running) -> Metrics {
    let mut metrics = Metrics::default();
    for part in &running.parts {
        metrics.add(rss_mib(part.role), memory::resident(part.process.id()) / 1024.0);
    }
    metrics.add("gateway_pss_mib", memory::proportional(running.gateway()) / 1024.0);
    metrics
}

async fn stalled(running: &Running, load: &Load) -> Result<Metrics> {
    let beside = bulk::stalled(&load.target, 40, load.time.max(Duration::from_secs(3))).await?;
    let mut metrics = Metrics::default();
    metrics.add("unanswered", (beside.asked - beside.answered) as f64);
    metrics.add("slowest_ms", beside.slowest.as_secs_f64() * 1e3);
    metrics.add("asked", beside.asked as f64);
    for part in &running.parts {
        metrics.add(rss_mib(part.role), memory::resident(part.process.id()) / 1024.0);
    }
    Ok(metrics)
}

/// Small requests alone, then beside four downloads that take what they can, then beside four that are held to half
/// of the processor: bytes cost more of it at a lower rate, so the rate is corrected once.
async fn beside_bulk(running: &Running, load: Load) -> Result<Metrics> {
    let load = Load { connections: 16, time: load.time.max(Duration::from_secs(5)), ..load };
    let alone = load::open(&load, BESIDE, running.pids()).await?;
    let saturated = with_downloads(running, &load, None).await?;
    let first_guess = saturated.bytes_per_cpu_s() / 2.0;
    let guessed = with_downloads(running, &load, Some(first_guess)).await?;
    let half = with_downloads(running, &load, Some(first_guess * 0.5 / share(&guessed.small.usage))).await?;

    let mut metrics = Metrics::default();
    let alone_p99 = percentile(&alone.latencies, 99.0);
    let half_p99 = percentile(&half.small.latencies, 99.0);
    metrics.add("saturated_p99_ms", percentile(&saturated.small.latencies, 99.0));
    metrics.add("saturated_p50_ms", percentile(&saturated.small.latencies, 50.0));
    metrics.add("saturated_mib_per_s", mib_per_s(saturated.bytes, &saturated.small.usage));
    metrics.add("half_to_alone", half_p99 / alone_p99);
    metrics.add("half_p99_ms", half_p99);
    metrics.add("half_mib_per_s", mib_per_s(half.bytes, &half.small.usage));
    metrics.add("half_core", share(&half.small.usage));
    metrics.add("alone_p99_ms", alone_p99);
    metrics.add("others", saturated.small.usage.others);
    Ok(metrics)
}

struct BesideDownloads {
    small: Outcome,
    /// Downloaded meanwhile.
    bytes: u64,
}

impl BesideDownloads {
    fn bytes_per_cpu_s(&self) -> f64 {
        self.bytes as f64 / self.small.usage.total().as_secs_f64()
    }
}

async fn with_downloads(running: &Running, load: &Load, rate: Option<f64>) -> Result<BesideDownloads> {
    let mut downloads = Downloads::start(&load.target, 4, rate);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = downloads.received();
    let small = load::open(&Load { warm_up: Duration::ZERO, ..load.clone() }, BESIDE, running.pids()).await?;
    let bytes = downloads.received() - before;
    downloads.check()?;
    Ok(BesideDownloads { small, bytes })
}

fn us(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway_us",
        Role::ConnectionPoint => "connection_point_us",
    }
}

fn s_per_gib(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway_s_per_gib",
        Role::ConnectionPoint => "connection_point_s_per_gib",
    }
}

fn rss_mib(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway_rss_mib",
        Role::ConnectionPoint => "connection_point_rss_mib",
    }
}
