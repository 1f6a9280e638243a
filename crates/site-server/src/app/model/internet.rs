//! What must hold of everything that clients are told: boundary groups, internet-based services, settings.

use std::collections::{BTreeMap, BTreeSet};

use cmg_api::device::LONGEST_WAIT;
use cmg_api::resource::{ClientSettings, Resource, ServerRoute};
use cmg_api::text::Duration;
use cmg_core::boundary::Network;
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::{Check, is_host_and_port};

/// The one name of the settings.
const DEFAULT: &str = "default";

/// Most bytes of the settings for one agent, so that a policy stays of a size that every client takes in.
const LARGEST_AGENT: usize = 256 << 10;

/// The longest time that anything in the settings may take.
const LONGEST: Duration = Duration::days(365);

impl Check<'_> {
    pub(super) fn boundary_groups(&mut self) {
        let model = self.model;
        for group in model.boundary_groups.values() {
            let key = format!("boundary-groups/{}", group.name);
            for (place, network) in group.networks.iter().enumerate().filter(|(_, network)| network.0.parse::<Network>().is_err()) {
                let what = format!("\"{}\" is no network", network.0);
                self.problem(format!("{key}.networks[{place}]"), what, "write ADDRESS/BITS such as 10.1.0.0/16, or one address");
            }
            for (place, name) in group.site_systems.iter().enumerate().filter(|(_, name)| !model.management_points.contains_key(*name)) {
                self.names_one_of(format!("{key}.site_systems[{place}]"), name, &model.site_systems);
            }
            for (place, name) in group.gateways.iter().enumerate() {
                self.names_one_of(format!("{key}.gateways[{place}]"), name, &model.gateways);
            }
            for (place, name) in group.internet_servers.iter().enumerate() {
                self.names_one_of(format!("{key}.internet_servers[{place}]"), name, &model.internet_servers);
            }
            for (place, name) in group.fallback.iter().enumerate() {
                self.names_one_of(format!("{key}.fallback[{place}]"), name, &model.boundary_groups);
                if *name == group.name {
                    self.problem(format!("{key}.fallback[{place}]"), "a group does not fall back to itself", "name another, or remove it");
                }
            }
        }
    }

    pub(super) fn internet_servers(&mut self) {
        let model = self.model;
        let own = model.management_points.values();
        let own = own.map(|point| (format!("{}:{}", point.host.to_ascii_lowercase(), point.port), &*point.name));
        let mut taken: BTreeMap<String, &str> = own.collect();
        for server in model.internet_servers.values() {
            let key = format!("internet-servers/{}", server.name);
            self.site(format!("{key}.site"), &server.site);
            self.authorities(&key, &server.authorities);
            if model.gateways.contains_key(&server.name) {
                self.problem(format!("{key}.name"), "a gateway has this name too", "give each internet-based service a name of its own");
            }
            for (place, url) in server.management_points.iter().enumerate() {
                let key = format!("{key}.management_points[{place}]");
                let Some(authority) = web_authority(url) else {
                    self.no_url(key, url);
                    continue;
                };
                if let Some(other) = taken.insert(authority, &server.name) {
                    let instead = "give each a host or a port of its own, by which management points know through what a client comes";
                    self.problem(key, format!("\"{other}\" has this host and port already"), instead);
                }
            }
            for (name, routes) in &server.servers {
                let key = format!("{key}.servers.{name}");
                self.names_one_of(key.clone(), name, &model.site_systems);
                self.routes(&key, routes);
            }
        }
    }

    fn routes(&mut self, key: &str, routes: &[ServerRoute]) {
        let mut seen = BTreeSet::new();
        for (place, route) in routes.iter().enumerate() {
            let key = format!("{key}[{place}]");
            if !route.path.starts_with('/') || route.path.contains(['?', '#', ' ']) {
                self.problem(
                    format!("{key}.path"),
                    format!("\"{}\" is no path", route.path),
                    "write one that begins with /, such as /wiki",
                );
            }
            if !seen.insert(&route.path) {
                self.problem(format!("{key}.path"), "it is there already", "write each path once");
            }
            if web_authority(&route.url).is_none() {
                self.no_url(format!("{key}.url"), &route.url);
            }
        }
    }

    fn no_url(&mut self, key: String, url: &str) {
        let what = format!("\"{url}\" is no address of a web server with TLS");
        self.problem(key, what, "write https://HOST or https://HOST:PORT, and a path behind it where there is one");
    }

    /// Roots that clients believe a service by.
    pub(super) fn authorities(&mut self, key: &str, authorities: &[String]) {
        for (place, pem) in authorities.iter().enumerate() {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            let is_right = found.is_ok_and(|found| !found.is_empty() && found.iter().all(|der| certificate_facts(der).is_ok()));
            if !is_right {
                let key = format!("{key}.authorities[{place}]");
                self.problem(key, "it is no certificate", "write a root certificate as PEM, or leave the key out for public authorities");
            }
        }
    }

    pub(super) fn client_settings(&mut self) {
        let model = self.model;
        for settings in model.client_settings.values() {
            let key = format!("{}/{}", ClientSettings::PLURAL, settings.name);
            if settings.name != DEFAULT {
                self.problem(format!("{key}.name"), "there is one for all clients", "call it default");
            }
            if !(1..=1_000).contains(&settings.leave_after_errors) {
                self.problem(
                    format!("{key}.leave_after_errors"),
                    format!("{} does not fit", settings.leave_after_errors),
                    "write 1 to 1000",
                );
            }
            for (name, value, least, most) in bounds(settings) {
                if !(least.time()..=most.time()).contains(&value.time()) {
                    self.problem(format!("{key}.{name}"), format!("{value} does not fit"), format!("write {least} to {most}"));
                }
            }
            for (name, size) in
                settings.agents.iter().map(|(name, value)| (name, value.to_string().len())).filter(|(_, size)| *size > LARGEST_AGENT)
            {
                let what = format!("it has {size} bytes, more than {LARGEST_AGENT}");
                self.problem(format!("{key}.agents.{name}"), what, "give the agent an address to read it from");
            }
        }
    }
}

/// Every time in the settings, with the least and the most that it may be.
fn bounds(settings: &ClientSettings) -> [(&'static str, Duration, Duration, Duration); 8] {
    let (none, second, minute) = (Duration::seconds(0), Duration::seconds(1), Duration::minutes(1));
    [
        ("leave_within", settings.leave_within, second, LONGEST),
        ("avoid_for", settings.avoid_for, none, LONGEST),
        ("spread", settings.spread, none, Duration::days(1)),
        ("policy_every", settings.policy_every, minute, LONGEST),
        ("location_every", settings.location_every, minute, LONGEST),
        ("heartbeat_every", settings.heartbeat_every, minute, LONGEST),
        ("inventory_every", settings.inventory_every, minute, LONGEST),
        ("notification_wait", settings.notification_wait, second, Duration::seconds(LONGEST_WAIT)),
    ]
}

/// Host with port, in lower case, of an `https` address without query; none: it is none.
fn web_authority(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").filter(|rest| rest.is_ascii() && !rest.contains(['?', '#', '@', ' ', '\\']))?;
    let authority = rest.split('/').next().unwrap_or_default().to_ascii_lowercase();
    let has_port = !authority.ends_with(']') && authority.contains(':');
    let authority = if has_port { authority } else { format!("{authority}:443") };
    is_host_and_port(&authority).then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::model::Model;

    fn keys(resources: &[(&str, &str)]) -> Vec<String> {
        let mut model = Model { own_site: "LAB".to_owned(), ..Model::default() };
        for (kind, body) in resources {
            model.take(kind, body).unwrap();
        }
        model.problems().into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn an_address_is_https_a_host_and_perhaps_a_port_and_a_path() {
        assert_eq!(web_authority("https://IBCM.example.com/a/").as_deref(), Some("ibcm.example.com:443"));
        assert_eq!(web_authority("https://[2001:db8::1]:8443").as_deref(), Some("[2001:db8::1]:8443"));
        assert_eq!(web_authority("https://[2001:db8::1]").as_deref(), Some("[2001:db8::1]:443"));
        for wrong in ["http://a.example", "https://", "https://a b", "https://a@b.example", "https://a?b", "https://a:0", "a.example"] {
            assert_eq!(web_authority(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_an_internet_server_is_told_at_once() {
        let dmz = r#"{"name":"dmz","authorities":["x"],"management_points":["http://a.example","https://b.example","https://B.example:443/x"],
            "servers":{"none":[{"path":"wiki","url":"ftp://a"}]}}"#;
        let main = ("gateway", r#"{"name":"main","host":"cmg.example"}"#);

        assert_eq!(
            keys(&[main, ("internet-server", dmz), ("internet-server", r#"{"name":"main"}"#)]),
            [
                "internet-servers/dmz.authorities[0]",
                "internet-servers/dmz.management_points[0]",
                "internet-servers/dmz.management_points[2]",
                "internet-servers/dmz.servers.none",
                "internet-servers/dmz.servers.none[0].path",
                "internet-servers/dmz.servers.none[0].url",
                "internet-servers/main.name",
            ]
        );
    }

    #[test]
    fn an_internet_server_does_not_stand_under_a_management_points_own_address() {
        let point = ("management-point", r#"{"name":"mp1","host":"mp1.corp.example"}"#);

        let problems = keys(&[point, ("internet-server", r#"{"name":"dmz","management_points":["https://mp1.corp.example:8446"]}"#)]);

        assert_eq!(problems, ["internet-servers/dmz.management_points[0]"]);
    }

    #[test]
    fn settings_are_called_default_and_within_bounds() {
        assert_eq!(keys(&[("client-settings", r#"{"name":"default"}"#)]), [""; 0]);
        let wrong = r#"{"name":"other","leave_after_errors":0,"policy_every":"1s","notification_wait":"16m"}"#;
        let expected =
            ["name", "leave_after_errors", "policy_every", "notification_wait"].map(|key| format!("client-settings/other.{key}"));
        assert_eq!(keys(&[("client-settings", wrong)]), expected);
    }

    #[test]
    fn a_boundary_group_names_management_points_and_internet_servers_too() {
        let group = r#"{"name":"vpn","site_systems":["mp1","none"],"internet_servers":["dmz","none"]}"#;
        let point = ("management-point", r#"{"name":"mp1","host":"mp1.corp.example"}"#);

        let problems = keys(&[point, ("internet-server", r#"{"name":"dmz"}"#), ("boundary-group", group)]);

        assert_eq!(problems, ["boundary-groups/vpn.site_systems[1]", "boundary-groups/vpn.internet_servers[1]"]);
    }
}
