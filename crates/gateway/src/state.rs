//! What the gateway works by, as one value: a request takes it once and uses it to its end.
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use cmg_api::WhenWithheld;
use cmg_core::entra::Tenants;
use cmg_core::ids::ConnectionPointId;
use cmg_core::problem::Problem;
use cmg_core::snapshot::{Generation, Snapshot};
use cmg_core::time::WallTime;
use cmg_credentials::Verifier;
use cmg_credentials::tls::{Believed, PublicTls, RevokedMembers};
use cmg_process::shutdown::Drain;
use cmg_tunnel::gateway::Hub;

use crate::clients::Clients;
use crate::config::{Acme, Config, Limits};
use crate::events::Events;
use crate::heads::Heads;
use crate::proof::Prover;

/// Everything that a reload replaces.
pub(crate) struct State {
    pub(crate) snapshot: Snapshot,
    pub(crate) verifier: Verifier,
    pub(crate) tls: PublicTls,
    /// Roots of the infrastructure authorities, DER.
    pub(crate) infrastructure: Vec<Vec<u8>>,
    /// Role certificates that count no more.
    pub(crate) revoked: RevokedMembers,
    /// The connection points that may connect; none: every one with a role certificate.
    pub(crate) connection_points: Option<BTreeSet<ConnectionPointId>>,
    /// What becomes of a connection point that withholds the newest configuration of the site.
    pub(crate) when_withheld: WhenWithheld,
    pub(crate) limits: Limits,
    /// What devices of Entra ID tenants are told.
    pub(crate) tenants: Tenants,
    /// What an ACME server may ask for.
    pub(crate) acme: Acme,
}

/// Everything that lasts as long as the process.
pub(crate) struct Gateway {
    pub(crate) state: ArcSwap<State>,
    pub(crate) hub: Hub,
    pub(crate) clients: Clients,
    pub(crate) heads: Heads,
    pub(crate) prover: Prover,
    pub(crate) events: Events,
    pub(crate) drain: Drain,
    /// Load balancers in front, whose connections begin with PROXY protocol version 2.
    pub(crate) proxies: Vec<cmg_transport::proxy_protocol::Network>,
}

/// Where the gateway is once it is made: an enrolled one is asked how it is before that.
pub(crate) type Seat = Arc<OnceLock<Arc<Gateway>>>;

impl State {
    /// Builds the state of `generation` from a checked configuration; tickets of `before` stay good.
    pub(crate) fn build(config: Config, generation: Generation, before: Option<&State>) -> Result<Self, Vec<Problem>> {
        let mut snapshot = Snapshot::parse(generation, config.parts)?;
        snapshot.findings.extend(config.overdue_lists);
        let verifier = Verifier::new(&snapshot.trusts, &snapshot.blocks, &snapshot.token_keys)?;
        let (infrastructure, revoked) = (config.infrastructure, config.revoked);
        let believed = Believed { roots: &infrastructure, revoked: revoked.clone() };
        let tls = PublicTls::new(config.identities, config.role, believed)?;
        let acme = config.acme;
        let tls = tls.with_challenges(acme.certificates.iter().cloned());
        let tls = match before {
            Some(before) => tls.with_tickets_of(&before.tls),
            None => tls,
        };
        let Config { connection_points, when_withheld, limits, tenants, .. } = config;
        Ok(Self { snapshot, verifier, tls, infrastructure, revoked, connection_points, when_withheld, limits, tenants, acme })
    }

    /// Whether a connection point that has proven its role by `certificate` (DER) may have tunnels here.
    pub(crate) fn admits(&self, connection_point: &ConnectionPointId, certificate: &[u8]) -> bool {
        self.connection_points.as_ref().is_none_or(|admitted| admitted.contains(connection_point)) && !self.revoked.name(certificate)
    }

    /// Which configuration this is.
    pub(crate) fn generation(&self) -> Generation {
        self.snapshot.generation
    }
}

impl Gateway {
    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }
}

/// The wall clock.
pub(crate) fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs())
}
