//! The whole configuration at one generation: parsed once, valid ever after.
//!
//! Whole, because a reader then never sees half a change. A generation, because equal is done, older is ignored, and nothing has
//! to be compared. A restore raises the epoch, so that the restored configuration wins over everything handed out before it.
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv6Addr;

use crate::endpoint::{Endpoint, Endpoints, Face, Mount, ProofDemand};
use crate::identity::TokenKind;
use crate::ids::is_name;
use crate::problem::{Finding, Problem};
use crate::revocation::{Lenience, WhenStale};
use crate::server::Delivery;
use crate::trust::{Block, TokenKey, Trust};

/// Which configuration this is. Later epochs win over every number of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation {
    /// Raised by a restore.
    pub epoch: u64,
    /// Raised by every change.
    pub number: u64,
}

/// The parts a snapshot is made of, as read and not yet checked.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// What is published.
    pub endpoints: Vec<Endpoint>,
    /// Trust policies.
    pub trusts: Vec<Trust>,
    /// Blocked certificates and tokens.
    pub blocks: Vec<Block>,
    /// Token keys.
    pub token_keys: Vec<TokenKey>,
    /// How requests are delivered; empty at a gateway.
    pub deliveries: Vec<Delivery>,
    /// Ids of endpoints whose face `open` the administrator has confirmed.
    pub open_acknowledged: Vec<String>,
}

/// A checked configuration.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Which one this is.
    pub generation: Generation,
    /// What is published.
    pub endpoints: Endpoints,
    /// Trust policies.
    pub trusts: Vec<Trust>,
    /// Blocked certificates and tokens.
    pub blocks: Vec<Block>,
    /// Token keys.
    pub token_keys: Vec<TokenKey>,
    /// How requests are delivered; empty at a gateway.
    pub deliveries: Vec<Delivery>,
    /// What an administrator should know.
    pub findings: Vec<Finding>,
}

impl Snapshot {
    /// Checks `parts`; every problem is named.
    pub fn parse(generation: Generation, parts: Parts) -> Result<Self, Vec<Problem>> {
        let mut check = Check { parts: &parts, problems: Vec::new(), findings: Vec::new() };
        check.all();
        let Check { problems, findings, .. } = check;
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            generation,
            endpoints: Endpoints::index(parts.endpoints),
            trusts: parts.trusts,
            blocks: parts.blocks,
            token_keys: parts.token_keys,
            deliveries: parts.deliveries,
            findings,
        })
    }
}

struct Check<'p> {
    parts: &'p Parts,
    problems: Vec<Problem>,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn all(&mut self) {
        self.ids();
        self.mounts();
        for (place, endpoint) in self.parts.endpoints.iter().enumerate() {
            self.endpoint(&format!("endpoint[{place}] ({})", endpoint.id), endpoint);
        }
        for trust in &self.parts.trusts {
            self.trust(trust);
        }
        self.token_keys();
    }

    fn problem(&mut self, key: String, what: impl Into<String>, instead: &str) {
        self.problems.push(Problem::new(key, what, instead));
    }

    fn finding(&mut self, key: String, what: &str) {
        self.findings.push(Finding::new(key, what));
    }

    fn ids(&mut self) {
        let mut seen = BTreeSet::new();
        for (place, endpoint) in self.parts.endpoints.iter().enumerate() {
            let key = format!("endpoint[{place}].id");
            if !is_name(endpoint.id.as_str()) {
                self.problem(
                    key.clone(),
                    format!("\"{}\" is no id", endpoint.id),
                    "write 1 to 64 letters, digits, dots, hyphens or underscores",
                );
            }
            if !seen.insert(&endpoint.id) {
                self.problem(key, format!("\"{}\" is used twice", endpoint.id), "give each endpoint an id of its own");
            }
        }
    }

    fn mounts(&mut self) {
        let mut seen = BTreeSet::new();
        for (place, endpoint) in self.parts.endpoints.iter().enumerate() {
            let mount = match &endpoint.mount {
                Mount::ConfigMgr { role_id, name } => format!("{role_id}/{name}"),
                Mount::Plain { prefix } => format!("prefix \"{prefix}\""),
            };
            let host = if endpoint.port.is_some() { "" } else { endpoint.host.as_str() };
            if !seen.insert((endpoint.port, host, mount)) {
                let what = "another endpoint is mounted at the same place";
                self.problem(format!("endpoint[{place}] ({})", endpoint.id), what, "change host, port, prefix, role_id or name");
            }
        }
    }

    fn endpoint(&mut self, key: &str, endpoint: &Endpoint) {
        self.host(key, endpoint);
        self.mount(key, endpoint);
        self.credentials(key, endpoint);
        for method in &endpoint.methods {
            if method.is_empty() || !method.bytes().all(is_token_byte) || method == "CONNECT" {
                self.problem(
                    format!("{key}.methods"),
                    format!("\"{method}\" is no method that can be published"),
                    "write a token such as GET or CCM_POST",
                );
            }
        }
        if endpoint.port.is_some() {
            self.finding(format!("{key}.port"), "a client-only port of its own: open it in the firewall of each gateway");
        }
        if endpoint.h2 && matches!(endpoint.mount, Mount::ConfigMgr { .. }) {
            self.problem(
                format!("{key}.h2"),
                "ConfigMgr clients need HTTP/1.1 reason phrases",
                "remove h2, or publish the plain form under another host name",
            );
        }
    }

    fn host(&mut self, key: &str, endpoint: &Endpoint) {
        let host = &endpoint.host;
        let ok = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
        let is_sound = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok() && *host == host.to_ascii_lowercase(),
            None => (1..=253).contains(&host.len()) && host.bytes().all(ok),
        };
        if !is_sound {
            self.problem(
                format!("{key}.host"),
                format!("\"{host}\" is no host name"),
                "write a lower-case DNS name, or an IPv6 address in brackets, without scheme, port or path",
            );
        }
    }

    fn mount(&mut self, key: &str, endpoint: &Endpoint) {
        match &endpoint.mount {
            Mount::ConfigMgr { role_id, name } => {
                if role_id.parse::<u64>().is_err() || role_id.starts_with('+') || (role_id.len() > 1 && role_id.starts_with('0')) {
                    self.problem(
                        format!("{key}.role_id"),
                        format!("\"{role_id}\" is no role id"),
                        "write the unsigned 64-bit decimal number in quotes",
                    );
                }
                if !is_name(name) {
                    self.problem(
                        format!("{key}.name"),
                        format!("\"{name}\" is no endpoint name"),
                        "write one path segment such as ccm_system",
                    );
                }
            }
            Mount::Plain { prefix } => self.prefix(key, prefix),
        }
    }

    fn prefix(&mut self, key: &str, prefix: &str) {
        let key = format!("{key}.prefix");
        let whole = format!("{prefix}/");
        let parsed = crate::target::Target::parse(whole.as_bytes());
        if parsed.is_err() || prefix.contains('?') || prefix.contains("//") || !(prefix.is_empty() || prefix.starts_with('/')) {
            self.problem(
                key,
                format!("\"{prefix}\" is no path prefix"),
                "write / or a path such as /updates, without query, dot segments or doubled slashes",
            );
        } else if prefix.to_ascii_lowercase().starts_with("/ccm_proxy_") {
            self.problem(key, "the ConfigMgr form is not written as a prefix", "write role_id and name");
        }
    }

    fn credentials(&mut self, key: &str, endpoint: &Endpoint) {
        let certificates = matches!(endpoint.face, Face::Mutual | Face::Either);
        let tokens = matches!(endpoint.face, Face::Server | Face::Either);
        match &endpoint.trust {
            Some(name) if !self.parts.trusts.iter().any(|trust| trust.name == *name) => {
                self.problem(format!("{key}.trust"), format!("there is no [trust.{name}]"), "name one of the [trust.NAME] tables");
            }
            None if certificates => {
                self.problem(
                    format!("{key}.trust"),
                    "this face takes client certificates",
                    "name the [trust.NAME] table to check them with",
                );
            }
            _ => {}
        }
        if tokens && endpoint.token_kinds.is_empty() {
            self.problem(format!("{key}.token_kinds"), "this face takes tokens", "list site, ccm, bulk, oidc-device or oidc-user");
        }
        if tokens && endpoint.audiences.is_empty() {
            self.problem(format!("{key}.audiences"), "this face takes tokens", "list the audiences that a token must be for");
        }
        if endpoint.token_kinds.contains(&TokenKind::Bulk) && !endpoint.registration {
            self.problem(
                format!("{key}.token_kinds"),
                "bulk tokens count on registration endpoints only",
                "remove bulk, or write registration = true",
            );
        }
        if endpoint.proof == ProofDemand::Required && endpoint.face != Face::Server {
            self.problem(
                format!("{key}.proof"),
                "required is said of tokens, and this face lets clients in without one",
                "write face = \"server\", or remove proof",
            );
        }
        if endpoint.face == Face::Open {
            self.open(key, endpoint);
        }
    }

    fn open(&mut self, key: &str, endpoint: &Endpoint) {
        let key = format!("{key}.face");
        if self.parts.open_acknowledged.iter().any(|id| id == endpoint.id.as_str()) {
            self.finding(key, "open: anybody on the internet reaches this server");
        } else {
            self.problem(
                key,
                "open lets anybody on the internet reach this server",
                "choose mutual, server or either, or add open_acknowledged = true",
            );
        }
    }

    fn trust(&mut self, trust: &Trust) {
        let key = format!("trust.{}", trust.name);
        if trust.authorities.is_empty() {
            self.problem(format!("{key}.authorities"), "no certificate authority", "name at least one root certificate file");
        }
        if !trust.revocation.check {
            self.finding(format!("{key}.check_revocation"), "off: revoked client certificates are let in");
        } else {
            match trust.revocation.stale {
                WhenStale::Deny => {}
                WhenStale::Grace { .. } => {
                    self.finding(
                        format!("{key}.stale_crl"),
                        "grace: certificates are believed for a while on an out-of-date revocation list",
                    );
                }
                WhenStale::Allow => {
                    self.finding(format!("{key}.stale_crl"), "allow: certificates are believed on an out-of-date revocation list");
                }
            }
            if trust.revocation.unknown == Lenience::Allow {
                self.finding(format!("{key}.unknown_crl"), "allow: certificates that no revocation list covers are let in");
            }
            if trust.lists.is_empty() && trust.revocation.unknown == Lenience::Deny {
                self.finding(format!("{key}.crls"), "empty: with unknown_crl = \"deny\" every client certificate is refused");
            }
        }
    }

    fn token_keys(&mut self) {
        for (place, key) in self.parts.token_keys.iter().enumerate() {
            if key.leeway > 300 {
                self.problem(format!("token_key[{place}].leeway"), format!("{} s is too long", key.leeway), "write 5m or less");
            }
            if key.algorithms.is_empty() {
                self.problem(
                    format!("token_key[{place}].algorithms"),
                    "empty",
                    "list the algorithms this key is used with, for example RS256",
                );
            }
        }
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Lower-cases a Host header and takes off port and final dot, so that it can be compared. An IPv6 address keeps its brackets, as
/// endpoints have them.
pub fn host_name(authority: &str) -> String {
    let end = match authority.strip_prefix('[') {
        Some(inside) => inside.find(']').map_or(authority.len(), |end| end + 2),
        None => authority.find(':').unwrap_or(authority.len()),
    };
    authority[..end].trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::{an_endpoint, configmgr, plain};
    use crate::ids::TrustName;
    use crate::revocation::RevocationPolicy;
    use alloc::string::ToString;
    use alloc::vec;

    fn parts(endpoints: Vec<Endpoint>) -> Parts {
        let trust = Trust {
            name: TrustName::new("devices"),
            authorities: vec![vec![0x30]],
            intermediates: vec![],
            lists: vec![vec![0x30]],
            revocation: RevocationPolicy::default(),
        };
        Parts { endpoints, trusts: vec![trust], ..Parts::default() }
    }

    fn problems(endpoint: Endpoint) -> Vec<String> {
        match Snapshot::parse(Generation::default(), parts(vec![endpoint])) {
            Ok(_) => vec![],
            Err(problems) => problems.into_iter().map(|problem| problem.key).collect(),
        }
    }

    #[test]
    fn a_sound_endpoint_is_taken() {
        assert!(problems(an_endpoint("mp", configmgr("ccm_system"))).is_empty());
    }

    #[test]
    fn each_wrong_key_is_named() {
        let sound = || an_endpoint("mp", configmgr("ccm_system"));
        let wrong: [(&str, Endpoint); 10] = [
            ("endpoint[0] (mp).host", Endpoint { host: "https://x".to_string(), ..sound() }),
            (
                "endpoint[0] (mp).role_id",
                Endpoint { mount: Mount::ConfigMgr { role_id: "7.2e16".to_string(), name: "x".to_string() }, ..sound() },
            ),
            ("endpoint[0] (mp).name", Endpoint { mount: configmgr("a/b"), ..sound() }),
            ("endpoint[0] (mp).prefix", Endpoint { mount: plain("/a/../b"), ..sound() }),
            ("endpoint[0] (mp).prefix", Endpoint { mount: plain("/CCM_Proxy_MutualAuth/1/x"), ..sound() }),
            ("endpoint[0] (mp).trust", Endpoint { trust: None, ..sound() }),
            ("endpoint[0] (mp).trust", Endpoint { trust: Some(TrustName::new("nobody")), ..sound() }),
            ("endpoint[0] (mp).methods", Endpoint { methods: vec!["A B".to_string()], ..sound() }),
            ("endpoint[0] (mp).h2", Endpoint { h2: true, ..sound() }),
            ("endpoint[0] (mp).proof", Endpoint { proof: ProofDemand::Required, ..sound() }),
        ];
        for (key, endpoint) in wrong {
            assert_eq!(problems(endpoint), [key]);
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let endpoint = Endpoint { trust: None, audiences: vec![], token_kinds: vec![], ..an_endpoint("mp", configmgr("ccm_system")) };

        assert_eq!(problems(endpoint).len(), 3);
    }

    #[test]
    fn two_endpoints_do_not_share_an_id_or_a_place() {
        let twice = parts(vec![an_endpoint("mp", configmgr("ccm_system")), an_endpoint("mp", configmgr("ccm_system"))]);

        let found = Snapshot::parse(Generation::default(), twice).expect_err("two of the same");

        assert_eq!(found.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["endpoint[1].id", "endpoint[1] (mp)"]);
    }

    #[test]
    fn open_must_be_asked_for_by_name_and_is_a_finding() {
        let open = Endpoint { face: Face::Open, ..an_endpoint("app", plain("")) };
        assert_eq!(problems(open.clone()), ["endpoint[0] (app).face"]);

        let acknowledged = Parts { open_acknowledged: vec!["app".to_string()], ..parts(vec![open]) };
        let snapshot = Snapshot::parse(Generation::default(), acknowledged).expect("acknowledged");

        assert!(snapshot.findings.iter().any(|finding| finding.key.ends_with(".face")));
    }

    #[test]
    fn bulk_tokens_are_for_registration_only() {
        let endpoint = Endpoint { token_kinds: vec![TokenKind::Bulk], ..an_endpoint("mp", configmgr("ccm_system")) };

        assert_eq!(problems(endpoint), ["endpoint[0] (mp).token_kinds"]);
    }

    #[test]
    fn a_later_epoch_wins_over_every_number() {
        assert!(Generation { epoch: 2, number: 1 } > Generation { epoch: 1, number: 99 });
    }

    #[test]
    fn host_headers_compare_without_port_case_and_final_dot() {
        for host in ["CMG.example", "cmg.example:443", "cmg.example."] {
            assert_eq!(host_name(host), "cmg.example");
        }
        assert_eq!(host_name("[::1]:443"), "[::1]");
    }

    #[test]
    fn an_ipv6_address_is_published_in_brackets() {
        let at = |host: &str| problems(Endpoint { host: host.to_string(), ..an_endpoint("mp", configmgr("ccm_system")) });

        assert!(at("[2001:db8::1]").is_empty());
        for host in ["2001:db8::1", "[cmg.example]", "[2001:DB8::1]", "cmg.example:443"] {
            assert_eq!(at(host), ["endpoint[0] (mp).host"], "{host}");
        }
    }
}
