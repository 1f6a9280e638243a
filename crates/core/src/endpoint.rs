//! What is published: the only way from a request to the inside. What is not published does not exist.
//!
//! Both ends hold the list. The gateway matches a request against it; the connection point matches the same target again in its
//! own copy, so a gateway that lies about the match gains nothing.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::identity::TokenKind;
use crate::ids::{EndpointId, TrustName};
use crate::refusal::Refusal;
use crate::snapshot::host_name;
use crate::target::Target;

/// One published endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name in the tunnel.
    pub id: EndpointId,
    /// External host name, lower-case, without a port; an IPv6 address in brackets.
    pub host: String,
    /// A client-only port of its own; none: the shared port.
    pub port: Option<u16>,
    /// Where on the host it is mounted.
    pub mount: Mount,
    /// Which credential it demands.
    pub face: Face,
    /// The trust policy its client certificates are checked with.
    pub trust: Option<TrustName>,
    /// Token kinds it accepts.
    pub token_kinds: Vec<TokenKind>,
    /// Token audiences it accepts.
    pub audiences: Vec<String>,
    /// Whether bulk registration tokens count here.
    pub registration: bool,
    /// Whether the server is shown the token.
    pub forward_token: bool,
    /// Whether its tokens have to be bound to a key.
    pub proof: ProofDemand,
    /// Methods, as the client must write them.
    pub methods: Vec<String>,
    /// Largest request body, in bytes.
    pub body_limit: u64,
    /// Longest time without a byte either way.
    pub idle: Duration,
    /// Longest time from head to the end of the answer; none: unlimited.
    pub total: Option<Duration>,
    /// Whether protocol upgrades (WebSocket) pass.
    pub upgrade: bool,
    /// Whether HTTP/2 may be spoken to its clients.
    pub h2: bool,
}

/// Where an endpoint is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// `/CCM_Proxy_MutualAuth/<role id>/<name>` and `/CCM_Proxy_ServerAuth/<role id>/<name>`, without regard to case.
    ConfigMgr {
        /// A 64-bit number above 2^53, kept as text.
        role_id: String,
        /// The endpoint's name, lower-case.
        name: String,
    },
    /// A path prefix without its final slash; empty: the whole host.
    Plain {
        /// The prefix, matched byte for byte.
        prefix: String,
    },
}

/// What an endpoint demands of its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// A client certificate.
    Mutual,
    /// A token.
    Server,
    /// One of both.
    Either,
    /// Nothing.
    Open,
}

/// Which proofs of possession an endpoint wants beside its tokens. Unlike a handshake they are checked inside too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofDemand {
    /// Where the token is bound to something.
    IfBound,
    /// Always: a token that is not bound to a key does not count.
    Required,
}

/// What one request must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A client certificate.
    Certificate,
    /// A token.
    Token,
    /// A token if one is sent, else a client certificate.
    TokenOrCertificate,
    /// Nothing.
    Nothing,
}

/// A request found its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'e> {
    /// The endpoint.
    pub endpoint: &'e Endpoint,
    /// What the request must show.
    pub demand: Demand,
    /// How many bytes of path the external prefix takes; what follows is the server's.
    pub prefix_len: usize,
}

/// The port of a URL that names none.
const HTTPS: u16 = 443;

const MUTUAL: &[u8] = b"ccm_proxy_mutualauth";
const SERVER: &[u8] = b"ccm_proxy_serverauth";

impl Endpoint {
    /// What a request at `path` must show, and how long the external prefix is; none: not this endpoint's.
    pub fn matches(&self, path: &[u8]) -> Option<(Demand, usize)> {
        match &self.mount {
            Mount::ConfigMgr { role_id, name } => self.matches_configmgr(path, role_id.as_bytes(), name.as_bytes()),
            Mount::Plain { prefix } => {
                let rest = path.strip_prefix(prefix.as_bytes())?;
                matches!(rest.first(), None | Some(b'/')).then_some((self.demand(), prefix.len()))
            }
        }
    }

    fn matches_configmgr(&self, path: &[u8], role_id: &[u8], name: &[u8]) -> Option<(Demand, usize)> {
        let (face, rest) = segment(path)?;
        let demand = match (self.face, face) {
            (Face::Mutual | Face::Either, face) if face.eq_ignore_ascii_case(MUTUAL) => Demand::Certificate,
            (Face::Server | Face::Either, face) if face.eq_ignore_ascii_case(SERVER) => Demand::Token,
            (Face::Open, face) if face.eq_ignore_ascii_case(MUTUAL) || face.eq_ignore_ascii_case(SERVER) => Demand::Nothing,
            _ => return None,
        };
        let (id, rest) = segment(rest)?;
        let (found, rest) = segment(rest)?;
        (id == role_id && found.eq_ignore_ascii_case(name)).then_some((demand, path.len() - rest.len()))
    }

    fn demand(&self) -> Demand {
        match self.face {
            Face::Mutual => Demand::Certificate,
            Face::Server => Demand::Token,
            Face::Either => Demand::TokenOrCertificate,
            Face::Open => Demand::Nothing,
        }
    }

    /// Host and port that a server may be told: what the client wrote where that names this endpoint, else the endpoint's host name. On
    /// a port of its own a client may write any Host, and a captured gateway may always; neither picks a virtual host inside.
    pub fn external<'a>(&'a self, authority: &'a [u8]) -> &'a str {
        let is_port = |port: &[u8]| (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
        match core::str::from_utf8(authority).ok().and_then(|text| Some((text, text.split_at_checked(self.host.len())?))) {
            Some((text, (host, ""))) if host.eq_ignore_ascii_case(&self.host) => text,
            Some((text, (host, rest)))
                if host.eq_ignore_ascii_case(&self.host) && rest.strip_prefix(':').is_some_and(|port| is_port(port.as_bytes())) =>
            {
                text
            }
            _ => &self.host,
        }
    }

    /// Checks the method, the protocol upgrade and a declared body length.
    pub fn admits(&self, method: &[u8], upgrade: bool, body: Option<u64>) -> Result<(), Refusal> {
        if !self.methods.iter().any(|allowed| allowed.as_bytes() == method) {
            return Err(Refusal::MethodNotAllowed);
        }
        if upgrade && !self.upgrade {
            return Err(Refusal::UpgradeNotAllowed);
        }
        match body {
            Some(length) if length > self.body_limit => Err(Refusal::BodyTooLarge),
            _ => Ok(()),
        }
    }
}

/// Splits `/first/rest` into `first` and `/rest`.
fn segment(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.strip_prefix(b"/")?;
    let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
    (end > 0).then(|| path.split_at(end))
}

/// Every published endpoint, indexed by where it is mounted. Made by [`crate::snapshot::Snapshot::parse`] only.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    all: Vec<Endpoint>,
    by_id: BTreeMap<EndpointId, usize>,
    shared: BTreeMap<String, Vec<usize>>,
    own_port: BTreeMap<u16, Vec<usize>>,
}

impl Endpoints {
    /// Indexes endpoints that were checked. Longer prefixes come first, so the first match is the best.
    pub(crate) fn index(mut all: Vec<Endpoint>) -> Self {
        all.sort_by_key(|endpoint| core::cmp::Reverse(mount_len(&endpoint.mount)));
        let mut endpoints = Self::default();
        for (place, endpoint) in all.iter().enumerate() {
            endpoints.by_id.insert(endpoint.id.clone(), place);
            match endpoint.port {
                Some(port) => endpoints.own_port.entry(port).or_default().push(place),
                None => endpoints.shared.entry(endpoint.host.clone()).or_default().push(place),
            }
        }
        endpoints.all = all;
        endpoints
    }

    /// Finds the endpoint of a request that came in on `port` with the host name `host` (lower-case, no port).
    pub fn find(&self, port: u16, host: &str, target: &Target<'_>) -> Result<Found<'_>, Refusal> {
        let places = match self.own_port.get(&port) {
            Some(places) => places,
            None => self.shared.get(host).ok_or(Refusal::NotPublished)?,
        };
        let path = target.path();
        places
            .iter()
            .map(|place| &self.all[*place])
            .find_map(|endpoint| endpoint.matches(path).map(|(demand, prefix_len)| Found { endpoint, demand, prefix_len }))
            .ok_or(Refusal::NotPublished)
    }

    /// The endpoint with this id.
    pub fn by_id(&self, id: &str) -> Option<&Endpoint> {
        self.by_id.get(id).map(|place| &self.all[*place])
    }

    /// Ports that endpoints have of their own.
    pub fn own_ports(&self) -> impl Iterator<Item = u16> {
        self.own_port.keys().copied()
    }

    /// Whether `port` belongs to endpoints of its own.
    pub fn is_own_port(&self, port: u16) -> bool {
        self.own_port.contains_key(&port)
    }

    /// Whether HTTP/2 may be offered: every endpoint that a connection with this port and server name can reach allows it.
    pub fn offers_h2(&self, port: u16, server_name: Option<&str>) -> bool {
        let places = match (self.own_port.get(&port), server_name) {
            (Some(places), _) => places,
            (None, Some(name)) => match self.shared.get(name) {
                Some(places) => places,
                None => return false,
            },
            (None, None) => return false,
        };
        places.iter().all(|place| self.all[*place].h2)
    }

    /// Whether a client may have meant `endpoint` by `authority`, the host and port that it wrote. On a port of its own an endpoint has any
    /// host name, and a port may be reached by another number; but an authority that names another place is not this one.
    pub fn may_be_at(&self, endpoint: &Endpoint, authority: &str) -> bool {
        let host = host_name(authority);
        let port = port_of(authority);
        match endpoint.port {
            Some(own) if own == port => true,
            Some(_) => {
                let is_shared = port == HTTPS && self.shared.contains_key(&host);
                !is_shared && !self.is_own_port(port)
            }
            None => !self.is_own_port(port) && host == endpoint.host,
        }
    }

    /// Whether a connection made for one host name may carry requests for the other: same name, or same trust policies.
    pub fn share_trust(&self, one: &str, other: &str) -> bool {
        one == other || (self.trusts_of(one).is_some() && self.trusts_of(one) == self.trusts_of(other))
    }

    fn trusts_of(&self, host: &str) -> Option<Vec<Option<&TrustName>>> {
        let mut trusts: Vec<_> = self.shared.get(host)?.iter().map(|place| self.all[*place].trust.as_ref()).collect();
        trusts.sort();
        trusts.dedup();
        Some(trusts)
    }
}

/// The port in an authority; 443 where it names none.
fn port_of(authority: &str) -> u16 {
    let (_, port) = authority.rsplit_once(':').unwrap_or_default();
    port.parse().unwrap_or(HTTPS)
}

fn mount_len(mount: &Mount) -> usize {
    match mount {
        Mount::ConfigMgr { role_id, name } => MUTUAL.len() + role_id.len() + name.len() + 3,
        Mount::Plain { prefix } => prefix.len(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;

    pub(crate) fn an_endpoint(id: &str, mount: Mount) -> Endpoint {
        Endpoint {
            id: EndpointId::new(id),
            host: "cmg.example".to_string(),
            port: None,
            mount,
            face: Face::Either,
            trust: Some(TrustName::new("devices")),
            token_kinds: vec![TokenKind::Site],
            audiences: vec!["urn:sccm:service".to_string()],
            registration: false,
            forward_token: false,
            proof: ProofDemand::IfBound,
            methods: vec!["GET".to_string(), "CCM_POST".to_string()],
            body_limit: 100,
            idle: Duration::from_secs(60),
            total: None,
            upgrade: false,
            h2: false,
        }
    }

    pub(crate) fn configmgr(name: &str) -> Mount {
        Mount::ConfigMgr { role_id: "72057594037937981".to_string(), name: name.to_string() }
    }

    pub(crate) fn plain(prefix: &str) -> Mount {
        Mount::Plain { prefix: prefix.to_string() }
    }

    fn find<'e>(endpoints: &'e Endpoints, raw: &str) -> Result<(&'e str, Demand, usize), Refusal> {
        let target = Target::parse(raw.as_bytes()).expect("a plain target");
        endpoints.find(443, "cmg.example", &target).map(|found| (found.endpoint.id.as_str(), found.demand, found.prefix_len))
    }

    #[test]
    fn the_configmgr_form_matches_without_regard_to_case() {
        let endpoints = Endpoints::index(vec![an_endpoint("mp", configmgr("ccm_system"))]);
        let mutual = "/CCM_PROXY_MutualAuth/72057594037937981/CCM_System";

        assert_eq!(find(&endpoints, &alloc::format!("{mutual}/request?x")), Ok(("mp", Demand::Certificate, mutual.len())));
        assert_eq!(find(&endpoints, "/ccm_proxy_serverauth/72057594037937981/ccm_system"), Ok(("mp", Demand::Token, 50)));
    }

    #[test]
    fn another_role_id_is_not_published_even_one_that_a_double_would_confuse() {
        let endpoints = Endpoints::index(vec![an_endpoint("mp", configmgr("ccm_system"))]);

        assert_eq!(find(&endpoints, "/CCM_Proxy_MutualAuth/72057594037937980/ccm_system/request"), Err(Refusal::NotPublished));
    }

    #[test]
    fn a_name_is_a_whole_segment() {
        let endpoints = Endpoints::index(vec![an_endpoint("mp", configmgr("ccm_system")), an_endpoint("files", plain("/files"))]);

        assert_eq!(find(&endpoints, "/CCM_Proxy_MutualAuth/72057594037937981/ccm_system_tokenauth/request"), Err(Refusal::NotPublished));
        assert_eq!(find(&endpoints, "/filesystem"), Err(Refusal::NotPublished));
        assert_eq!(find(&endpoints, "/files?list").map(|found| found.2), Ok(6));
    }

    #[test]
    fn the_longest_prefix_wins() {
        let endpoints = Endpoints::index(vec![an_endpoint("root", plain("")), an_endpoint("deep", plain("/a/b"))]);

        assert_eq!(find(&endpoints, "/a/b/c").map(|found| found.0), Ok("deep"));
        assert_eq!(find(&endpoints, "/a/bc").map(|found| found.0), Ok("root"));
    }

    #[test]
    fn a_face_that_is_not_offered_does_not_exist() {
        let mut endpoint = an_endpoint("mp", configmgr("ccm_system"));
        endpoint.face = Face::Mutual;
        let endpoints = Endpoints::index(vec![endpoint]);

        assert_eq!(find(&endpoints, "/CCM_Proxy_ServerAuth/72057594037937981/ccm_system"), Err(Refusal::NotPublished));
    }

    #[test]
    fn a_port_of_its_own_reaches_only_its_own_endpoints() {
        let mut own = an_endpoint("own", plain(""));
        own.port = Some(8444);
        let endpoints = Endpoints::index(vec![own, an_endpoint("shared", plain("/files"))]);
        let target = Target::parse(b"/files/x").expect("a plain target");

        assert_eq!(endpoints.find(8444, "192.0.2.1", &target).map(|found| found.endpoint.id.as_str()), Ok("own"));
        assert_eq!(endpoints.find(443, "cmg.example", &target).map(|found| found.endpoint.id.as_str()), Ok("shared"));
        assert_eq!(endpoints.find(443, "other.example", &target).map(|found| found.endpoint.id.as_str()), Err(Refusal::NotPublished));
    }

    #[test]
    fn h2_is_offered_only_where_every_endpoint_of_the_name_allows_it() {
        let mut modern = an_endpoint("modern", plain("/files"));
        modern.h2 = true;

        assert!(Endpoints::index(vec![modern.clone()]).offers_h2(443, Some("cmg.example")));
        assert!(!Endpoints::index(vec![modern, an_endpoint("mp", configmgr("ccm_system"))]).offers_h2(443, Some("cmg.example")));
    }

    #[test]
    fn methods_upgrades_and_lengths_are_checked() {
        let endpoint = an_endpoint("mp", configmgr("ccm_system"));

        assert_eq!(endpoint.admits(b"CCM_POST", false, Some(100)), Ok(()));
        assert_eq!(endpoint.admits(b"ccm_post", false, None), Err(Refusal::MethodNotAllowed));
        assert_eq!(endpoint.admits(b"GET", true, None), Err(Refusal::UpgradeNotAllowed));
        assert_eq!(endpoint.admits(b"CCM_POST", false, Some(101)), Err(Refusal::BodyTooLarge));
    }

    #[test]
    fn an_authority_that_names_another_place_is_not_this_one() {
        let mut own = an_endpoint("own", plain(""));
        own.port = Some(8443);
        let endpoints = Endpoints::index(vec![an_endpoint("shared", plain("")), own]);
        let at = |id, authority| endpoints.may_be_at(endpoints.by_id(id).expect("it is there"), authority);

        assert!(at("shared", "cmg.example") && at("shared", "CMG.example:443") && at("shared", "cmg.example:9443"));
        assert!(!at("shared", "cmg.example:8443") && !at("shared", "other.example"));
        assert!(at("own", "cmg.example:8443") && at("own", "[::1]:8443") && at("own", "other.example"));
        assert!(!at("own", "cmg.example") && !at("own", "cmg.example:443"));
    }

    #[test]
    fn host_names_share_a_connection_only_with_the_same_trust() {
        let mut other = an_endpoint("other", plain(""));
        other.host = "other.example".to_string();
        let mut foreign = an_endpoint("foreign", plain(""));
        foreign.host = "foreign.example".to_string();
        foreign.trust = Some(TrustName::new("partners"));
        let endpoints = Endpoints::index(vec![an_endpoint("mp", plain("")), other, foreign]);

        assert!(endpoints.share_trust("cmg.example", "other.example"));
        assert!(!endpoints.share_trust("cmg.example", "foreign.example"));
        assert!(!endpoints.share_trust("cmg.example", "unknown.example"));
    }

    #[test]
    fn a_server_is_told_the_published_name_whatever_host_a_client_writes() {
        let endpoint = an_endpoint("mp", plain(""));

        for written in ["cmg.example", "CMG.Example:8443"] {
            assert_eq!(endpoint.external(written.as_bytes()), written);
        }
        for written in ["", "secret.corp", "cmg.example.evil", "cmg.example:", "cmg.example:8443x", "cmg.example:123456", "\u{e9}", "cmg"] {
            assert_eq!(endpoint.external(written.as_bytes()), "cmg.example", "{written}");
        }
        assert_eq!(endpoint.external(b"\xff"), "cmg.example");
    }
}
