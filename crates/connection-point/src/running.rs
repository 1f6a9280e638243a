//! What runs as long as the process does, wherever its configuration comes from: requests, tunnels, probes, health and metrics.
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::snapshot::Generation;
use cmg_credentials::Proofs;
use cmg_process::health::Health;
use cmg_process::log::AccessLog;
use cmg_process::metrics::Metrics;
use cmg_process::shutdown::{Drain, Signals};
use cmg_tunnel::Incoming;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::{Config, Machine};
use crate::deliver::deliver;
use crate::events::Events;
use crate::health;
use crate::pool::Pool;
use crate::proof;
use crate::run::RunError;
use crate::state::{Point, State};
use crate::tunnels::{Live, Tunnels};

/// How long gateways are given to hear of a drain: what they have sent until then is carried out, since no other may do so.
const HEARD: Duration = Duration::from_millis(500);

/// How long sessions have at least to write what is left and to close.
const GOODBYE: Duration = Duration::from_secs(2);

/// A connection point at work.
pub(crate) struct Running {
    pub(crate) point: Arc<Point>,
    /// Why it is not ready, whatever the tunnels do; none: nothing is in the way.
    pub(crate) obstacle: Obstacle,
    tunnels: Tunnels,
    serves: watch::Sender<Vec<String>>,
    drain: Duration,
    probes: JoinSet<()>,
    _tasks: JoinSet<()>,
    _health: Health,
}

/// What `/readyz` says while there is nothing to serve.
#[derive(Clone)]
pub(crate) struct Obstacle(Arc<ArcSwap<Option<String>>>);

impl Obstacle {
    pub(crate) fn set(&self, why: Option<String>) {
        self.0.store(Arc::new(why));
    }
}

impl Running {
    /// Starts without a configuration in force: it serves nothing and reaches nobody.
    pub(crate) async fn start(machine: &Machine, mut metrics: Metrics, events: Events) -> Result<Self, RunError> {
        let (incoming, requests) = mpsc::unbounded_channel();
        let (serves, served) = watch::channel(Vec::new());
        let tunnels = Tunnels::new(incoming, served);
        let obstacle = Obstacle(Arc::new(ArcSwap::from_pointee(Some("no configuration is in force".to_owned()))));
        let state = ArcSwap::from_pointee(State::empty());
        let (pool, proofs, drain) = (Pool::default(), Proofs::new(proof::LEEWAY), Drain::default());
        let point = Arc::new(Point { state, pool, proofs, events, drain, control: OnceLock::new() });
        let live = tunnels.live();
        metrics.gauge_of("tunnel_sessions", "Live sessions with gateways", move || live.sessions().values().map(|of| u64::from(*of)).sum());
        let health = listen(machine, &point, obstacle.clone(), tunnels.live(), metrics).await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(take_requests(requests, Arc::clone(&point)));
        tasks.spawn(sweep(Arc::clone(&point)));
        let drain = machine.drain;
        Ok(Self { point, obstacle, tunnels, serves, drain, probes: JoinSet::new(), _tasks: tasks, _health: health })
    }

    /// Puts a configuration in force, or tells what is wrong with it and changes nothing.
    pub(crate) fn apply(&mut self, config: Config, generation: Generation) -> Result<(), Vec<Problem>> {
        let tunnel = config.tunnel.clone();
        let before = self.point.state();
        let state = Arc::new(State::build(config, generation, Some(&before))?);
        self.point.state.store(Arc::clone(&state));
        let (serves, told) = (self.serves.clone(), Arc::clone(&state));
        self.probes = health::start(&state, &self.point, move || {
            serves.send_replace(told.served());
        });
        self.serves.send_replace(state.served());
        self.tunnels.follow(&tunnel, self.drain);
        self.obstacle.set(None);
        let known = &before.snapshot.findings;
        for finding in state.snapshot.findings.iter().filter(|finding| !known.contains(finding)) {
            warn!(key = finding.key, "Finding: {}", finding.what);
        }
        Ok(())
    }

    /// The tunnels, for those who look at them.
    pub(crate) fn live(&self) -> Live {
        self.tunnels.live()
    }

    /// Takes nothing new, finishes what is under way, ends.
    pub(crate) async fn drain(&self, signals: &mut Signals) {
        let (point, longest) = (&self.point, self.drain);
        info!(in_flight = point.drain.in_flight(), "Draining");
        let until = tokio::time::Instant::now() + longest;
        self.tunnels.drain();
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
        // What was answered may still have to leave over a slow line.
        let _ = tokio::time::timeout_at(until.max(tokio::time::Instant::now() + GOODBYE), self.tunnels.stop()).await;
        point.events.flush();
        info!("Stopped");
    }
}

/// The metrics, and what tells events.
pub(crate) fn telemetry() -> io::Result<(Metrics, Events)> {
    let mut metrics = Metrics::new("cmg_connection_point");
    let events = Events::new(&mut metrics, AccessLog::start(io::stdout())?);
    Ok((metrics, events))
}

async fn listen(machine: &Machine, point: &Arc<Point>, obstacle: Obstacle, live: Live, metrics: Metrics) -> Result<Health, RunError> {
    let point = Arc::clone(point);
    let ready = move || {
        if point.drain.has_begun() {
            return Err("draining".to_owned());
        }
        if let Some(why) = &**obstacle.0.load() {
            return Err(why.clone());
        }
        let lacking = live.lacking();
        if lacking.is_empty() { Ok(()) } else { Err(format!("not connected: {}", lacking.join(", "))) }
    };
    let address = machine.metrics_listen;
    let health = Health::start(address, machine.exposure(), Box::new(ready), Arc::new(metrics)).await;
    health.map_err(|source| RunError::Listen { address, source })
}

/// Starts a task for each request. How many there are is bounded per session by the tunnel.
async fn take_requests(mut requests: mpsc::UnboundedReceiver<Incoming>, point: Arc<Point>) {
    while let Some(incoming) = requests.recv().await {
        if incoming.request.is_control() {
            tokio::spawn(answer(incoming, Arc::clone(&point)));
        } else {
            tokio::spawn(deliver(incoming, Arc::clone(&point)));
        }
    }
}

/// Answers what a gateway asks this connection point itself. That is no client's request: it goes to no server and into no count.
async fn answer(incoming: Incoming, point: Arc<Point>) {
    match point.control.get() {
        Some(relay) => relay.answer(incoming).await,
        None => incoming.exchange.refuse(Refusal::ConnectorNotPublished),
    }
}

async fn sweep(point: Arc<Point>) {
    loop {
        tokio::time::sleep(Duration::from_secs(10)).await;
        point.pool.sweep();
    }
}
