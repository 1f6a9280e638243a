//! `client.toml`, read: what was typed becomes what it means, with every problem named at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cmg_api::{ClientFile, LogFile};
use cmg_core::problem::{Finding, Problem};
use cmg_process::file;

use crate::carrier::Network;
use crate::disk::Disk;
use crate::door::DoorConfig;
use crate::identity::Identity;

/// What belongs to the device.
#[derive(Debug)]
pub struct Config {
    /// The client's folder.
    pub data: PathBuf,
    /// Whether the device counts as on the internet wherever it is.
    pub always_internet: bool,
    /// Addresses that are not looked up.
    pub resolve: BTreeMap<(String, u16), Vec<SocketAddr>>,
    /// Where agents on the device come in.
    pub door: DoorConfig,
    /// What is logged, and how.
    pub log: LogFile,
}

impl Config {
    /// Reads the file at `path`, or tells all that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let file::Reading { value, problems: file::Problems(mut problems) } = file::read::<ClientFile>(path);
        let Some(read) = value else { return Err(problems) };
        let mut resolve = BTreeMap::new();
        for (name, addresses) in &read.resolve {
            match resolved(name, addresses) {
                Ok((name, addresses)) => _ = resolve.insert(name, addresses),
                Err(problem) => problems.push(problem),
            }
        }
        let door = DoorConfig::read(&read.door, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let data = std::path::absolute(file::beside(path, &read.data)).unwrap_or(read.data);
        Ok(Self { data, always_internet: read.always_internet, resolve, door, log: read.log })
    }

    /// How addresses are reached.
    pub fn network(&self) -> Network {
        Network { resolve: self.resolve.clone() }
    }
}

/// Reads one entry of `[resolve]`.
pub(crate) fn resolved(name: &str, addresses: &[String]) -> Result<((String, u16), Vec<SocketAddr>), Problem> {
    let wrong = |what: String| Problem::new(format!("resolve.\"{name}\""), what, "write \"cmg.example.com:443\" = [\"203.0.113.7:443\"]");
    let place = name.rsplit_once(':').and_then(|(host, port)| Some((host.to_ascii_lowercase(), port.parse().ok()?)));
    let place = place.ok_or_else(|| wrong("the name has no port".to_owned()))?;
    let read = addresses.iter().map(|text| text.parse().map_err(|_| wrong(format!("`{text}` is no address with a port"))));
    match read.collect::<Result<Vec<_>, _>>()? {
        none if none.is_empty() => Err(wrong("it has no address".to_owned())),
        read => Ok((place, read)),
    }
}

/// Reads the file at `path`, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let config = Config::read(path)?;
    let of_data = |error: crate::disk::DiskError| vec![Problem::new("data", error.to_string(), "name a folder of the client's own")];
    let known = match config.data.is_dir() {
        true => Disk::open(&config.data).and_then(|disk| Identity::load(&disk)).map_err(of_data)?,
        false => None,
    };
    let mut findings = Vec::new();
    if known.is_none() {
        findings.push(Finding::new("data", "this device is not registered yet; run `cmg client install`"));
    }
    if config.always_internet {
        findings.push(Finding::new("always_internet", "the intranet is not looked for, even inside"));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, Vec<String>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        Config::read(file.path()).map_err(|problems| problems.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        let config = read("").unwrap();

        assert_eq!((config.data.as_path(), config.always_internet), (Path::new("/var/lib/cmg/client"), false));
    }

    #[test]
    fn a_name_has_a_port_and_addresses_with_theirs() {
        let config = read("[resolve]\n\"CMG.example:443\" = [\"127.0.0.1:8443\", \"[::1]:8443\"]\n").unwrap();
        assert_eq!(config.resolve[&("cmg.example".to_owned(), 443)].len(), 2);

        let wrong = "[resolve]\n\"a\" = [\"127.0.0.1:1\"]\n\"b:1\" = []\n\"c:1\" = [\"127.0.0.1\"]\n";
        assert_eq!(read(wrong).unwrap_err().len(), 3);
    }
}
