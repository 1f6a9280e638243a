//! `connection-point.toml`, read: what was typed becomes what it means, with every problem named at once.
//!
//! A configuration that exists is one that a connection point can start with: the files in it were read, the snapshot was parsed,
//! the verifier and every TLS configuration were made once. What works but deserves a look is a finding, which `check` tells.
mod dial;
mod server_tls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::{ConnectionPointFile, LogFile};
use cmg_core::ids::{ConnectionPointId, EndpointId, Role};
use cmg_core::problem::{Finding, Problem};
use cmg_core::snapshot::Parts;
use cmg_core::time::WallTime;
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::tunnel_client;
use cmg_standalone::{AtStart, Reading, address, connection_point_parts, expiry, tunnel};
use cmg_tunnel::connector::Route;
use rustls::ClientConfig;

use crate::state::now;

/// What a connection point works by, out of its file.
pub struct Config {
    /// This connection point, as its role certificate names it.
    pub me: ConnectionPointId,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether other machines may reach that address.
    pub metrics_public: bool,
    /// How long requests in flight are waited for.
    pub drain: Duration,
    /// What is logged, and how.
    pub log: LogFile,
    /// What this connection point shows to gateways.
    pub role: RoleIdentity,
    /// Roots of the infrastructure authority, DER.
    pub infrastructure: Vec<Vec<u8>>,
    /// Where the gateways are.
    pub routes: Vec<Route>,
    /// Multiplexed connections to each gateway instance.
    pub sessions: usize,
    /// Idle lanes each way on each of them.
    pub lanes: usize,
    /// Revocation lists that are out of date, and refuse clients.
    pub overdue_lists: Vec<Finding>,
    /// What the snapshot is made of.
    pub parts: Parts,
    /// How TLS is spoken with the servers of each endpoint that has `https` servers.
    pub server_tls: BTreeMap<EndpointId, Arc<ClientConfig>>,
}

impl Config {
    /// Reads the file at `path` and every file that it names, or tells all that is wrong with them.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        examine(path).map(|(config, _)| config)
    }

    /// What wants a restart to be changed.
    pub(crate) fn at_start(&self) -> AtStart {
        AtStart::new(&[
            ("name", &self.me),
            ("metrics_listen", &self.metrics_listen),
            ("metrics_public", &self.metrics_public),
            ("drain", &self.drain),
            ("log.format", &self.log.format),
            ("tunnel.certificate", &self.role.key.cert),
            ("tunnel.authority", &self.infrastructure),
            ("tunnel.gateways", &self.routes.iter().map(|route| (&route.host, route.port)).collect::<Vec<_>>()),
            ("tunnel.connections", &self.sessions),
            ("tunnel.lanes", &self.lanes),
            ("tunnel.proxy", &dial::fingerprint(&self.routes)),
        ])
    }
}

/// Reads the file at `path` as a connection point would, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let (config, mut found) = examine(path)?;
    found.extend(findings(&config, now()));
    Ok(found)
}

/// The configuration, and what is to be known about its snapshot and its servers.
fn examine(path: &Path) -> Result<(Config, Vec<Finding>), Vec<Problem>> {
    let (mut reading, file) = Reading::open::<ConnectionPointFile>(path);
    let Some(file) = file else { return reading.finish(None) };
    let parts = connection_point_parts(&file, &mut reading);
    let mut findings = reading.judge(&parts);
    let config = config(&file, parts, &mut findings, &mut reading);
    reading.finish(config.map(|config| (config, findings)))
}

fn config(file: &ConnectionPointFile, parts: Parts, findings: &mut Vec<Finding>, reading: &mut Reading) -> Option<Config> {
    let me = ConnectionPointId::new(&file.name);
    let role = tunnel::role(&Role::ConnectionPoint(me.clone()), &file.tunnel.certificate, &file.tunnel.key, reading);
    let infrastructure = tunnel::authority(&file.tunnel.authority, &parts, reading);
    let metrics_listen = address::metrics(&file.metrics_listen, file.metrics_public, "127.0.0.1:9181", reading);
    let (sessions, lanes) = dial::connections(&file.tunnel, reading);
    let config = Config {
        me,
        routes: dial::routes(&file.tunnel, reading),
        sessions,
        lanes,
        server_tls: server_tls::read(&file.endpoint, &parts.deliveries, findings, reading),
        metrics_listen: metrics_listen?,
        metrics_public: file.metrics_public,
        drain: file.drain.time(),
        log: file.log.clone(),
        role: role?,
        infrastructure: infrastructure?,
        overdue_lists: reading.overdue_lists(&parts, now()),
        parts,
    };
    reading.keep_all(tunnel_client(config.role.clone(), &config.infrastructure)).map(|_| config)
}

fn findings(config: &Config, now: WallTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.metrics_public && !config.metrics_listen.ip().is_loopback() {
        findings.push(Finding::new("metrics_listen", "other machines read the metrics without logging in"));
    }
    findings.extend(expiry::findings("tunnel.certificate", &config.role.key.cert, now));
    findings.extend(expiry::findings("tunnel.authority", &config.infrastructure, now));
    findings.extend(expiry::of_trusts(&config.parts, now));
    findings.extend(config.overdue_lists.iter().cloned());
    findings
}
