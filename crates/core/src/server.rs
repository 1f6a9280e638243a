//! How a connection point delivers a request to a server inside, and what it changes in the answer. Internal names exist here and
//! nowhere at the gateway.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use crate::endpoint::Endpoint;
use crate::ids::EndpointId;
use crate::refusal::Refusal;

/// How one endpoint's requests are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Servers that can answer; at least one.
    pub servers: Vec<ServerUrl>,
    /// Whether one client stays with one server.
    pub sticky: bool,
    /// The Host that servers see.
    pub host_header: HostHeader,
    /// Longest time to connect to a server.
    pub connect_time: Duration,
    /// How servers are probed; none: they count as healthy until a connection fails.
    pub health: Option<Health>,
    /// Headers that tell the server who is asking.
    pub identity_headers: Vec<(String, IdentityField)>,
    /// Whether `Client-Cert` and `Client-Cert-Chain` (RFC 9440) are sent.
    pub client_cert_header: bool,
    /// How the server learns the client's address and the external name.
    pub forwarded: Forwarded,
    /// Whether the server learns the URL that the client asked for, in `X-Original-URL`.
    pub original_url: bool,
    /// Header that carries the request id; none: it is not sent.
    pub request_id_header: Option<String>,
    /// Whether internal names in `Location`, `Content-Location` and cookies are mapped back; otherwise they are refused.
    pub map_redirects: bool,
    /// Hosts besides the published ones that a redirect may name.
    pub redirect_hosts: Vec<String>,
}

/// The Host header for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostHeader {
    /// The server's own name.
    Internal,
    /// The name the client used.
    External,
    /// This name.
    Given(String),
}

/// How the client's address is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// Not at all.
    None,
    /// `Forwarded` (RFC 7239).
    Standard,
    /// `X-Forwarded-For`, `-Host`, `-Proto`.
    XForwarded,
}

/// A health probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Request method.
    pub method: String,
    /// Path, from the server's root.
    pub path: String,
    /// Time between probes.
    pub interval: Duration,
    /// Statuses that mean healthy.
    pub expect: Vec<u16>,
}

/// What an identity header carries.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the fields of CertificateFacts and TokenFacts")]
pub enum IdentityField {
    Subject,
    CommonName,
    Issuer,
    Serial,
    Thumbprint,
    ThumbprintSha256,
    AlternativeNames,
    /// `SUCCESS` for a verified certificate or token, `NONE` for an open endpoint.
    Verify,
    NotAfter,
    TokenSubject,
    TokenKind,
    TokenId,
    /// One claim of the token.
    Claim(String),
}

impl IdentityField {
    /// The field called `name` in a configuration file.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "subject" => Self::Subject,
            "common_name" => Self::CommonName,
            "issuer" => Self::Issuer,
            "serial" => Self::Serial,
            "thumbprint" => Self::Thumbprint,
            "thumbprint_sha256" => Self::ThumbprintSha256,
            "san" => Self::AlternativeNames,
            "verify" => Self::Verify,
            "not_after" => Self::NotAfter,
            "token_subject" => Self::TokenSubject,
            "token_kind" => Self::TokenKind,
            "token_id" => Self::TokenId,
            _ => Self::Claim(name.strip_prefix("claim:").filter(|claim| !claim.is_empty())?.to_string()),
        })
    }
}

/// Where a server is: scheme, host, port and base path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerUrl {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Host name or address, lower-case; IPv6 addresses without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Base path without its final slash; empty: the root.
    pub base: String,
}

impl ServerUrl {
    /// Reads `http://host[:port][/base]` or `https://…`. The error says what to write instead.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let (https, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err("write http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]"),
        };
        let (authority, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_authority(authority).ok_or("write HOST, HOST:PORT, or [IPV6]:PORT after ://")?;
        if base.bytes().any(|byte| byte <= b' ' || byte >= 0x7f || b"?#\\".contains(&byte)) {
            return Err("write a path without query, fragment or blanks");
        }
        let base = base.trim_end_matches('/').to_string();
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Ok(Self { https, host: host.to_ascii_lowercase(), port, base })
    }

    /// Host and port as a Host header says them.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// The request target for this server: the base path, then what followed the external prefix, byte for byte.
    pub fn push_target(&self, rest: &[u8], target: &mut Vec<u8>) {
        target.extend_from_slice(self.base.as_bytes());
        if self.base.is_empty() && rest.first() != Some(&b'/') {
            target.push(b'/');
        }
        target.extend_from_slice(rest);
    }
}

/// Splits `host[:port]` or `[ipv6][:port]`.
fn split_authority(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let ok = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if host.is_empty() || !host.bytes().all(ok) {
        return None;
    }
    match port {
        Some(port) => Some((host, Some(port.parse().ok().filter(|port| *port != 0)?))),
        None => Some((host, None)),
    }
}

/// Names that servers believe, so that a client may not send them in any spelling: case, and any sign for the hyphen, since there are
/// servers that make one variable of `X-Name`, `X_Name` and `X.Name`.
#[derive(Clone, Debug, Default)]
pub struct ReservedNames {
    names: Vec<String>,
}

/// Who the client is, and what makes a server take another path, another way out or another length than what was checked.
const ALWAYS_RESERVED: [&str; 16] = [
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-real-ip",
    "cmg-authorization",
    "x-arr-clientcert",
    "x-original-url",
    "x-rewrite-url",
    "proxy",
    "content-length",
    "transfer-encoding",
];

impl ReservedNames {
    /// The names of one delivery and those reserved everywhere.
    pub fn of(delivery: &Delivery) -> Self {
        let own = delivery.identity_headers.iter().map(|(name, _)| name.as_str()).chain(delivery.request_id_header.as_deref());
        let mut names: Vec<String> = ALWAYS_RESERVED.into_iter().chain(own).map(normal).collect();
        names.sort();
        names.dedup();
        Self { names }
    }

    /// Whether a field called `name` is dropped.
    pub fn contain(&self, name: &[u8]) -> bool {
        self.names
            .iter()
            .any(|reserved| reserved.len() == name.len() && reserved.bytes().zip(name).all(|(one, other)| one == normal_byte(*other)))
    }
}

fn normal(name: &str) -> String {
    name.bytes().map(|byte| char::from(normal_byte(byte))).collect()
}

fn normal_byte(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

/// Maps a URL in an answer from inside to outside.
#[derive(Clone, Copy, Debug)]
pub struct BackMap<'a> {
    /// The endpoint that answered.
    pub endpoint: &'a Endpoint,
    /// Its delivery.
    pub delivery: &'a Delivery,
    /// Host and port as the client wrote them.
    pub external: &'a str,
    /// The external prefix as the client wrote it.
    pub prefix: &'a str,
}

impl BackMap<'_> {
    /// The value to send for `Location` or `Content-Location`; none: as it is. An internal host that is not published is refused, and
    /// so is what only a browser reads as a URL with a host: it takes a backslash for a slash, drops tabs and knows `http:host`.
    pub fn location(&self, value: &str) -> Result<Option<String>, Refusal> {
        let before_query = &value[..value.find(['?', '#']).unwrap_or(value.len())];
        let has_control = value.starts_with(' ') || value.bytes().any(|byte| byte.is_ascii_control());
        if has_control || before_query.contains('\\') {
            return Err(Refusal::ServerNamesInternalHost);
        }
        if let Some(rest) = value.strip_prefix("//") {
            return self.absolute(rest, &format!("https://{rest}"));
        }
        if value.starts_with('/') {
            return Ok(self.path(value).filter(|_| self.delivery.map_redirects));
        }
        match value.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
            Some((_, rest)) if rest.starts_with("//") => self.absolute(&rest[2..], value),
            Some((scheme, _)) if always_has_a_host(scheme) => Err(Refusal::ServerNamesInternalHost),
            Some(_) | None => Ok(None),
        }
    }

    /// The value to send for `Refresh`; none: as it is. To browsers a blank ends the time too.
    pub fn refresh(&self, value: &str) -> Result<Option<String>, Refusal> {
        const ENDS: [char; 4] = [';', ',', ' ', '\t'];

        let Some(end_of_time) = value.find(ENDS) else { return Ok(None) };
        let (time, rest) = value.split_at(end_of_time);
        let rest = rest.trim_start_matches(ENDS);
        let named = rest.get(..3).filter(|name| name.eq_ignore_ascii_case("url")).and_then(|_| rest[3..].trim_start().strip_prefix('='));
        let url = named.unwrap_or(rest).trim().trim_matches(['"', '\'']);
        Ok(self.location(url)?.map(|url| format!("{time}; url={url}")))
    }

    /// The value to send for `Link`; none: as it is.
    pub fn links(&self, value: &str) -> Result<Option<String>, Refusal> {
        let mut mapped = String::new();
        let mut changed = false;
        let mut rest = value;
        while let Some((before, (url, after))) = rest.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?))) {
            let to = self.location(url.trim())?;
            changed |= to.is_some();
            mapped.extend([before, "<", to.as_deref().unwrap_or(url), ">"]);
            rest = after;
        }
        mapped.push_str(rest);
        Ok(changed.then_some(mapped))
    }

    /// A path from the server's root.
    fn path(&self, path: &str) -> Option<String> {
        let rest = self.delivery.servers.iter().find_map(|server| below(&server.base, path))?;
        let mapped = format!("{}{rest}", self.prefix);
        (mapped != path).then_some(mapped)
    }

    fn absolute(&self, rest: &str, whole: &str) -> Result<Option<String>, Refusal> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.eq_ignore_ascii_case(self.external) || self.may_name(authority) {
            return Ok(None);
        }
        let is_plain = whole.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
        let url = ServerUrl::parse(&format!("{}{authority}", if is_plain { "http://" } else { "https://" }))
            .map_err(|_| Refusal::ServerNamesInternalHost)?;
        let server = |server: &&ServerUrl| server.host == url.host && server.port == url.port;
        let below_base = self.delivery.servers.iter().filter(server).find_map(|server| below(&server.base, path));
        match below_base {
            Some(path) if self.delivery.map_redirects => Ok(Some(format!("https://{}{}{path}", self.external, self.prefix))),
            Some(_) | None => Err(Refusal::ServerNamesInternalHost),
        }
    }

    fn may_name(&self, authority: &str) -> bool {
        let host = split_authority(authority).map(|(host, _)| host).unwrap_or(authority);
        host.eq_ignore_ascii_case(&self.endpoint.host)
            || self.delivery.redirect_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// The value to send for `Set-Cookie`; none: as it is. A `Domain` that names a server becomes the external host name.
    pub fn cookie(&self, value: &str) -> Result<Option<String>, Refusal> {
        let external = split_authority(self.external).map(|(host, _)| host).unwrap_or(self.external);
        let mut changed = false;
        let mut parts: Vec<String> = Vec::new();
        for (place, part) in value.split(';').enumerate() {
            match part.split_once('=') {
                Some((name, domain)) if place > 0 && name.trim().eq_ignore_ascii_case("domain") => {
                    let domain = domain.trim().trim_start_matches('.').to_ascii_lowercase();
                    if domain == external || self.may_name(&domain) {
                        parts.push(part.to_string());
                    } else if self.delivery.map_redirects && self.delivery.servers.iter().any(|server| is_within(&server.host, &domain)) {
                        changed = true;
                        parts.push(format!(" Domain={external}"));
                    } else {
                        return Err(Refusal::ServerNamesInternalHost);
                    }
                }
                _ => parts.push(part.to_string()),
            }
        }
        Ok(changed.then(|| parts.join(";")))
    }
}

/// Whether this may be the scheme of a URL.
fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Schemes after which browsers read a host whether two slashes stand before it or not.
fn always_has_a_host(scheme: &str) -> bool {
    ["http", "https", "ws", "wss", "ftp", "file"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// What follows `base` in `path`, where `base` ends at a segment.
fn below<'p>(base: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(base)?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(rest)
}

/// Whether `host` is `domain` or a name below it.
fn is_within(host: &str, domain: &str) -> bool {
    host == domain || host.strip_suffix(domain).is_some_and(|start| start.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::{an_endpoint, plain};
    use alloc::vec;

    pub(crate) fn a_delivery(server: &str) -> Delivery {
        Delivery {
            endpoint: EndpointId::new("app"),
            servers: vec![ServerUrl::parse(server).expect("a server URL")],
            sticky: false,
            host_header: HostHeader::External,
            connect_time: Duration::from_secs(5),
            health: None,
            identity_headers: vec![("X-Client-DN".to_string(), IdentityField::Subject)],
            client_cert_header: false,
            forwarded: Forwarded::None,
            original_url: false,
            request_id_header: Some("X-Request-Id".to_string()),
            map_redirects: true,
            redirect_hosts: vec!["login.example".to_string()],
        }
    }

    #[test]
    fn server_urls_are_read() {
        let url = ServerUrl::parse("https://MP1.corp.example:8443/ccm_system/").expect("a server URL");

        assert_eq!((url.https, url.host.as_str(), url.port, url.base.as_str()), (true, "mp1.corp.example", 8443, "/ccm_system"));
        assert_eq!(ServerUrl::parse("http://[::1]/x").expect("an IPv6 URL").authority(), "[::1]");
        for wrong in ["ftp://x", "http://", "http://a:0", "http://a:x", "http://a b", "http://a/b?c", "a.example"] {
            assert!(ServerUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_follows_the_prefix_is_appended_byte_for_byte() {
        for (server, rest, expected) in [
            ("http://a/ccm_system", "/request?MPLIST", "/ccm_system/request?MPLIST"),
            ("http://a/base", "?x={$}", "/base?x={$}"),
            ("http://a", "", "/"),
            ("http://a", "?x", "/?x"),
            ("http://a/", "/a%20b", "/a%20b"),
        ] {
            let mut target = vec![];
            ServerUrl::parse(server).expect("a server URL").push_target(rest.as_bytes(), &mut target);

            assert_eq!(target, expected.as_bytes());
        }
    }

    #[test]
    fn reserved_names_are_known_in_every_spelling() {
        let reserved = ReservedNames::of(&a_delivery("http://a"));

        for name in [
            "X-Client-DN",
            "x_client_dn",
            "X-CLIENT_dn",
            "client-cert",
            "Client_Cert_Chain",
            "x-request-id",
            "X_Forwarded_For",
            "X.Client.DN",
            "Transfer_Encoding",
        ] {
            assert!(reserved.contain(name.as_bytes()), "{name}");
        }
        assert!(!reserved.contain(b"X-Client-Name") && !reserved.contain(b"X-Client-D."));
    }

    #[test]
    fn locations_are_mapped_back_or_refused() {
        let endpoint = an_endpoint("app", plain("/app"));
        let delivery = a_delivery("http://web1.corp.example:8080/site");
        let map = BackMap { endpoint: &endpoint, delivery: &delivery, external: "cmg.example:8443", prefix: "/app" };

        for (from, to) in [
            ("http://web1.corp.example:8080/site/login?x", Ok(Some("https://cmg.example:8443/app/login?x"))),
            ("/site/login", Ok(Some("/app/login"))),
            ("login", Ok(None)),
            ("login?back=C:\\page", Ok(None)),
            ("https://cmg.example:8443/app/x", Ok(None)),
            ("https://cmg.example/elsewhere", Ok(None)),
            ("https://login.example/authorize", Ok(None)),
            ("http://web1.corp.example:8080/admin", Err(Refusal::ServerNamesInternalHost)),
            ("http://web2.corp.example/site/x", Err(Refusal::ServerNamesInternalHost)),
            ("//web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("http://user@web1.corp.example:8080/site/", Err(Refusal::ServerNamesInternalHost)),
            ("/\\web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("http:web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("ftp://web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("ftp:web2.corp.example", Err(Refusal::ServerNamesInternalHost)),
            ("smb://web2/share", Err(Refusal::ServerNamesInternalHost)),
            ("/\t/web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("ht\ttp://web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            (" //web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("\\\\web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("///web2.corp.example/x", Err(Refusal::ServerNamesInternalHost)),
            ("wss://login.example/ws", Ok(None)),
            ("com.example.app:/signed-in", Ok(None)),
            ("mailto:desk@example.com", Ok(None)),
            ("login?next=ftp://x", Ok(None)),
        ] {
            assert_eq!(map.location(from).as_ref().map(|value| value.as_deref()), to.as_ref().map(|value| *value), "{from}");
        }
    }

    #[test]
    fn refresh_and_links_are_mapped_like_locations() {
        let endpoint = an_endpoint("app", plain("/app"));
        let delivery = a_delivery("http://web1.corp.example:8080/site");
        let map = BackMap { endpoint: &endpoint, delivery: &delivery, external: "cmg.example", prefix: "/app" };
        let refused = Err(Refusal::ServerNamesInternalHost);

        assert_eq!(map.refresh("5"), Ok(None));
        assert_eq!(map.refresh("5; url=next"), Ok(None));
        assert_eq!(map.refresh("0;URL = '/site/login'"), Ok(Some("0; url=/app/login".to_string())));
        assert_eq!(map.refresh("1, http://web1.corp.example:8080/site/x"), Ok(Some("1; url=https://cmg.example/app/x".to_string())));
        assert_eq!(map.refresh("0 ; url=/site/login"), Ok(Some("0; url=/app/login".to_string())));
        assert_eq!(map.refresh("0 url=http://web2.corp.example/"), refused);
        assert_eq!(map.refresh("0; url=http://web2.corp.example/"), refused);
        assert_eq!(map.links("<next>; rel=next"), Ok(None));
        assert_eq!(
            map.links("<a>; rel=up, < http://web1.corp.example:8080/site/b >; rel=next, </site/c>; title=\"c\""),
            Ok(Some("<a>; rel=up, <https://cmg.example/app/b>; rel=next, </app/c>; title=\"c\"".to_string()))
        );
        assert_eq!(map.links("<a>; rel=up, <http://web2.corp.example/b>; rel=next"), refused);
    }

    #[test]
    fn cookie_domains_are_mapped_back_or_refused() {
        let endpoint = an_endpoint("app", plain("/app"));
        let delivery = a_delivery("http://web1.corp.example:8080/site");
        let map = BackMap { endpoint: &endpoint, delivery: &delivery, external: "cmg.example:8443", prefix: "/app" };

        assert_eq!(map.cookie("a=b; Path=/"), Ok(None));
        assert_eq!(map.cookie("a=domain=x; Domain=.corp.example; Secure"), Ok(Some("a=domain=x; Domain=cmg.example; Secure".to_string())));
        assert_eq!(map.cookie("a=b; domain=other.internal"), Err(Refusal::ServerNamesInternalHost));
    }

    #[test]
    fn without_mapping_an_internal_name_is_refused_and_nothing_is_changed() {
        let endpoint = an_endpoint("app", plain("/app"));
        let delivery = Delivery { map_redirects: false, ..a_delivery("http://web1.corp.example:8080/site") };
        let map = BackMap { endpoint: &endpoint, delivery: &delivery, external: "cmg.example:8443", prefix: "/app" };

        assert_eq!(map.location("http://web1.corp.example:8080/site/login"), Err(Refusal::ServerNamesInternalHost));
        assert_eq!(map.cookie("a=b; Domain=corp.example"), Err(Refusal::ServerNamesInternalHost));
        assert_eq!(map.location("/site/login"), Ok(None));
        assert_eq!(map.location("https://cmg.example/x"), Ok(None));
    }
}
