//! A published endpoint: one external address, and the servers behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::endpoint::{
    Face, Forwarded, HealthFile, ProofDemand, Stickiness, body_limit, connect_time, idle, map_redirects, methods, request_id_header, total,
    upgrade,
};
use crate::text::{Duration, Size};
use crate::trust::TokenKind;

/// A published endpoint. Its keys mean what they mean in a file (`docs/reference.md`); certificates stand here as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PublishedEndpoint {
    /// Its id, which travels in the tunnel.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The code of the site whose connection points serve it. Default: the site that the site server was set up with.
    #[serde(default)]
    pub site: Option<String>,
    /// Gateways that publish it, by name. Default empty: every gateway.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// External host name. Default: the service name of each gateway.
    #[serde(default)]
    pub host: Option<String>,
    /// A port of its own on gateways, for agents that send no server name. Default none: the public port.
    #[serde(default)]
    pub port: Option<u16>,
    /// ConfigMgr form: the site system's number, as text.
    #[serde(default)]
    pub role_id: Option<String>,
    /// ConfigMgr form: the last part of the path, such as `ccm_system`.
    #[serde(default)]
    pub path_name: Option<String>,
    /// Plain form: the path under which the server appears, `/` for the whole host name.
    #[serde(default)]
    pub prefix: Option<String>,
    /// The credential that a client must show.
    pub face: Face,
    /// Has to stand beside `face = "open"`.
    #[serde(default)]
    pub open_acknowledged: bool,
    /// Whose client certificates count, by the name of a trust.
    #[serde(default)]
    pub trust: Option<String>,
    /// Kinds of token that count. Default none.
    #[serde(default)]
    pub token_kinds: Vec<TokenKind>,
    /// What a token's `aud` may be. Default none.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Whether devices register here; bulk registration tokens count only where this is true. Default false.
    #[serde(default)]
    pub registration: bool,
    /// Whether the server sees the client's token. Default false.
    #[serde(default)]
    pub forward_token: bool,
    /// Whether tokens have to be bound to a key that the client proves to have with every request. Default `if-bound`.
    #[serde(default)]
    pub proof: ProofDemand,
    /// Methods that pass.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// The longest request body. Default `32MiB`.
    #[serde(default = "body_limit")]
    pub body_limit: Size,
    /// Without a byte either way for this long, the exchange ends. Default `60s`.
    #[serde(default = "idle")]
    pub idle: Duration,
    /// The longest that an exchange may take; `0s` is unlimited. Default `15m`.
    #[serde(default = "total")]
    pub total: Duration,
    /// Whether a connection may become a WebSocket. Default true.
    #[serde(default = "upgrade")]
    pub upgrade: bool,
    /// Whether clients may speak HTTP/2. Default false.
    #[serde(default)]
    pub h2: bool,
    /// Servers that do the same work: scheme, host, port and base path.
    pub servers: Vec<String>,
    /// Which of several servers a request goes to. Default `none`.
    #[serde(default)]
    pub stickiness: Stickiness,
    /// The `Host` that the server sees: `internal`, `external` or a name. Default: what fits the form.
    #[serde(default)]
    pub host_header: Option<String>,
    /// Root certificates for `https` servers, PEM. Default none, which trusts no server.
    #[serde(default)]
    pub server_authorities: Vec<String>,
    /// The certificate that is shown to the server, by the name of a certificate resource. Default none.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// Whether the servers are management points of the site: they are shown the connection point's role certificate, and believed by
    /// the infrastructure authority under their names. Default false.
    #[serde(default)]
    pub management_point: bool,
    /// How long a server may take to accept a connection. Default `5s`.
    #[serde(default = "connect_time")]
    pub connect_time: Duration,
    /// How to find out that a server is well. Default none.
    #[serde(default)]
    pub health: Option<HealthFile>,
    /// Header fields that tell the server who the client is. Default none.
    #[serde(default)]
    pub identity_headers: BTreeMap<String, String>,
    /// Whether the server gets `Client-Cert` (RFC 9440). Default false.
    #[serde(default)]
    pub client_cert_header: bool,
    /// Whether the server learns the client's address, and how. Default `none`.
    #[serde(default)]
    pub forwarded: Forwarded,
    /// The header field with the request id; empty for none. Default `X-Request-Id`.
    #[serde(default = "request_id_header")]
    pub request_id_header: String,
    /// Whether a `Location` that names an internal server is turned into the published name. Default true.
    #[serde(default = "map_redirects")]
    pub map_redirects: bool,
}
