//! Starting, running, stopping: as a list.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_core::problem::Problem;
use cmg_process::health::{Exposure, Health};
use cmg_process::log::AccessLog;
use cmg_process::metrics::Metrics;
use cmg_process::shutdown::{Drain, Signal, Signals};
use cmg_process::{log, open_files};
use cmg_standalone::AtStart;
use cmg_tunnel::gateway::Hub;
use thiserror::Error;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::clients::Clients;
use crate::config::{Config, findings};
use crate::events::{Events, Reload, register_hub};
use crate::heads::Heads;
use crate::listener::{Places, accept};
use crate::state::{Gateway, State};

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration has problems.
    #[error("{}", lines(.0))]
    Config(Vec<Problem>),
    /// An address cannot be listened on.
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

/// Runs a gateway from its configuration file until it is told to stop.
pub async fn run(file: &Path) -> Result<(), RunError> {
    let mut signals = Signals::new()?;
    let config = Config::read(file).map_err(RunError::Config)?;
    let level = log::start(config.log.level, config.log.format).map_err(io::Error::other)?;
    if let Some(finding) = findings::open_files(&config.limits, open_files::raise()) {
        warn!(key = finding.key, "Finding: {}", finding.what);
    }
    let (listen, drain_time) = (config.listen.clone(), config.drain);
    let metrics_at = (config.metrics_listen, if config.metrics_public { Exposure::Public } else { Exposure::Loopback });
    let at_start = config.at_start();
    let places = Arc::new(Places::new(config.limits.handshakes, config.limits.connections));
    let (gateway, metrics) = build(config)?;
    let _health = health(metrics_at, &gateway, metrics).await?;
    let mut listeners = Listeners { shared: listen, open: BTreeMap::new(), gateway: Arc::clone(&gateway), places };
    listeners.follow(&gateway.state())?;
    info!("Gateway ready");
    loop {
        match signals.next().await {
            Signal::Reload => reload(file, &gateway, &mut listeners, &level, &at_start),
            Signal::Drain => break,
            Signal::Stop => return Ok(()),
        }
    }
    drain(gateway, listeners, drain_time, &mut signals).await;
    Ok(())
}

/// Makes everything that lasts as long as the process.
fn build(config: Config) -> Result<(Arc<Gateway>, Arc<Metrics>), RunError> {
    let mut metrics = Metrics::new("cmg_gateway");
    let access_log = AccessLog::start(io::stdout())?;
    let events = Events::new(&mut metrics, access_log, config.log.client_address);
    let hub = Hub::new(config.name.clone(), config.instances.clone());
    let proxies = config.proxy_protocol_from.clone();
    let heads = Heads::new(config.limits.connections);
    let state = State::build(config, 1, None).map_err(RunError::Config)?;
    for finding in &state.snapshot.findings {
        warn!(key = finding.key, "Finding: {}", finding.what);
    }
    let gateway = Arc::new(Gateway {
        state: ArcSwap::from_pointee(state),
        hub,
        clients: Clients::new(),
        heads,
        events,
        drain: Drain::default(),
        proxies,
    });
    register_hub(&mut metrics, &gateway);
    Ok((gateway, Arc::new(metrics)))
}

async fn health(at: (SocketAddr, Exposure), gateway: &Arc<Gateway>, metrics: Arc<Metrics>) -> Result<Health, RunError> {
    let gateway = Arc::clone(gateway);
    let ready = move || match (gateway.drain.has_begun(), gateway.hub.is_ready()) {
        (true, _) => Err("draining".to_owned()),
        (false, false) => Err("no connection point is connected".to_owned()),
        (false, true) => Ok(()),
    };
    let (address, exposure) = at;
    Health::start(address, exposure, Box::new(ready), metrics).await.map_err(|source| RunError::Listen { address, source })
}

/// Reads the file again; a file with problems changes nothing.
fn reload(file: &Path, gateway: &Gateway, listeners: &mut Listeners, level: &log::Level, at_start: &AtStart) {
    let before = gateway.state();
    let next = Config::read(file).and_then(|config| {
        let (wanted, waiting) = (config.log.level, at_start.changed_in(&config.at_start()));
        State::build(config, before.generation().number + 1, Some(&before)).map(|state| (state, wanted, waiting))
    });
    let outcome = match next {
        Ok((state, wanted, waiting)) => {
            let state = Arc::new(state);
            listeners.follow(&state).map(|()| (state, wanted, waiting)).map_err(|error| {
                let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                vec![Problem::new("endpoint.port", format!("{error}: {because}"), "free the port, or name another")]
            })
        }
        Err(problems) => Err(problems),
    };
    match outcome {
        Ok((state, wanted, waiting)) => {
            level.set(wanted);
            info!(generation = state.generation().number, "Configuration applied");
            if !waiting.is_empty() {
                warn!(keys = waiting.join(", "), "Changed keys wait for a restart");
            }
            for finding in &state.snapshot.findings {
                warn!(key = finding.key, "Finding: {}", finding.what);
            }
            let distrusts = before.infrastructure.iter().any(|root| !state.infrastructure.contains(root));
            gateway.state.store(state);
            gateway.events.reloaded(Reload::Applied);
            if distrusts {
                warn!("An infrastructure authority counts no more: all tunnels end, and connection points with another dial again");
                gateway.hub.distrust();
            }
        }
        Err(problems) => {
            for problem in problems {
                error!(key = problem.key, "{}; {}", problem.what, problem.instead);
            }
            error!(file = %PathBuf::from(file).display(), "Configuration refused, the one before stays in force");
            gateway.events.reloaded(Reload::Refused);
        }
    }
}

/// Stops listening, finishes what is under way, ends.
async fn drain(gateway: Arc<Gateway>, listeners: Listeners, longest: Duration, signals: &mut Signals) {
    info!(in_flight = gateway.drain.in_flight(), "Draining");
    drop(listeners);
    gateway.drain.begin();
    gateway.hub.drain();
    tokio::select! {
        left = gateway.drain.wait_idle(longest) => if let Err(left) = left {
            warn!(left, "Requests were still under way at the end of the drain");
        },
        () = signals.stop() => warn!("Drain cut short"),
    }
    gateway.hub.stop();
    // Sessions say goodbye in tasks of their own; connection points that are gone do not hold up the end.
    let gone = async {
        while gateway.hub.live().1 > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), gone).await;
    gateway.events.flush();
    info!("Stopped");
}

/// The listening sockets: the shared ones, and those of endpoints with a port of their own.
struct Listeners {
    shared: Vec<SocketAddr>,
    open: BTreeMap<SocketAddr, Listening>,
    gateway: Arc<Gateway>,
    places: Arc<Places>,
}

/// One listening socket; dropping it stops accepting.
struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listeners {
    /// Opens what is wanted and not open, then closes what is not wanted any more; where one cannot be opened, all stays as it is.
    fn follow(&mut self, state: &State) -> Result<(), RunError> {
        let own_ports: Vec<u16> = state.snapshot.endpoints.own_ports().collect();
        let own = self.shared.iter().flat_map(|address| own_ports.iter().map(|port| SocketAddr::new(address.ip(), *port)));
        let wanted: BTreeSet<SocketAddr> = self.shared.iter().copied().chain(own).collect();
        let mut opened = Vec::new();
        for address in wanted.iter().filter(|address| !self.open.contains_key(address)) {
            let listener = cmg_transport::listen::bind(*address).map_err(|source| RunError::Listen { address: *address, source })?;
            opened.push((*address, listener));
        }
        for (address, listener) in opened {
            let task = tokio::spawn(accept(listener, Arc::clone(&self.gateway), Arc::clone(&self.places)));
            self.open.insert(address, Listening(task));
        }
        self.open.retain(|address, _| wanted.contains(address));
        Ok(())
    }
}
