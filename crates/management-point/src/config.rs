//! `management-point.toml`, read: what was typed becomes what it means, with every problem named at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cmg_api::{LogFile, ManagementPointFile};
use cmg_core::problem::{Finding, Problem};
use cmg_enrolled::{DataFolder, Identity, read_code};
use cmg_process::health::Exposure;
use cmg_site_client::of_data;
use cmg_standalone::{AtStart, Reading, address};

/// The least that is kept on disk, in bytes.
const LEAST_SPOOL: u64 = 16 << 20;

/// What belongs to the machine.
pub struct Config {
    /// Where connection points reach it.
    pub listen: SocketAddr,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether other machines may reach that address.
    pub metrics_public: bool,
    /// How long requests in flight are waited for.
    pub drain: Duration,
    /// Most bytes of messages, and most bytes of uploads, that are kept on disk.
    pub spool: u64,
    /// What is logged, and how.
    pub log: LogFile,
    /// Where the identity and the last good configuration are.
    pub data: PathBuf,
    /// The file with the one-time code.
    pub enrolment: Option<PathBuf>,
}

impl Config {
    /// Reads the file at `path`, or tells all that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let (mut reading, file) = Reading::open::<ManagementPointFile>(path);
        let config = file.and_then(|file| Self::of(&file, &mut reading));
        reading.finish(config)
    }

    fn of(file: &ManagementPointFile, reading: &mut Reading) -> Option<Self> {
        let listen = address::socket("listen", &file.listen, "0.0.0.0:8446", reading);
        let metrics_listen = address::metrics(&file.metrics_listen, file.metrics_public, "127.0.0.1:9183", reading);
        Some(Self {
            listen: listen?,
            metrics_listen: metrics_listen?,
            metrics_public: file.metrics_public,
            drain: file.drain.time(),
            spool: spool(file, reading),
            log: file.log.clone(),
            data: std::path::absolute(reading.local(&file.site.data)).unwrap_or_default(),
            enrolment: file.site.enrolment.as_ref().map(|path| reading.local(path)),
        })
    }

    pub(crate) fn exposure(&self) -> Exposure {
        if self.metrics_public { Exposure::Public } else { Exposure::Loopback }
    }

    /// What wants a restart to be changed.
    pub(crate) fn at_start(&self) -> AtStart {
        AtStart::new(&[
            ("listen", &self.listen),
            ("metrics_listen", &self.metrics_listen),
            ("metrics_public", &self.metrics_public),
            ("drain", &self.drain),
            ("spool", &self.spool),
            ("log.format", &self.log.format),
            ("site.data", &self.data),
        ])
    }
}

fn spool(file: &ManagementPointFile, reading: &mut Reading) -> u64 {
    let bytes = file.spool.get();
    if bytes < LEAST_SPOOL {
        reading.problem("spool", format!("{bytes} bytes are too few for what a device may send at once"), "write at least 16MiB");
    }
    bytes
}

/// Reads the file at `path`, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let config = Config::read(path)?;
    let mut findings = Vec::new();
    if config.metrics_public && !config.metrics_listen.ip().is_loopback() {
        findings.push(Finding::new("metrics_listen", "other machines read the metrics without logging in"));
    }
    let identity = match config.data.is_dir() {
        true => DataFolder::open(&config.data).and_then(|folder| Identity::load(&folder)).map_err(|error| vec![of_data(error)])?,
        false => None,
    };
    if identity.is_none() {
        let code = config.enrolment.as_deref().ok_or_else(no_code).and_then(|path| read_code("site.enrolment", path));
        code.map_err(|problem| vec![problem])?;
        findings.push(Finding::new("site", "not enrolled yet; that is done at the start"));
    }
    Ok(findings)
}

/// What is wrong where neither an identity nor a code is there.
pub(crate) fn no_code() -> Problem {
    Problem::new(
        "site.enrolment",
        "is missing, and this machine is not enrolled",
        "name the file with the one-time code that the site wrote",
    )
}
