//! `gateway.toml`, read: what was typed becomes what it means, with every problem named at once.
//!
//! A configuration that exists is one that a gateway can start with: the files in it were read, the snapshot was parsed, the
//! verifier and the TLS of the public ports were made once. What works but deserves a look is a finding, which `check` tells.
mod acme;
mod certificates;
pub(crate) mod enrolled;
pub(crate) mod findings;
mod limits;
mod tenants;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use cmg_api::{GatewayFile, LimitsFile, LogFile, WhenWithheld};
use cmg_core::entra::Tenants;
use cmg_core::ids::{ConnectionPointId, GatewayId, Role, is_name};
use cmg_core::problem::{Finding, Problem};
use cmg_core::snapshot::Parts;
use cmg_credentials::tls::{Believed, PublicTls, RevokedMembers};
use cmg_credentials::{RoleIdentity, ServerIdentity};
use cmg_standalone::{AtStart, Reading, address, gateway_parts, tunnel};
use cmg_transport::proxy_protocol::Network;

pub use acme::Acme;
use acme::OfSite;
pub use limits::Limits;

use crate::state::now;

const METRICS_EXAMPLE: &str = "127.0.0.1:9180";

/// What a gateway works by, out of its file.
pub struct Config {
    /// This instance, as its role certificate names it.
    pub name: GatewayId,
    /// Addresses of the public port; endpoints with a port of their own are served at the same addresses.
    pub listen: Vec<SocketAddr>,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether other machines may reach that address.
    pub metrics_public: bool,
    /// Networks whose connections begin with PROXY protocol version 2.
    pub proxy_protocol_from: Vec<Network>,
    /// How long requests in flight are waited for.
    pub drain: Duration,
    /// What is logged, and how.
    pub log: LogFile,
    /// Names of all instances of the service, this one among them.
    pub instances: Vec<String>,
    /// The connection points that may connect; none: every one with a role certificate.
    pub connection_points: Option<BTreeSet<ConnectionPointId>>,
    /// What becomes of a connection point that withholds the newest configuration of the site.
    pub when_withheld: WhenWithheld,
    /// What this instance shows to connection points.
    pub role: RoleIdentity,
    /// Roots of the infrastructure authority, DER.
    pub infrastructure: Vec<Vec<u8>>,
    /// Role certificates that count no more.
    pub revoked: RevokedMembers,
    /// Server certificates; the first is the default.
    pub identities: Vec<ServerIdentity>,
    /// What an ACME server may ask for.
    pub acme: Acme,
    /// What strangers may cost.
    pub limits: Limits,
    /// Revocation lists that are out of date, and refuse clients.
    pub overdue_lists: Vec<Finding>,
    /// What devices of Entra ID tenants are told.
    pub tenants: Tenants,
    /// What the snapshot is made of.
    pub parts: Parts,
}

impl Config {
    /// Reads the file at `path` and every file that it names, or tells all that is wrong with them.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        examine(path).map(|(config, _)| config)
    }

    /// Whom this gateway believes in tunnels.
    pub(crate) fn believed(&self) -> Believed<'_> {
        Believed { roots: &self.infrastructure, revoked: self.revoked.clone() }
    }

    /// What wants a restart to be changed.
    pub(crate) fn at_start(&self) -> AtStart {
        AtStart::new(&[
            ("name", &self.name),
            ("listen", &self.listen),
            ("acme_listen", &self.acme.listen),
            ("metrics_listen", &self.metrics_listen),
            ("metrics_public", &self.metrics_public),
            ("proxy_protocol_from", &self.proxy_protocol_from),
            ("drain", &self.drain),
            ("log.format", &self.log.format),
            ("log.client_address", &self.log.client_address),
        ])
    }
}

/// Reads the file at `path` as a gateway would, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    if enrolled::is_enrolled(path) {
        return enrolled::check(path);
    }
    examine(path).map(|(config, found)| with_others(&config, found))
}

/// What was found when the snapshot was judged, and what else there is to be known.
fn with_others(config: &Config, mut found: Vec<Finding>) -> Vec<Finding> {
    found.extend(findings::of(config, now()));
    found
}

fn examine(path: &Path) -> Result<(Config, Vec<Finding>), Vec<Problem>> {
    let (reading, file) = Reading::open::<GatewayFile>(path);
    let Some(file) = file else { return reading.finish(None) };
    of_file(&file, OfSite::default(), reading)
}

/// What `file` means, with what the site says besides.
fn of_file(file: &GatewayFile, of_site: OfSite, mut reading: Reading) -> Result<(Config, Vec<Finding>), Vec<Problem>> {
    let parts = gateway_parts(file, &mut reading);
    let findings = reading.judge(&parts);
    let config = config(file, of_site, parts, &mut reading);
    reading.finish(config.map(|config| (config, findings)))
}

fn config(file: &GatewayFile, of_site: OfSite, parts: Parts, reading: &mut Reading) -> Option<Config> {
    let name = GatewayId::new(&file.name);
    let role = tunnel::role(&Role::Gateway(name.clone()), &file.tunnel.certificate, &file.tunnel.key, reading);
    let infrastructure = tunnel::authority(&file.tunnel.authority, &parts, reading);
    let identities = match of_site.instead {
        Some(identity) => vec![identity],
        None => certificates::read(&file.certificate, reading),
    };
    let listen = listen(&file.listen, reading);
    let metrics_listen = address::metrics(&file.metrics_listen, file.metrics_public, METRICS_EXAMPLE, reading);
    own_ports(&parts, &listen, metrics_listen, reading);
    places(&file.limits, &parts, &listen, reading);
    let config = Config {
        listen,
        proxy_protocol_from: networks(&file.proxy_protocol_from, reading),
        instances: instances(&file.name, &file.service.instances, reading),
        when_withheld: WhenWithheld::default(),
        connection_points: connection_points(file.service.connection_points.as_deref(), reading),
        limits: limits::read(&file.limits, reading),
        tenants: tenants::read(&file.entra_tenant, reading),
        acme: of_site.acme,
        name,
        metrics_listen: metrics_listen?,
        metrics_public: file.metrics_public,
        drain: file.drain.time(),
        log: file.log.clone(),
        role: role?,
        infrastructure: infrastructure?,
        revoked: file.tunnel.revoked_members.iter().map(|digest| digest.0).collect(),
        overdue_lists: reading.overdue_lists(&parts, now()),
        identities,
        parts,
    };
    let tls = PublicTls::new(config.identities.clone(), config.role.clone(), config.believed());
    reading.keep_all(tls).map(|_| config)
}

fn listen(texts: &[String], reading: &mut Reading) -> Vec<SocketAddr> {
    if texts.is_empty() {
        reading.problem("listen", "no address is named", "name at least one, such as 0.0.0.0:443 or [::]:443");
    }
    let mut addresses = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let key = format!("listen[{place}]");
        let Some(address) = address::socket(&key, text, "0.0.0.0:443 or [::]:443", reading) else { continue };
        if addresses.contains(&address) {
            reading.problem(key, format!("{address} is named twice"), "remove it here");
        }
        addresses.push(address);
    }
    addresses
}

/// A port can be opened for one thing only.
fn own_ports(parts: &Parts, listen: &[SocketAddr], metrics: Option<SocketAddr>, reading: &mut Reading) {
    let ports = parts.endpoints.iter().enumerate().filter_map(|(place, endpoint)| Some((place, endpoint.port?)));
    for (place, port) in ports {
        let key = format!("endpoint[{place}].port");
        if listen.iter().any(|address| address.port() == port) {
            reading.problem(key, format!("{port} is the public port"), "remove port, or write one that nothing else has");
        } else if metrics.is_some_and(|metrics| listen.iter().any(|at| clash(SocketAddr::new(at.ip(), port), metrics))) {
            reading.problem(key, format!("{port} is the port of metrics_listen"), "write one that nothing else has");
        }
    }
    if let Some(metrics) = metrics.filter(|metrics| listen.iter().any(|address| clash(*address, *metrics))) {
        reading.problem(
            "metrics_listen",
            format!("{metrics} is a public address"),
            format!("write another port, such as {METRICS_EXAMPLE}"),
        );
    }
}

/// Each listening socket keeps a place for the handshake of the next who comes; with no more places than sockets, some would never let
/// anybody in.
fn places(limits: &LimitsFile, parts: &Parts, listen: &[SocketAddr], reading: &mut Reading) {
    let own: BTreeSet<u16> = parts.endpoints.iter().filter_map(|endpoint| endpoint.port).collect();
    let sockets = listen.len() * (1 + own.len());
    if (1..=sockets).contains(&(limits.handshakes as usize)) {
        let what = format!("{} is too few for {sockets} listening sockets, each of which keeps one place free", limits.handshakes);
        reading.problem("limits.handshakes", what, format!("write {} or more, such as 2048", sockets + 1));
    }
}

/// Whether two listeners would have the same port of the same address. Port 0 is whatever is free.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let same_address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_address
}

fn networks(texts: &[String], reading: &mut Reading) -> Vec<Network> {
    let mut networks = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        match Network::parse(text) {
            Some(network) => networks.push(network),
            None => {
                let what = format!("\"{text}\" is no network");
                reading.problem(format!("proxy_protocol_from[{place}]"), what, "write ADDRESS/BITS such as 10.0.0.0/8, or one address");
            }
        }
    }
    networks
}

fn connection_points(names: Option<&[String]>, reading: &mut Reading) -> Option<BTreeSet<ConnectionPointId>> {
    let names = names?;
    for (place, name) in names.iter().enumerate().filter(|(_, name)| !is_name(name)) {
        let key = format!("service.connection_points[{place}]");
        reading.problem(key, format!("\"{name}\" is no name"), "write the name in that connection point's role certificate");
    }
    Some(names.iter().map(|name| ConnectionPointId::new(name)).collect())
}

fn instances(own: &str, names: &[String], reading: &mut Reading) -> Vec<String> {
    for (place, name) in names.iter().enumerate().filter(|(_, name)| !is_name(name)) {
        let key = format!("service.instances[{place}]");
        reading.problem(key, format!("\"{name}\" is no name"), "write the name in that instance's role certificate");
    }
    let mut instances = names.to_vec();
    if !instances.iter().any(|name| name == own) {
        instances.push(own.to_owned());
    }
    instances
}
