//! Starting, running, stopping: as a list.
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_core::problem::Problem;
use cmg_credentials::tls::{describe_untrusted, role_of, tunnel_client};
use cmg_process::health::{Exposure, Health};
use cmg_process::log::AccessLog;
use cmg_process::metrics::Metrics;
use cmg_process::shutdown::{Drain, Signal, Signals};
use cmg_process::{dice, log, open_files};
use cmg_standalone::AtStart;
use cmg_tunnel::Incoming;
use cmg_tunnel::connector::{Connector, Settings};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::deliver::deliver;
use crate::events::{Events, Reload};
use crate::health;
use crate::pool::Pool;
use crate::state::{Point, State};

/// Why the connection point did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// The address for metrics cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot start")]
    System(#[from] io::Error),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Runs a connection point from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    // Each tunnel, each lane and each connection to a server is one.
    open_files::raise();
    let (drain_time, at_start) = (config.drain, config.at_start());
    let (incoming, requests) = mpsc::unbounded_channel();
    let (serves, served) = watch::channel(Vec::new());
    let connectors = connectors(&config, &incoming, &served)?;
    let metrics_at = (config.metrics_listen, if config.metrics_public { Exposure::Public } else { Exposure::Loopback });
    let (point, mut metrics) = build(config)?;
    register_tunnels(&mut metrics, &connectors);
    let _health = listen(metrics_at, &point, &connectors, metrics).await?;
    let mut upkeep = Upkeep { point: Arc::clone(&point), serves, probes: JoinSet::new() };
    upkeep.follow(&point.state());
    let mut tasks = JoinSet::new();
    tasks.spawn(take_requests(requests, Arc::clone(&point)));
    tasks.spawn(sweep(Arc::clone(&point)));
    for connector in &connectors {
        tasks.spawn(Arc::clone(connector).run());
    }
    info!("Connection point ready");
    loop {
        match signals.next().await {
            Signal::Reload => reload(file, &point, &mut upkeep, &level, &at_start),
            Signal::Drain => break,
            Signal::Stop => return Ok(()),
        }
    }
    drain(&point, &connectors, drain_time, &mut signals).await;
    Ok(())
}

/// Makes everything that lasts as long as the process.
fn build(config: Config) -> Result<(Arc<Point>, Metrics), RunError> {
    let mut metrics = Metrics::new("cmg_connection_point");
    let events = Events::new(&mut metrics, AccessLog::start(io::stdout())?);
    let state = State::build(config, 1, None).map_err(RunError::Config)?;
    for finding in &state.snapshot.findings {
        warn!(key = finding.key, "Finding: {}", finding.what);
    }
    let point = Arc::new(Point { state: ArcSwap::from_pointee(state), pool: Pool::default(), events, drain: Drain::default() });
    Ok((point, metrics))
}

fn connectors(
    config: &Config,
    incoming: &mpsc::UnboundedSender<Incoming>,
    served: &watch::Receiver<Vec<String>>,
) -> Result<Vec<Arc<Connector>>, RunError> {
    let tls = tunnel_client(config.role.clone(), &config.infrastructure).map_err(RunError::Config)?;
    let settings = Settings {
        me: config.me.clone(),
        tls,
        role_of,
        intercepted_by: describe_untrusted,
        sessions: config.sessions,
        lanes: config.lanes,
    };
    let connector = |route: &cmg_tunnel::connector::Route| {
        Connector::new(route.clone(), settings.clone(), incoming.clone(), served.clone(), dice::draw)
    };
    let connectors: Vec<_> = config.routes.iter().map(connector).collect();
    Connector::introduce(&connectors);
    Ok(connectors)
}

fn register_tunnels(metrics: &mut Metrics, connectors: &[Arc<Connector>]) {
    let all = connectors.to_vec();
    let sessions = move || all.iter().map(|connector| connector.live().values().sum::<usize>() as u64).sum();
    metrics.gauge_of("tunnel_sessions", "Live sessions with gateways", sessions);
}

async fn listen(
    at: (SocketAddr, Exposure),
    point: &Arc<Point>,
    connectors: &[Arc<Connector>],
    metrics: Metrics,
) -> Result<Health, RunError> {
    let (point, connectors) = (Arc::clone(point), connectors.to_vec());
    let ready = move || {
        if point.drain.has_begun() {
            return Err("draining".to_owned());
        }
        let lacking = connectors.iter().flat_map(|connector| connector.lacking()).collect::<Vec<_>>();
        if lacking.is_empty() { Ok(()) } else { Err(format!("not connected: {}", lacking.join(", "))) }
    };
    let (address, exposure) = at;
    Health::start(address, exposure, Box::new(ready), Arc::new(metrics)).await.map_err(|source| RunError::Listen { address, source })
}

/// Starts a task for each request. How many there are is bounded per session by the tunnel.
async fn take_requests(mut requests: mpsc::UnboundedReceiver<Incoming>, point: Arc<Point>) {
    while let Some(incoming) = requests.recv().await {
        tokio::spawn(deliver(incoming, Arc::clone(&point)));
    }
}

async fn sweep(point: Arc<Point>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        point.pool.sweep();
    }
}

/// What follows the configuration in force: probes, and what gateways are told.
struct Upkeep {
    point: Arc<Point>,
    serves: watch::Sender<Vec<String>>,
    probes: JoinSet<()>,
}

impl Upkeep {
    fn follow(&mut self, state: &Arc<State>) {
        let (serves, told) = (self.serves.clone(), Arc::clone(state));
        self.probes = health::start(state, &self.point, move || {
            serves.send_replace(told.served());
        });
        self.serves.send_replace(state.served());
    }
}

/// Reads the file again; a file with problems changes nothing. Addresses of gateways and the role certificate need a restart.
fn reload(file: &Path, point: &Point, upkeep: &mut Upkeep, level: &log::Level, at_start: &AtStart) {
    let before = point.state();
    let number = before.snapshot.generation.number + 1;
    let next = Config::read(file).and_then(|config| {
        let (wanted, waiting) = (config.log.level, at_start.changed_in(&config.at_start()));
        State::build(config, number, Some(&before)).map(|state| (state, wanted, waiting))
    });
    match next {
        Ok((state, wanted, waiting)) => {
            level.set(wanted);
            let state = Arc::new(state);
            point.state.store(Arc::clone(&state));
            upkeep.follow(&state);
            info!(generation = number, "Configuration applied");
            if !waiting.is_empty() {
                warn!(keys = waiting.join(", "), "Changed keys wait for a restart");
            }
            for finding in &state.snapshot.findings {
                warn!(key = finding.key, "Finding: {}", finding.what);
            }
            point.events.reloaded(Reload::Applied);
        }
        Err(problems) => {
            for problem in problems {
                error!(key = problem.key, "{}; {}", problem.what, problem.instead);
            }
            error!(file = %file.display(), "Configuration refused, the one before stays in force");
            point.events.reloaded(Reload::Refused);
        }
    }
}

/// How long gateways are given to hear of a drain: what they have sent until then is carried out, since no other may do so.
const HEARD: Duration = Duration::from_millis(500);

/// How long sessions have at least to write what is left and to close.
const GOODBYE: Duration = Duration::from_secs(2);

/// Takes nothing new, finishes what is under way, ends.
async fn drain(point: &Point, connectors: &[Arc<Connector>], longest: Duration, signals: &mut Signals) {
    info!(in_flight = point.drain.in_flight(), "Draining");
    let until = tokio::time::Instant::now() + longest;
    for connector in connectors {
        connector.drain();
    }
    point.drain.begin();
    let idle = async {
        tokio::time::sleep(HEARD.min(longest)).await;
        point.drain.wait_idle(longest.saturating_sub(HEARD)).await
    };
    tokio::select! {
        left = idle => if let Err(left) = left {
            warn!(left, "Requests were still under way at the end of the drain");
        },
        () = signals.stop() => warn!("Drain cut short"),
    }
    for connector in connectors {
        connector.stop();
    }
    let gone = async {
        while connectors.iter().any(|connector| connector.live().values().any(|sessions| *sessions > 0)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // What was answered may still have to leave over a slow line.
    let _ = tokio::time::timeout_at(until.max(tokio::time::Instant::now() + GOODBYE), gone).await;
    point.events.flush();
    info!("Stopped");
}
