//! `client.toml`: the client on a device. What belongs to the site comes in its policy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::log::LogFile;

/// The whole of `client.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFile {
    /// The folder of the client's key, its identity, policy and messages, closed to others. Default `/var/lib/cmg/client`.
    #[serde(default = "data")]
    pub data: PathBuf,
    /// Whether the device counts as on the internet wherever it is: no management point of the intranet is looked for. Default false.
    #[serde(default)]
    pub always_internet: bool,
    /// Where a name is not to be looked up: `"cmg.example.com:443" = ["203.0.113.7:443"]`. The certificate is still the name's.
    #[serde(default)]
    pub resolve: BTreeMap<String, Vec<String>>,
    /// `[door]`: how agents on the device reach their servers. Default none: the door is shut.
    #[serde(default)]
    pub door: DoorFile,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
}

/// `[door]`: where agents that exist already come in, and who may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorFile {
    /// Where an HTTP proxy for the servers of the policy is: a loopback address such as `127.0.0.1:8170`, or `unix:/PATH`. Default none.
    #[serde(default)]
    pub proxy: Option<String>,
    /// Users of this machine who may come in, by name or number. Default none: nobody.
    #[serde(default)]
    pub users: Vec<String>,
    /// `[[door.listener]]`
    #[serde(default)]
    pub listener: Vec<DoorListenerFile>,
}

/// `[[door.listener]]`: a place that stands for one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorListenerFile {
    /// A loopback address such as `127.0.0.1:8531`, or `unix:/PATH`.
    pub listen: String,
    /// The server, as the policy has it: `https://wsus.corp.example:8531`.
    pub server: String,
    /// Users who may come in here. Default: those of `[door]`.
    #[serde(default)]
    pub users: Option<Vec<String>>,
}

fn data() -> PathBuf {
    PathBuf::from("/var/lib/cmg/client")
}

impl Default for ClientFile {
    fn default() -> Self {
        Self { data: data(), always_internet: false, resolve: BTreeMap::new(), door: DoorFile::default(), log: LogFile::default() }
    }
}
