//! `connection-point.toml`: one CMG connection point.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bytes::Sha256;
use crate::defaults;
use crate::endpoint::ServedEndpointFile;
use crate::log::LogFile;
use crate::text::Duration;
use crate::trust::{BlockFile, TokenKeyFile, TrustFile};

/// The whole of `connection-point.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionPointFile {
    /// The connection point's name, the same as in its role certificate.
    pub name: String,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9181`: for this machine only, and beside a
    /// gateway's.
    #[serde(default = "defaults::connection_point_metrics")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false, since nobody logs in there.
    #[serde(default)]
    pub metrics_public: bool,
    /// How long SIGTERM waits for requests in flight. Default `30s`, which service managers wait too.
    #[serde(default = "defaults::drain")]
    pub drain: Duration,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
    /// `[tunnel]`
    pub tunnel: DialFile,
    /// `[trust.NAME]`: its own copy. Default none, which is right where clients have tokens only.
    #[serde(default)]
    pub trust: BTreeMap<String, TrustFile>,
    /// `[[block]]`: its own copy. Default none.
    #[serde(default)]
    pub block: Vec<BlockFile>,
    /// Files with one block a line, as a gateway has them: its own copy. Default none.
    #[serde(default)]
    pub block_lists: Vec<PathBuf>,
    /// `[[token_key]]`: its own copy. Default none, which is right where clients have certificates only.
    #[serde(default)]
    pub token_key: Vec<TokenKeyFile>,
    /// `[[endpoint]]`. Default none, which serves nothing.
    #[serde(default)]
    pub endpoint: Vec<ServedEndpointFile>,
}

/// `[tunnel]` of a connection point: whom it dials, how, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialFile {
    /// Role certificate of this connection point with its chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM, mode 0600.
    pub key: PathBuf,
    /// The infrastructure authority, PEM. Never an authority for clients too.
    pub authority: PathBuf,
    /// SHA-256 of role certificates that count no more although they have not ended. Default none. A tunnel to one ends at the next
    /// reload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_members: Vec<Sha256>,
    /// Host and port of gateways: each is one instance, or one name in front of several. Dialled until every
    /// instance that a gateway announces is covered.
    pub gateways: Vec<String>,
    /// Multiplexed connections to each instance. Default 2, so that one lost packet does not hold up everything.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Idle one-at-a-time connections kept ready beside each multiplexed one, for bodies and upgrades. Default 4:
    /// a download seldom waits for a handshake, and an idle gateway holds few sockets.
    #[serde(default = "lanes")]
    pub lanes: u32,
    /// An HTTP proxy for CONNECT, such as `http://proxy.corp.example:3128`. Default none: directly.
    pub proxy: Option<String>,
    /// The user name for the proxy's Basic log-in. Default none.
    pub proxy_user: Option<String>,
    /// A file with that user's password in its first line, mode 0600.
    pub proxy_password_file: Option<PathBuf>,
}

const fn connections() -> u32 {
    2
}

const fn lanes() -> u32 {
    4
}
