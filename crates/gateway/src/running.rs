//! A gateway that runs: what lasts as long as the process, and how a configuration is put in force.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_api::LogFile;
use cmg_core::problem::Problem;
use cmg_core::snapshot::Generation;
use cmg_process::health::{Exposure, Health};
use cmg_process::log::AccessLog;
use cmg_process::metrics::Metrics;
use cmg_process::open_files;
use cmg_process::shutdown::{Drain, Signals};
use cmg_tunnel::gateway::Hub;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::clients::Clients;
use crate::config::{Config, findings};
use crate::events::{Events, register_gateway};
use crate::heads::Heads;
use crate::listener::{Places, accept};
use crate::proof::Prover;
use crate::run::RunError;
use crate::state::{Gateway, Seat, State};

/// What tells about the gateway. There before the gateway is: one that waits to be enrolled says so.
pub(crate) struct Instruments {
    events: Events,
    seat: Seat,
    _health: Health,
}

impl Instruments {
    /// Begins to tell at that address, which may be public. `waits_for`: why there is no gateway yet; `more`: metrics beside the
    /// ordinary ones.
    pub(crate) async fn start(
        at: (SocketAddr, bool),
        log: &LogFile,
        waits_for: &'static str,
        more: impl FnOnce(&mut Metrics),
    ) -> Result<Self, RunError> {
        let mut metrics = Metrics::new("cmg_gateway");
        more(&mut metrics);
        let access_log = AccessLog::start(io::stdout())?;
        let events = Events::new(&mut metrics, access_log, log.client_address);
        let seat = Seat::default();
        register_gateway(&mut metrics, &seat);
        let asked = Arc::clone(&seat);
        let ready = move || asked.get().map_or(Err(waits_for.to_owned()), |gateway| is_ready(gateway));
        let (address, exposure) = (at.0, if at.1 { Exposure::Public } else { Exposure::Loopback });
        let health = Health::start(address, exposure, Box::new(ready), Arc::new(metrics)).await;
        let _health = health.map_err(|source| RunError::Listen { address, source })?;
        Ok(Self { events, seat, _health })
    }
}

fn is_ready(gateway: &Gateway) -> Result<(), String> {
    if gateway.drain.has_begun() {
        return Err("draining".to_owned());
    }
    if gateway.state().generation() == Generation::default() {
        return Err("no configuration has come from the site yet".to_owned());
    }
    if gateway.hub.is_ready() { Ok(()) } else { Err("no connection point is connected".to_owned()) }
}

/// A configuration that is ready to be put in force.
pub(crate) struct Next {
    state: State,
    instances: Vec<String>,
}

impl Next {
    /// Makes it ready, which takes its time where much is blocked. Tickets of `before` stay good.
    pub(crate) fn build(config: Config, generation: Generation, before: &State) -> Result<Self, Vec<Problem>> {
        let instances = config.instances.clone();
        Ok(Self { state: State::build(config, generation, Some(before))?, instances })
    }
}

/// A gateway with its listeners.
pub(crate) struct Running {
    pub(crate) gateway: Arc<Gateway>,
    listeners: Listeners,
    drain_time: Duration,
    _health: Health,
}

impl Running {
    /// Makes everything that lasts as long as the process, and listens.
    pub(crate) fn start(config: Config, generation: Generation, instruments: Instruments) -> Result<Self, RunError> {
        if let Some(finding) = findings::open_files(&config.limits, open_files::raise()) {
            warn!(key = finding.key, "Finding: {}", finding.what);
        }
        let Instruments { events, seat, _health } = instruments;
        let (shared, acme, drain_time) = (config.listen.clone(), config.acme.listen.clone(), config.drain);
        let places = Arc::new(Places::new(config.limits.handshakes, config.limits.connections));
        let hub = Hub::new(config.name.clone(), config.instances.clone());
        let (proxies, heads) = (config.proxy_protocol_from.clone(), Heads::new(config.limits.connections));
        let state = State::build(config, generation, None).map_err(RunError::Config)?;
        tell_findings(&state);
        let state = ArcSwap::from_pointee(state);
        let (clients, prover, drain) = (Clients::new(), Prover::new(), Drain::default());
        let gateway = Arc::new(Gateway { state, hub, clients, heads, prover, events, drain, proxies });
        let _ = seat.set(Arc::clone(&gateway));
        let mut listeners = Listeners { shared, open: BTreeMap::new(), acme: Vec::new(), gateway: Arc::clone(&gateway), places };
        listeners.follow(&gateway.state())?;
        listeners.open_for_acme(&acme)?;
        Ok(Self { gateway, listeners, drain_time, _health })
    }

    /// Puts a configuration in force. Where that cannot be done, the one before stays.
    pub(crate) fn apply(&mut self, next: Next) -> Result<(), Vec<Problem>> {
        let Next { state, instances } = next;
        let before = self.gateway.state();
        self.listeners.follow(&state).map_err(|error| {
            let because = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            vec![Problem::new("endpoint.port", format!("{error}: {because}"), "free the port, or name another")]
        })?;
        tell_findings(&state);
        self.listeners.places.resize(state.limits.handshakes, state.limits.connections);
        self.gateway.heads.resize(before.limits.connections, state.limits.connections);
        let distrusts = before.infrastructure.iter().any(|root| !state.infrastructure.contains(root));
        self.gateway.hub.announce(instances);
        let state = Arc::new(state);
        self.gateway.state.store(Arc::clone(&state));
        if distrusts {
            warn!("An infrastructure authority counts no more: all tunnels end, and connection points with another dial again");
            self.gateway.hub.distrust();
        } else if before.connection_points != state.connection_points || before.revoked != state.revoked {
            self.gateway.hub.dismiss(|connection_point, certificate| !state.admits(connection_point, certificate));
        }
        Ok(())
    }

    /// Stops listening, finishes what is under way, ends.
    pub(crate) async fn drain(self, signals: &mut Signals) {
        let Self { gateway, listeners, drain_time, _health } = self;
        info!(in_flight = gateway.drain.in_flight(), "Draining");
        drop(listeners);
        gateway.drain.begin();
        gateway.hub.drain();
        tokio::select! {
            left = gateway.drain.wait_idle(drain_time) => if let Err(left) = left {
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
}

fn tell_findings(state: &State) {
    for finding in &state.snapshot.findings {
        warn!(key = finding.key, "Finding: {}", finding.what);
    }
}

/// The listening sockets: the shared ones, and those of endpoints with a port of their own.
struct Listeners {
    shared: Vec<SocketAddr>,
    open: BTreeMap<SocketAddr, Listening>,
    /// Where HTTP-01 challenges are answered.
    acme: Vec<Listening>,
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
    /// Opens the addresses at which HTTP-01 challenges are answered, for as long as the process runs.
    fn open_for_acme(&mut self, addresses: &[SocketAddr]) -> Result<(), RunError> {
        for address in addresses {
            let listener = cmg_transport::listen::bind(*address).map_err(|source| RunError::Listen { address: *address, source })?;
            let task = tokio::spawn(crate::acme::answer(listener, Arc::clone(&self.gateway)));
            self.acme.push(Listening(task));
        }
        Ok(())
    }

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
