//! What works, but deserves a look: host names without a certificate, certificates near their end, doors that stand open.
use std::net::IpAddr;

use cmg_core::problem::Finding;
use cmg_core::time::WallTime;
use cmg_credentials::ServerIdentity;
use cmg_credentials::facts::certificate_facts;
use cmg_standalone::expiry;

use super::Config;

pub(super) fn of(config: &Config, now: WallTime) -> Vec<Finding> {
    let mut findings = uncovered_hosts(config);
    if config.metrics_public && !config.metrics_listen.ip().is_loopback() {
        findings.push(Finding::new("metrics_listen", "other machines read the metrics without logging in"));
    }
    for (place, identity) in config.identities.iter().enumerate() {
        findings.extend(expiry::findings(&format!("certificate[{place}]"), &identity.key.cert, now));
    }
    findings.extend(expiry::findings("tunnel.certificate", &config.role.key.cert, now));
    findings.extend(expiry::findings("tunnel.authority", &config.infrastructure, now));
    findings.extend(expiry::of_trusts(&config.parts, now));
    findings
}

/// Published host names that no server certificate is for. A port of its own is there for agents that send no server name, so that
/// only the first certificate counts there.
fn uncovered_hosts(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, endpoint) in config.parts.endpoints.iter().enumerate() {
        let (shown, what) = match endpoint.port {
            None => (&config.identities[..], "no server certificate is for it, so clients will not believe this gateway"),
            Some(_) => (
                config.identities.get(..1).unwrap_or_default(),
                "the first server certificate is not for it, which agents that send no server name are shown",
            ),
        };
        if !shown.iter().any(|identity| covers(identity, &endpoint.host)) {
            findings.push(Finding::new(format!("endpoint[{place}].host"), format!("{}: {what}", endpoint.host)));
        }
    }
    findings
}

fn covers(identity: &ServerIdentity, host: &str) -> bool {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        let facts = identity.key.cert.first().and_then(|leaf| certificate_facts(leaf).ok());
        return facts.is_some_and(|facts| facts.alternative_names.contains(&format!("IP:{address}")));
    }
    let parent = host.split_once('.').map(|(_, parent)| parent);
    identity.names.iter().any(|name| match name.strip_prefix("*.") {
        Some(domain) => parent == Some(domain),
        None => name == host,
    })
}
