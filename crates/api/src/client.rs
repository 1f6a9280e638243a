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
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
}

fn data() -> PathBuf {
    PathBuf::from("/var/lib/cmg/client")
}

impl Default for ClientFile {
    fn default() -> Self {
        Self { data: data(), always_internet: false, resolve: BTreeMap::new(), log: LogFile::default() }
    }
}
