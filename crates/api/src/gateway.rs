//! `gateway.toml`: one gateway instance.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bytes::Sha256;
use crate::defaults;
use crate::endpoint::EndpointFile;
use crate::limits::LimitsFile;
use crate::log::LogFile;
use crate::text::Duration;
use crate::trust::{BlockFile, EntraTenantFile, TokenKeyFile, TrustFile};

/// The whole of `gateway.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayFile {
    /// The instance's name, the same as in its role certificate.
    pub name: String,
    /// Addresses and ports that the public and the connection points reach, such as `0.0.0.0:443` and `[::]:443`.
    pub listen: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9180`: for this machine only.
    #[serde(default = "defaults::gateway_metrics")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false, since nobody logs in there.
    #[serde(default)]
    pub metrics_public: bool,
    /// Networks whose connections must begin with PROXY protocol v2: the load balancers in front. Default none.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
    /// How long SIGTERM waits for requests in flight. Default `30s`, which service managers wait too.
    #[serde(default = "defaults::drain")]
    pub drain: Duration,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
    /// `[service]`
    #[serde(default)]
    pub service: ServiceFile,
    /// `[tunnel]`
    pub tunnel: TunnelEndFile,
    /// `[[certificate]]`, chosen by the server name that the client asks for; the first is the default.
    pub certificate: Vec<CertificateFile>,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsFile,
    /// `[trust.NAME]`. Default none, which is right where clients have tokens only.
    #[serde(default)]
    pub trust: BTreeMap<String, TrustFile>,
    /// `[[block]]`. Default none.
    #[serde(default)]
    pub block: Vec<BlockFile>,
    /// Files with one block a line: `thumbprint HEX`, `serial HEX`, `serial HEX ISSUER` or `token ID`. Default none.
    #[serde(default)]
    pub block_lists: Vec<PathBuf>,
    /// `[[token_key]]`. Default none, which is right where clients have certificates only.
    #[serde(default)]
    pub token_key: Vec<TokenKeyFile>,
    /// `[[entra_tenant]]`. Default none: nobody is told anything.
    #[serde(default)]
    pub entra_tenant: Vec<EntraTenantFile>,
    /// `[[endpoint]]`. Default none, which publishes nothing.
    #[serde(default)]
    pub endpoint: Vec<EndpointFile>,
}

/// `[service]`: what stands behind the name that clients use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceFile {
    /// The names of all gateway instances, told to connection points, which dial until they hold a tunnel to each.
    /// Default none: this instance is the only one.
    pub instances: Vec<String>,
    /// The names of the connection points that may connect. Default: every one with a role certificate of the infrastructure
    /// authority. One that is left out loses its tunnels at the next reload.
    pub connection_points: Option<Vec<String>>,
}

/// What becomes of a connection point that withholds the newest configuration from a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenWithheld {
    /// It is told, and carries requests as before.
    #[default]
    Serve,
    /// It is told, and after 30 seconds carries requests only for endpoints that no other connection point serves.
    Avoid,
}

impl WhenWithheld {
    /// Whether it is the default, which older members do not know by name.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `[tunnel]` of a gateway: how it proves itself to connection points and recognises them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelEndFile {
    /// Role certificate of this instance with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
    /// The infrastructure authority, PEM. Never an authority for clients too.
    pub authority: PathBuf,
    /// SHA-256 of role certificates that count no more although they have not ended. Default none. A tunnel of one ends at the next
    /// reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_members: Vec<Sha256>,
}

/// `[[certificate]]`: one server certificate, either `chain` and `key` or `pfx` and `password_file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFile {
    /// Certificate and issuing certificates, PEM.
    pub chain: Option<PathBuf>,
    /// The key, PEM, mode 0600.
    pub key: Option<PathBuf>,
    /// Both in one PKCS#12 file, mode 0600.
    pub pfx: Option<PathBuf>,
    /// A file with the password of `pfx` in its first line, mode 0600.
    pub password_file: Option<PathBuf>,
}
