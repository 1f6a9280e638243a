//! What the site says to a member in a snapshot, and what is left for the member's own file.
//!
//! The keys are those of the file of a program without a site, so there is one reference for both. An enrolled program's file holds
//! what belongs to the machine; what belongs to the site comes in the document, and each is refused in the other's place.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bytes::Sha256;
use crate::endpoint::ServedEndpointFile;
use crate::gateway::{CertificateFile, ServiceFile, WhenWithheld};
use crate::limits::LimitsFile;
use crate::log::LogFile;
use crate::text::Duration;
use crate::trust::{EntraTenantFile, TokenKeyFile, TrustFile};
use crate::{EndpointFile, defaults};

/// The document in a gateway's snapshot, TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayDocument {
    /// What becomes of a connection point that withholds the newest configuration. Default `serve`, since one that is merely slow is
    /// the ordinary case.
    #[serde(default, skip_serializing_if = "WhenWithheld::is_default")]
    pub when_withheld: WhenWithheld,
    /// SHA-256 of role certificates that were revoked, or whose member was enrolled again, and that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_members: Vec<Sha256>,
    /// `[service]`
    #[serde(default)]
    pub service: ServiceFile,
    /// `[[certificate]]`: `chain` names a part, `key` a secret.
    #[serde(default)]
    pub certificate: Vec<CertificateFile>,
    /// Certificates that belong here too, and that an ACME server has not issued yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaited_certificates: Vec<String>,
    /// `[[acme_challenge]]`: what an ACME server may ask for at this moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acme_challenge: Vec<AcmeChallenge>,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsFile,
    /// `[trust.NAME]`
    #[serde(default)]
    pub trust: BTreeMap<String, TrustFile>,
    /// Parts with one block a line.
    #[serde(default)]
    pub block_lists: Vec<PathBuf>,
    /// `[[token_key]]`
    #[serde(default)]
    pub token_key: Vec<TokenKeyFile>,
    /// `[[entra_tenant]]`
    #[serde(default)]
    pub entra_tenant: Vec<EntraTenantFile>,
    /// `[[endpoint]]`
    #[serde(default)]
    pub endpoint: Vec<EndpointFile>,
}

/// `[[acme_challenge]]`: proof that a name is this gateway's, either `digest`, or `token` and `key_authorization`.
///
/// Nothing of it is secret: whoever asks is told. The key of the account at the ACME server stays with the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcmeChallenge {
    /// The DNS name.
    pub name: String,
    /// SHA-256 of the key authorization, for TLS-ALPN-01 (RFC 8737).
    #[serde(default)]
    pub digest: Option<Sha256>,
    /// The last part of the path that is asked for, for HTTP-01 (RFC 8555, 8.3).
    #[serde(default)]
    pub token: Option<String>,
    /// What is answered there.
    #[serde(default)]
    pub key_authorization: Option<String>,
}

/// The document in a connection point's snapshot, TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPointDocument {
    /// SHA-256 of role certificates that were revoked, or whose member was enrolled again, and that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_members: Vec<Sha256>,
    /// The addresses of the site servers, such as `https://site.corp.example:8445`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_servers: Vec<String>,
    /// `[[gateway]]`: the instances to connect to.
    #[serde(default)]
    pub gateway: Vec<DialledGateway>,
    /// Multiplexed connections to each instance.
    pub connections: u32,
    /// Idle one-at-a-time connections beside each of those.
    pub lanes: u32,
    /// `[trust.NAME]`
    #[serde(default)]
    pub trust: BTreeMap<String, TrustFile>,
    /// Parts with one block a line.
    #[serde(default)]
    pub block_lists: Vec<PathBuf>,
    /// `[[token_key]]`
    #[serde(default)]
    pub token_key: Vec<TokenKeyFile>,
    /// `[[endpoint]]`
    #[serde(default)]
    pub endpoint: Vec<ServedEndpointFile>,
}

/// The document in a management point's snapshot, TOML.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementPointDocument {
    /// The addresses of the site servers, such as `https://site.corp.example:8445`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub site_servers: Vec<String>,
    /// SHA-256 of members' certificates that were revoked and have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_members: Vec<Sha256>,
    /// Names of the connection points that count: of no others is a client's identity believed.
    #[serde(default)]
    pub connection_points: Vec<String>,
    /// The `[trust.*]` that client certificates are checked against. Default none: no client registers with one.
    #[serde(default)]
    pub client_trust: Option<String>,
    /// `[trust.NAME]`
    #[serde(default)]
    pub trust: BTreeMap<String, TrustFile>,
    /// Parts with one block a line.
    #[serde(default)]
    pub block_lists: Vec<PathBuf>,
    /// `[[token_key]]`
    #[serde(default)]
    pub token_key: Vec<TokenKeyFile>,
    /// `iss` of the site's own tokens: the subjects of those that it issues to clients are ids of devices. Default none: no token says
    /// which device asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_issuer: Option<String>,
    /// The part with the signed policy of clients ([`crate::policy`]). Default none: clients are told to ask again later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
}

/// `[[gateway]]` of a connection point's document: one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialledGateway {
    /// The instance's name.
    pub name: String,
    /// Its host and port, or those of a balancer in front of several.
    pub address: String,
    /// Whether it waits for its first certificate.
    #[serde(default)]
    pub enrols: bool,
}

/// `gateway.toml` of an enrolled gateway: what belongs to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolledGatewayFile {
    /// `[site]`, which makes the gateway an enrolled one.
    pub site: MembershipFile,
    /// Addresses and ports that the public and the connection points reach, such as `0.0.0.0:443` and `[::]:443`.
    pub listen: Vec<String>,
    /// Addresses and ports where HTTP-01 challenges of an ACME server are answered, and nothing else, such as `0.0.0.0:80`. Default
    /// none: the public port answers TLS-ALPN-01.
    #[serde(default)]
    pub acme_listen: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9180`.
    #[serde(default = "defaults::gateway_metrics")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false.
    #[serde(default)]
    pub metrics_public: bool,
    /// Networks whose connections must begin with PROXY protocol v2. Default none.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
    /// How long SIGTERM waits for requests in flight. Default `30s`.
    #[serde(default = "defaults::drain")]
    pub drain: Duration,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
}

/// `connection-point.toml` of an enrolled connection point: what belongs to the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolledConnectionPointFile {
    /// `[site]`, which makes the connection point an enrolled one.
    pub site: MembershipFile,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9181`.
    #[serde(default = "defaults::connection_point_metrics")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false.
    #[serde(default)]
    pub metrics_public: bool,
    /// How long SIGTERM waits for requests in flight. Default `30s`.
    #[serde(default = "defaults::drain")]
    pub drain: Duration,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
    /// An HTTP proxy for CONNECT on the way to gateways. Default none: directly.
    pub proxy: Option<String>,
    /// The user name for the proxy's Basic log-in. Default none.
    pub proxy_user: Option<String>,
    /// A file with that user's password in its first line, mode 0600.
    pub proxy_password_file: Option<PathBuf>,
}

/// `[site]` of an enrolled program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembershipFile {
    /// The folder for keys, certificate and the last good configuration, made with mode 0700 where it is missing.
    pub data: PathBuf,
    /// The file with the one-time code, mode 0600. Needed until the program is enrolled; not read any more after that.
    pub enrolment: Option<PathBuf>,
}

/// A one-time code, as the site writes it into a file of mode 0600: TOML.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentCode {
    /// `gateway`, `connection-point` or `management-point`.
    pub kind: String,
    /// The member's name.
    pub name: String,
    /// SHA-256 of the root certificate of the site's infrastructure authority (DER), hexadecimal.
    pub root: Sha256,
    /// The secret: 16 random bytes, hexadecimal.
    pub code: String,
    /// When it stops counting, in seconds since 1970.
    pub ends: u64,
    /// For a connection point or a management point: the addresses of the site servers, such as `https://site.corp.example:8445`.
    #[serde(default)]
    pub site_servers: Vec<String>,
}
