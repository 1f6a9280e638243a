//! The tunnels that there should be, and those that there are: a connector for each address of the configuration in force.
//!
//! A reconciler: an address that is new gets a connector, one that stays keeps its sessions, one that is gone lets its requests come
//! to their ends. A changed way (proxy, role certificate, numbers) counts for new connections; sessions that stand stay. Only where a
//! root of the infrastructure authority counts no more do all sessions end at once, since nobody knows which of them it vouched for; and
//! those of gateways whose certificates were revoked.
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cmg_core::ids::ConnectionPointId;
use cmg_credentials::tls::{RevokedMembers, describe_untrusted, role_of};
use cmg_process::dice;
use cmg_tunnel::Incoming;
use cmg_tunnel::connector::{Connector, Route, Settings};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::info;

/// Where the gateways are, and how connections to them are made.
#[derive(Clone)]
pub struct TunnelPlan {
    /// This connection point, as its role certificate names it.
    pub me: ConnectionPointId,
    /// How TLS is spoken in tunnels.
    pub tls: Arc<ClientConfig>,
    /// Roots of the infrastructure authority, DER.
    pub infrastructure: Vec<Vec<u8>>,
    /// Role certificates that count no more.
    pub revoked: RevokedMembers,
    /// Where the gateways are.
    pub routes: Vec<Route>,
    /// Multiplexed connections to each gateway instance.
    pub sessions: usize,
    /// Idle lanes each way on each of them.
    pub lanes: usize,
}

/// Keeps the tunnels until dropped.
pub(crate) struct Tunnels {
    incoming: mpsc::UnboundedSender<Incoming>,
    served: watch::Receiver<Vec<String>>,
    infrastructure: Vec<Vec<u8>>,
    revoked: RevokedMembers,
    kept: Vec<Kept>,
    retiring: Vec<(Arc<Connector>, JoinHandle<()>)>,
    live: Live,
}

/// The tunnels, for those who look at them.
#[derive(Clone, Default)]
pub(crate) struct Live(Arc<ArcSwap<Vec<Arc<Connector>>>>);

/// A connector at work; dropping it stops the dialling, not the sessions.
struct Kept {
    host: String,
    port: u16,
    connector: Arc<Connector>,
    run: JoinHandle<()>,
}

impl Tunnels {
    /// No tunnels yet. Requests come out of `incoming`; `served` says which endpoints can be served at the moment.
    pub(crate) fn new(incoming: mpsc::UnboundedSender<Incoming>, served: watch::Receiver<Vec<String>>) -> Self {
        Self {
            incoming,
            served,
            infrastructure: Vec::new(),
            revoked: RevokedMembers::default(),
            kept: Vec::new(),
            retiring: Vec::new(),
            live: Live::default(),
        }
    }

    /// What there is, whenever it is asked.
    pub(crate) fn live(&self) -> Live {
        self.live.clone()
    }

    /// Makes the tunnels those of `plan`. Requests on a tunnel that is gone have `drain` to come to their ends.
    pub(crate) fn follow(&mut self, plan: &TunnelPlan, drain: Duration) {
        self.retiring.retain(|(_, end)| !end.is_finished());
        self.remove(plan, drain);
        for route in &plan.routes {
            self.keep(route, plan);
        }
        let distrusted = self.infrastructure.iter().any(|root| !plan.infrastructure.contains(root));
        self.infrastructure.clone_from(&plan.infrastructure);
        let all: Vec<_> = self.kept.iter().map(|kept| Arc::clone(&kept.connector)).collect();
        Connector::introduce(&all);
        if distrusted {
            let gone = self.retiring.iter().map(|(connector, _)| connector);
            all.iter().chain(gone).for_each(|connector| connector.stop());
        } else if self.revoked != plan.revoked {
            let gone = self.retiring.iter().map(|(connector, _)| connector);
            all.iter().chain(gone).for_each(|connector| connector.dismiss(|certificate| plan.revoked.name(certificate)));
        }
        self.revoked = plan.revoked.clone();
        self.live.0.store(Arc::new(all));
    }

    /// Takes no new requests, here and at the gateways.
    pub(crate) fn drain(&self) {
        self.kept.iter().for_each(|kept| kept.connector.drain());
    }

    /// Ends every session after what is queued; ready when all have ended.
    pub(crate) async fn stop(&self) {
        let retiring = self.retiring.iter().map(|(connector, _)| connector);
        let all: Vec<_> = self.kept.iter().map(|kept| &kept.connector).chain(retiring).collect();
        for connector in &all {
            connector.stop();
        }
        while all.iter().any(|connector| connector.live().values().any(|sessions| *sessions > 0)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn remove(&mut self, plan: &TunnelPlan, drain: Duration) {
        let is_wanted = |kept: &Kept| plan.routes.iter().any(|route| (route.host.as_str(), route.port) == (kept.host.as_str(), kept.port));
        for kept in self.kept.extract_if(.., |kept| !is_wanted(kept)) {
            info!(host = kept.host, port = kept.port, "Gateway removed");
            let connector = Arc::clone(&kept.connector);
            let end = tokio::spawn(async move { connector.retire(drain).await });
            self.retiring.push((Arc::clone(&kept.connector), end));
        }
    }

    fn keep(&mut self, route: &Route, plan: &TunnelPlan) {
        let settings = settings(plan);
        let known = self.kept.iter().find(|kept| (kept.host.as_str(), kept.port) == (route.host.as_str(), route.port));
        if let Some(kept) = known {
            return kept.connector.change(route.clone(), settings);
        }
        let connector = Connector::new(route.clone(), settings, self.incoming.clone(), self.served.clone(), dice::draw);
        let run = tokio::spawn(Arc::clone(&connector).run());
        self.kept.push(Kept { host: route.host.clone(), port: route.port, connector, run });
    }
}

impl Live {
    /// Instances without a session, by name; the address where none was reached at all.
    pub(crate) fn lacking(&self) -> Vec<String> {
        self.0.load().iter().flat_map(|connector| connector.lacking()).collect()
    }

    /// How many sessions stand with each instance.
    pub(crate) fn sessions(&self) -> BTreeMap<String, u32> {
        let mut all = BTreeMap::new();
        for (instance, sessions) in self.0.load().iter().flat_map(|connector| connector.live()) {
            *all.entry(instance).or_default() += u32::try_from(sessions).unwrap_or(u32::MAX);
        }
        all
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.run.abort();
    }
}

fn settings(plan: &TunnelPlan) -> Settings {
    Settings {
        me: plan.me.clone(),
        tls: Arc::clone(&plan.tls),
        role_of,
        intercepted_by: describe_untrusted,
        sessions: plan.sessions,
        lanes: plan.lanes,
    }
}
