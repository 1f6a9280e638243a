//! `management-point.toml`: one management point. What belongs to the site comes in its document.

use serde::{Deserialize, Serialize};

use crate::defaults;
use crate::document::MembershipFile;
use crate::log::LogFile;
use crate::text::{Duration, Size};

/// The whole of `management-point.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagementPointFile {
    /// Where connection points reach it. Default `0.0.0.0:8446`.
    #[serde(default = "listen")]
    pub listen: String,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9183`.
    #[serde(default = "metrics_listen")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false.
    #[serde(default)]
    pub metrics_public: bool,
    /// How long SIGTERM waits for requests in flight. Default `30s`.
    #[serde(default = "defaults::drain")]
    pub drain: Duration,
    /// How much is kept on disk while the site is away, at least `16MiB`: of messages of devices, and as much of what they upload. Default
    /// `1GiB`: a day of messages of 20,000 devices with room to spare. What is beyond is refused with 503.
    #[serde(default = "spool")]
    pub spool: Size,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
    /// `[site]`
    pub site: MembershipFile,
}

fn listen() -> String {
    "0.0.0.0:8446".to_owned()
}

fn metrics_listen() -> String {
    "127.0.0.1:9183".to_owned()
}

const fn spool() -> Size {
    Size::mebibytes(1024)
}
