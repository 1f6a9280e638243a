//! `connection-point.toml`, read: what was typed becomes what it means, with every problem named at once.
//!
//! A configuration that exists is one that a connection point can start with: the files in it were read, the snapshot was parsed,
//! the verifier and every TLS configuration were made once. What works but deserves a look is a finding, which `check` tells.
mod dial;
pub(crate) mod enrolled;
mod machine;
mod server_tls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cmg_api::ConnectionPointFile;
use cmg_core::ids::{ConnectionPointId, EndpointId, Role};
use cmg_core::problem::{Finding, Problem};
use cmg_core::snapshot::Parts;
use cmg_core::time::WallTime;
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::{Believed, RevokedMembers, tunnel_client};
use cmg_standalone::{AtStart, Reading, connection_point_parts, expiry, tunnel};
use rustls::ClientConfig;

use crate::state::now;

pub use crate::tunnels::TunnelPlan;
pub use machine::Machine;

/// What a connection point works by, out of its file.
pub struct Config {
    /// What belongs to the machine.
    pub machine: Machine,
    /// Where the gateways are, and how connections to them are made.
    pub tunnel: TunnelPlan,
    /// What this connection point shows to gateways.
    pub role: RoleIdentity,
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
        let [metrics_listen, metrics_public, drain, format] = self.machine.at_start();
        AtStart::new(&[("name", &self.tunnel.me), metrics_listen, metrics_public, drain, format])
    }
}

/// Reads the file at `path` as a connection point would, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    if enrolled::is_enrolled(path) {
        return enrolled::check(path);
    }
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
    let machine = Machine::of_file(file, reading);
    let (sessions, lanes) = dial::connections(&file.tunnel, reading);
    let routes = dial::routes(&file.tunnel, reading);
    let revoked: RevokedMembers = file.tunnel.revoked_members.iter().map(|digest| digest.0).collect();
    let believed = infrastructure.as_deref().map(|roots| Believed { roots, revoked: revoked.clone() });
    let membership = role.as_ref().zip(believed);
    let server_tls = server_tls::read(&file.endpoint, &parts.deliveries, membership, findings, reading);
    let overdue_lists = reading.overdue_lists(&parts, now());
    let (role, infrastructure) = (role?, infrastructure?);
    let believed = Believed { roots: &infrastructure, revoked: revoked.clone() };
    let tls = reading.keep_all(tunnel_client(role.clone(), believed))?;
    let tunnel = TunnelPlan { me, tls, infrastructure, revoked, routes, sessions, lanes };
    Some(Config { machine: machine?, tunnel, role, overdue_lists, parts, server_tls })
}

fn findings(config: &Config, now: WallTime) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.machine.metrics_public && !config.machine.metrics_listen.ip().is_loopback() {
        findings.push(Finding::new("metrics_listen", "other machines read the metrics without logging in"));
    }
    findings.extend(expiry::findings("tunnel.certificate", &config.role.key.cert, now));
    findings.extend(expiry::findings("tunnel.authority", &config.tunnel.infrastructure, now));
    findings.extend(expiry::of_trusts(&config.parts, now));
    findings.extend(config.overdue_lists.iter().cloned());
    findings
}
