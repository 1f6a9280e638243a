//! What works, but deserves a look: host names without a certificate, certificates near their end, doors that stand open.
use std::net::IpAddr;

use cmg_core::problem::Finding;
use cmg_core::time::WallTime;
use cmg_credentials::ServerIdentity;
use cmg_credentials::facts::certificate_facts;
use cmg_standalone::expiry;

use super::{Config, Limits};

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
    findings.extend(config.overdue_lists.iter().cloned());
    let awaited = |name: &String| Finding::new("certificate", format!("\"{name}\" has not come from its ACME server yet"));
    findings.extend(config.acme.awaited.iter().map(awaited));
    findings.extend(crate::acme::finding(&config.acme));
    findings
}

/// Open files beside those of clients and their handshakes: tunnels with their lanes, listeners, log, metrics.
const OTHER_FILES: u64 = 1_024;

/// Whether the system lets the process have as many files open as `limits` may need. `allowed`: none is no limit.
pub(crate) fn open_files(limits: &Limits, allowed: Option<u64>) -> Option<Finding> {
    let wanted = (limits.connections + limits.handshakes) as u64 + OTHER_FILES;
    let allowed = allowed.filter(|allowed| *allowed < wanted)?;
    let what = format!(
        "{} connections, {} handshakes and the tunnels may need {wanted} open files, and the system allows {allowed}, so that clients \
         may be kept out before that many are there; raise the system's limit (LimitNOFILE, ulimit -Hn) or lower this one",
        limits.connections, limits.handshakes
    );
    Some(Finding::new("limits.connections", what))
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
