//! `[[endpoint]]`: what is published. What is not listed does not exist.
//!
//! The gateway's list and the connection point's are separate files that say the same: the connection point believes
//! its own. The keys that both have are written once, in the macro, and not gathered with `serde(flatten)`, because
//! that would let unknown keys pass.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::text::{Duration, Size};
use crate::trust::TokenKind;

macro_rules! with_published_keys {
    ($(#[$attribute:meta])* $name:ident { $($own:tt)* }) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// The name that travels in the tunnel; unique, and the same in both files.
            pub id: String,
            /// External host name.
            pub host: String,
            /// A port of its own on the gateway, for agents that send no server name. Default none: the public port.
            /// Clients only; reported as a finding, since such a port is one more door.
            pub port: Option<u16>,
            /// ConfigMgr form, with `name`: the site system's number, which is above 2^53 and therefore stays text.
            /// Published are `/CCM_Proxy_MutualAuth/<role_id>/<name>` and `/CCM_Proxy_ServerAuth/<role_id>/<name>`
            /// as `face` allows.
            pub role_id: Option<String>,
            /// ConfigMgr form, with `role_id`: the last part of the path, such as `ccm_system`.
            pub name: Option<String>,
            /// Plain form: the path under which the server appears, `/` for the whole host name.
            pub prefix: Option<String>,
            /// The credential that a client must show. No default, because this is the decision.
            pub face: Face,
            /// Has to stand beside `face = "open"`, so that nobody publishes to everybody by one word.
            #[serde(default)]
            pub open_acknowledged: bool,
            /// The `[trust.*]` that client certificates are checked against. Needed for `mutual` and `either`.
            pub trust: Option<String>,
            /// Kinds of token that are accepted. Needed for `server` and `either`. Default none.
            #[serde(default)]
            pub token_kinds: Vec<TokenKind>,
            /// What a token's `aud` may be. Needed for `server` and `either`. Default none.
            #[serde(default)]
            pub audiences: Vec<String>,
            /// Whether devices register here. Default false. Bulk tokens count only where this is true.
            #[serde(default)]
            pub registration: bool,
            /// Whether the server sees the client's token. Default false, lest one published server replay it at
            /// another.
            #[serde(default)]
            pub forward_token: bool,
            /// Whether tokens have to be bound to a key that the client proves to have with every request (RFC 9449), which is
            /// checked inside too. Default `if-bound`: where the token says so. `required` wants `face = "server"`.
            #[serde(default)]
            pub proof: ProofDemand,
            /// Methods that pass, any token. Default: those of HTTP, WebDAV reading, and the two that management
            /// agents add (`CCM_POST`, `BITS_POST`); not `CONNECT` and `TRACE`, which are for proxies.
            #[serde(default = "methods")]
            pub methods: Vec<String>,
            /// The longest request body in bytes. Default `32MiB`: holds an inventory report, and is no place to
            /// store things.
            #[serde(default = "body_limit")]
            pub body_limit: Size,
            /// Without a byte either way for this long, the exchange ends. Default `60s`, which is what servers and
            /// proxies commonly wait; longer for requests that are parked.
            #[serde(default = "idle")]
            pub idle: Duration,
            /// The longest that an exchange may take; `0s` is unlimited. Default `15m`: a large download on a slow
            /// line, and an end for what was forgotten.
            #[serde(default = "total")]
            pub total: Duration,
            /// Whether a connection may become a WebSocket. Default true: a server that has none refuses by itself.
            #[serde(default = "upgrade")]
            pub upgrade: bool,
            /// Whether clients may speak HTTP/2. Default false: management agents do not, and reason phrases are
            /// lost in it. Offered only where every endpoint of the host name allows it.
            #[serde(default)]
            pub h2: bool,
            $($own)*
        }
    };
}

with_published_keys! {
    /// `[[endpoint]]` of a gateway: no internal name and no address.
    EndpointFile {}
}

with_published_keys! {
    /// `[[endpoint]]` of a connection point: the published keys, and the servers behind.
    ServedEndpointFile {
        /// Servers that do the same work: scheme, host, port and base path. What follows the external prefix is
        /// appended byte for byte.
        pub servers: Vec<String>,
        /// Which of several servers a request goes to. Default `none`: any that is healthy.
        #[serde(default)]
        pub stickiness: Stickiness,
        /// The `Host` that the server sees: `internal`, `external` or a name. Default `internal` for the ConfigMgr
        /// form, where servers answer to their own name only, and `external` for the plain form, where they write
        /// links with it.
        pub host_header: Option<String>,
        /// Root certificates, PEM, for `https` servers. Default none, which trusts no server.
        #[serde(default)]
        pub server_authorities: Vec<PathBuf>,
        /// Client certificate with chain, PEM, that is shown to the server. Default none.
        pub server_certificate: Option<PathBuf>,
        /// The key of `server_certificate`, PEM, mode 0600.
        pub server_key: Option<PathBuf>,
        /// Whether the servers are management points of the site: they are shown the connection point's role certificate, and
        /// believed by the infrastructure authority under their names. Then no other certificates are named here. Default false.
        #[serde(default)]
        pub management_point: bool,
        /// How long a server may take to accept a connection, TLS included. Default `5s`: servers are near.
        #[serde(default = "connect_time")]
        pub connect_time: Duration,
        /// How to find out that a server is well. Default none: a failed connection tells.
        pub health: Option<HealthFile>,
        /// Header fields that tell the server who the client is: header name = what it carries. Carried are
        /// `subject`, `common_name`, `issuer`, `serial`, `thumbprint`, `thumbprint_sha256`, `san`, `verify`,
        /// `not_after`, `token_subject`, `token_kind`, `token_id` and `claim:<name>`. Every spelling of these names
        /// that a client sends itself is removed. Default none.
        #[serde(default)]
        pub identity_headers: BTreeMap<String, String>,
        /// Whether the server gets `Client-Cert` and `Client-Cert-Chain` (RFC 9440). Default false: few servers
        /// read them, and they are long.
        #[serde(default)]
        pub client_cert_header: bool,
        /// Whether the server learns the client's address, and how. Default `none`, because it is personal data.
        #[serde(default)]
        pub forwarded: Forwarded,
        /// The header field with the request id that all logs share; empty for none. Default `X-Request-Id`.
        #[serde(default = "request_id_header")]
        pub request_id_header: String,
        /// Whether a `Location` that names an internal server is turned into the published name. Default true,
        /// since the client could not follow it. What cannot be turned is answered 502 either way.
        #[serde(default = "map_redirects")]
        pub map_redirects: bool,
    }
}

impl ServedEndpointFile {
    /// The keys that the gateway's file has too.
    pub fn published(&self) -> EndpointFile {
        let own = self.clone();
        EndpointFile {
            id: own.id,
            host: own.host,
            port: own.port,
            role_id: own.role_id,
            name: own.name,
            prefix: own.prefix,
            face: own.face,
            open_acknowledged: own.open_acknowledged,
            trust: own.trust,
            token_kinds: own.token_kinds,
            audiences: own.audiences,
            registration: own.registration,
            forward_token: own.forward_token,
            proof: own.proof,
            methods: own.methods,
            body_limit: own.body_limit,
            idle: own.idle,
            total: own.total,
            upgrade: own.upgrade,
            h2: own.h2,
        }
    }
}

/// The credential that an endpoint demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Face {
    /// A client certificate.
    Mutual,
    /// A bearer token.
    Server,
    /// One of the two.
    Either,
    /// None. Also wants `open_acknowledged = true`, and is reported as a finding.
    Open,
}

/// Which proofs of possession an endpoint wants beside its tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProofDemand {
    /// Where the token is bound to something.
    #[default]
    IfBound,
    /// Always: a token that is not bound to a key does not count.
    Required,
}

/// How a request finds its server among several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Stickiness {
    /// Each request for itself.
    #[default]
    None,
    /// The requests of one client go to one server while it is healthy.
    Client,
}

/// How a server learns the client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Forwarded {
    /// Not at all.
    #[default]
    None,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    XForwarded,
}

/// `health`: a request that a connection point sends to each server by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HealthFile {
    /// Path and query, from the root of the server.
    pub path: String,
    /// From one request to the next. Default `10s`.
    #[serde(default = "interval")]
    pub interval: Duration,
    /// Default `GET`.
    #[serde(default = "get")]
    pub method: String,
    /// Statuses of a server that is well. Default 200; 401 too where the server wants a credential that the
    /// connection point does not have.
    #[serde(default = "expect")]
    pub expect: Vec<u16>,
}

pub(crate) fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "CCM_POST", "BITS_POST"].map(str::to_owned).into()
}

pub(crate) const fn body_limit() -> Size {
    Size::mebibytes(32)
}

pub(crate) const fn idle() -> Duration {
    Duration::seconds(60)
}

pub(crate) const fn total() -> Duration {
    Duration::minutes(15)
}

pub(crate) const fn upgrade() -> bool {
    true
}

pub(crate) const fn connect_time() -> Duration {
    Duration::seconds(5)
}

pub(crate) fn request_id_header() -> String {
    "X-Request-Id".to_owned()
}

pub(crate) const fn map_redirects() -> bool {
    true
}

const fn interval() -> Duration {
    Duration::seconds(10)
}

fn get() -> String {
    "GET".to_owned()
}

fn expect() -> Vec<u16> {
    vec![200]
}
