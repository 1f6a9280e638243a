//! What the connection point works by, as one value: a request takes it once and uses it to its end.
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cmg_core::ids::EndpointId;
use cmg_core::problem::Problem;
use cmg_core::server::Delivery;
use cmg_core::snapshot::{Generation, Parts, Snapshot};
use cmg_core::time::WallTime;
use cmg_credentials::{Proofs, Verifier};
use cmg_process::shutdown::Drain;

use crate::config::Config;
use crate::events::Events;
use crate::pool::Pool;
use crate::servers::Service;
use crate::site::relay::Relay;

/// Everything that a reload replaces.
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) verifier: Verifier,
    /// How each endpoint is delivered.
    pub(crate) services: BTreeMap<EndpointId, Service>,
}

/// Everything that lasts as long as the process.
pub(crate) struct Point {
    pub(crate) state: ArcSwap<State>,
    pub(crate) pool: Pool,
    /// The proofs of possession seen here.
    pub(crate) proofs: Proofs,
    pub(crate) events: Events,
    pub(crate) drain: Drain,
    /// Answers what gateways ask this connection point itself; none: it is no member of a site.
    pub(crate) control: OnceLock<Arc<Relay>>,
}

impl State {
    /// The state of a connection point that has no configuration: it publishes nothing.
    pub(crate) fn empty() -> Self {
        let snapshot = Snapshot::parse(Generation::default(), Parts::default()).expect("nothing is wrong with nothing");
        let verifier = Verifier::new(&[], &[], &[]).expect("nothing is wrong with nothing");
        Self { snapshot, verifier, services: BTreeMap::new() }
    }

    /// Builds the state of a generation from a checked configuration; servers that were ill under `before` still are.
    pub(crate) fn build(config: Config, generation: Generation, before: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let mut snapshot = Snapshot::parse(generation, config.parts)?;
        snapshot.findings.extend(config.overdue_lists);
        let verifier = Verifier::new(&snapshot.trusts, &snapshot.blocks, &snapshot.token_keys)?;
        let service = |delivery: &Delivery| {
            let before = before.and_then(|before| before.services.get(&delivery.endpoint));
            Service::new(delivery.clone(), config.server_tls.get(&delivery.endpoint).cloned(), before)
        };
        let services = snapshot.deliveries.iter().map(|delivery| (delivery.endpoint.clone(), service(delivery))).collect();
        Ok(Self { snapshot, verifier, services })
    }

    /// Ids of the endpoints that can be served at the moment.
    pub(crate) fn served(&self) -> Vec<String> {
        self.services.iter().filter(|(_, service)| service.is_healthy()).map(|(id, _)| id.to_string()).collect()
    }
}

impl Point {
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }
}

/// The wall clock.
pub(crate) fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}
