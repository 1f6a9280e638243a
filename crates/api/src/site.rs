//! `site.toml`: one site server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::log::LogFile;
use crate::text::Duration;

/// The whole of `site.toml`. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteFile {
    /// The name of this site server, unique among those of one database.
    pub name: String,
    /// The site code, such as `LAB`, of a site that is set up by the first start. It does not change after that.
    pub site: String,
    /// The folder for the vault's key, the database where it is embedded, and what the first start writes; made with mode 0700
    /// where it is missing.
    pub data: PathBuf,
    /// A file with the connection string of PostgreSQL in its first line, such as `postgres://user:password@host/database`, mode
    /// 0600. Default none: SQLite in `data`.
    pub database_file: Option<PathBuf>,
    /// A file with a passphrase in its first line, mode 0600, under which the first start exports the keys of the site's roots. The
    /// site keeps none of them: without the export and its passphrase no issuing key can be renewed. Not read any more after that.
    pub root_passphrase_file: Option<PathBuf>,
    /// Where administrators reach the API. Default `127.0.0.1:8444`.
    #[serde(default = "api_listen")]
    pub listen: String,
    /// The API's certificate with its issuers, PEM. Needed where `listen` can be reached by other machines.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM, mode 0600.
    pub key: Option<PathBuf>,
    /// Where connection points reach this site server, such as `0.0.0.0:8445`.
    #[serde(default = "control_listen")]
    pub control_listen: String,
    /// The addresses of all site servers as connection points reach them, such as `https://site.corp.example:8445`.
    pub control_urls: Vec<String>,
    /// Where `/livez`, `/readyz` and `/metrics` are. Default `127.0.0.1:9182`.
    #[serde(default = "metrics_listen")]
    pub metrics_listen: String,
    /// Allows a `metrics_listen` that other machines can reach. Default false.
    #[serde(default)]
    pub metrics_public: bool,
    /// Programs that change DNS for ACME servers, by the names that certificates call them by: `acme_hooks = { NAME = "/path" }`. Whoever
    /// may use the API runs none but these. Default none.
    #[serde(default)]
    pub acme_hooks: BTreeMap<String, PathBuf>,
    /// How long SIGTERM waits for requests in flight. Default `30s`.
    #[serde(default = "crate::defaults::drain")]
    pub drain: Duration,
    /// How long audit records are kept, at least `30d`. Default `400d`: a year, and time to look at it when it is over.
    #[serde(default = "audit_keep")]
    pub audit_keep: Duration,
    /// How long messages of devices are kept, at least `1d`. Default `30d`. The latest heartbeat and the latest inventory of a device stay
    /// as long as the device.
    #[serde(default = "message_keep")]
    pub message_keep: Duration,
    /// `[log]`
    #[serde(default)]
    pub log: LogFile,
}

fn api_listen() -> String {
    "127.0.0.1:8444".to_owned()
}

fn control_listen() -> String {
    "0.0.0.0:8445".to_owned()
}

fn metrics_listen() -> String {
    "127.0.0.1:9182".to_owned()
}

const fn audit_keep() -> Duration {
    Duration::days(400)
}

const fn message_keep() -> Duration {
    Duration::days(30)
}
