//! Under which addresses clients reach this management point, out of the policy that they have.
//!
//! A proof of possession names the URL that the client asked for. Of a stranger only the `Host` field says which that was, so it has to be
//! one of the addresses that the site has told clients: the management point's own, or one of an internet-facing server.

use std::collections::BTreeMap;

use cmg_api::device::Through;
use cmg_api::policy::{Policy, ServiceKind};

/// The addresses by host and port, as they stand in `Host`.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// Where strangers come: through what, and the URL that paths are appended to.
    strangers: BTreeMap<String, (Through, String)>,
    /// Gateways by the host names that they serve the management point under.
    gateways: BTreeMap<String, String>,
}

impl Addresses {
    /// Those of the management point `me`.
    pub(crate) fn of(policy: &Policy, me: &str) -> Self {
        let mut addresses = Self::default();
        for service in &policy.services {
            for url in &service.management_points {
                match service.kind {
                    ServiceKind::Cmg => _ = addresses.gateways.insert(host(url), service.name.clone()),
                    ServiceKind::Ibcm => addresses.add(Through::Ibcm(service.name.clone()), url),
                }
            }
        }
        // Last, so that nothing stands in the place of its own.
        for own in policy.management_points.iter().filter(|point| point.name == me) {
            addresses.add(Through::Intranet, &own.url);
        }
        addresses
    }

    fn add(&mut self, through: Through, url: &str) {
        self.strangers.insert(authority(url), (through, url.trim_end_matches('/').to_owned()));
    }

    /// Through what a stranger comes that asks `host` for `path`, and the URL that it has asked for; none: nobody is told that name.
    pub(crate) fn stranger(&self, host: &str, path: &str) -> Option<(Through, String)> {
        let (through, base) = self.strangers.get(&authority(host))?;
        Some((through.clone(), format!("{base}{path}")))
    }

    /// Through which gateway somebody comes that asked for `url`. One that the policy does not name is called by its host.
    pub(crate) fn gateway(&self, url: &str) -> Through {
        let host = host(url);
        Through::Cmg(self.gateways.get(&host).cloned().unwrap_or(host))
    }
}

/// The host of a URL, in lower case, whatever the port.
fn host(url: &str) -> String {
    let authority = authority(url);
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    host.map(|(host, _)| host.to_owned()).unwrap_or(authority)
}

/// Host and port of a URL or of a `Host` field, in lower case, without the port that everybody knows.
fn authority(url: &str) -> String {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let host = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    host.strip_suffix(":443").map(str::to_owned).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::a_policy;

    #[test]
    fn a_stranger_has_come_through_what_its_host_names() {
        let addresses = Addresses::of(&a_policy(), "mp1");
        let found = |host: &str| addresses.stranger(host, "/cmg/v1/policy");

        let intranet = Some((Through::Intranet, "https://mp1.corp.example:8446/cmg/v1/policy".to_owned()));
        assert_eq!(found("MP1.corp.example:8446"), intranet);
        let through = Some((Through::Ibcm("dmz".to_owned()), "https://ibcm.example.com/inside/cmg/v1/policy".to_owned()));
        assert_eq!([found("ibcm.example.com"), found("ibcm.example.com:443")], [through.clone(), through]);
        for nobodys in ["mp1.corp.example", "mp2.corp.example:8446", "ibcm.example.com:444", "cmg.example.com", ""] {
            assert_eq!(found(nobodys), None, "{nobodys}");
        }
    }

    #[test]
    fn a_gateway_is_known_by_the_url_that_the_client_asked_for() {
        let addresses = Addresses::of(&a_policy(), "mp1");

        for url in ["https://CMG.example.com/cmg/v1/policy", "https://cmg.example.com:8443/cmg/v1/policy"] {
            assert_eq!(addresses.gateway(url), Through::Cmg("main".to_owned()));
        }
        assert_eq!(addresses.gateway("https://other.example.com/cmg/v1/policy"), Through::Cmg("other.example.com".to_owned()));
    }
}
