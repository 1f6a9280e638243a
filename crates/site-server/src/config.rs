//! `site.toml`, read: what was typed becomes what it means, with every problem named at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cmg_api::LogFile;
use cmg_api::site::SiteFile;
use cmg_core::ids::is_name;
use cmg_core::problem::{Finding, Problem};
use cmg_credentials::load::{Disk, PairFiles, ServerIdentity, read_server_identity};
use cmg_process::secret_file;
use cmg_standalone::{Reading, address};
use cmg_store::Place;

use crate::app::growth::Keep;

/// What a site server works by, out of its file.
pub struct Config {
    /// This site server.
    pub name: String,
    /// The site code.
    pub site: String,
    /// Where the vault's key is, and the database where it is embedded.
    pub data: PathBuf,
    /// Where the database is.
    pub database: Place,
    /// A file with the passphrase for the root keys, which are exported when the site is founded.
    pub root_passphrase_file: Option<PathBuf>,
    /// Where administrators reach the API.
    pub listen: SocketAddr,
    /// The API's certificate; none: HTTP on loopback.
    pub identity: Option<ServerIdentity>,
    /// Where connection points reach this site server.
    pub control_listen: SocketAddr,
    /// The addresses of all site servers as connection points reach them.
    pub control_urls: Vec<String>,
    /// Address of `/livez`, `/readyz` and `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether other machines may reach that address.
    pub metrics_public: bool,
    /// Programs that change DNS for ACME servers, by name.
    pub acme_hooks: BTreeMap<String, PathBuf>,
    /// How long requests in flight are waited for.
    pub drain: Duration,
    /// How long records are kept.
    pub keep: Keep,
    /// What is logged, and how.
    pub log: LogFile,
}

impl Config {
    /// Reads the file at `path` and every file that it names, or tells all that is wrong with them.
    pub fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let (mut reading, file) = Reading::open::<SiteFile>(path);
        let Some(file) = file else { return reading.finish(None) };
        let config = config(&file, &mut reading);
        reading.finish(config)
    }

    /// The names and addresses in `control_urls`, for the site server's own certificate.
    pub fn control_names(&self) -> (Vec<String>, Vec<IpAddr>) {
        let hosts = self.control_urls.iter().filter_map(|url| host_of(url));
        let (addresses, names): (Vec<&str>, Vec<&str>) = hosts.partition(|host| host.parse::<IpAddr>().is_ok());
        (names.into_iter().map(str::to_owned).collect(), addresses.into_iter().filter_map(|host| host.parse().ok()).collect())
    }
}

/// Reads the file at `path` as a site server would, and tells what is wrong with it, or what an administrator should know.
pub fn check(path: &Path) -> Result<Vec<Finding>, Vec<Problem>> {
    let config = Config::read(path)?;
    let mut findings = Vec::new();
    if config.metrics_public && !config.metrics_listen.ip().is_loopback() {
        findings.push(Finding::new("metrics_listen", "other machines read the metrics without logging in"));
    }
    Ok(findings)
}

fn config(file: &SiteFile, reading: &mut Reading) -> Option<Config> {
    if !is_name(&file.name) {
        reading.problem("name", format!("\"{}\" is no name", file.name), "write 1 to 64 letters, digits, dots, hyphens or underscores");
    }
    if !is_site_code(&file.site) {
        reading.problem("site", format!("\"{}\" is no site code", file.site), "write 1 to 8 letters and digits, such as LAB");
    }
    let data = reading.local(&file.data);
    let listen = address::socket("listen", &file.listen, "127.0.0.1:8444", reading);
    let identity = identity(file, reading);
    if let Some(address) = listen.filter(|address| !address.ip().is_loopback())
        && file.certificate.is_none()
    {
        let what = format!("{address} can be reached by other machines, and there is no certificate");
        reading.problem("listen", what, "write certificate and key too, or a loopback address such as 127.0.0.1:8444");
    }
    control_urls(&file.control_urls, reading);
    let control_listen = address::socket("control_listen", &file.control_listen, "0.0.0.0:8445", reading);
    let metrics_listen = address::metrics(&file.metrics_listen, file.metrics_public, "127.0.0.1:9182", reading);
    Some(Config {
        name: file.name.clone(),
        site: file.site.clone(),
        database: database(file, &data, reading)?,
        root_passphrase_file: file.root_passphrase_file.as_deref().map(|path| reading.local(path)),
        data,
        listen: listen?,
        identity,
        control_listen: control_listen?,
        control_urls: file.control_urls.clone(),
        metrics_listen: metrics_listen?,
        metrics_public: file.metrics_public,
        acme_hooks: acme_hooks(file, reading),
        drain: file.drain.time(),
        keep: Keep { audit: audit_keep(file, reading), messages: message_keep(file, reading) },
        log: file.log.clone(),
    })
}

fn audit_keep(file: &SiteFile, reading: &mut Reading) -> Duration {
    if file.audit_keep < cmg_api::text::Duration::days(30) {
        reading.problem("audit_keep", format!("{} is too short to find out what happened", file.audit_keep), "write at least 30d");
    }
    file.audit_keep.time()
}

fn message_keep(file: &SiteFile, reading: &mut Reading) -> Duration {
    if file.message_keep < cmg_api::text::Duration::days(1) {
        reading.problem(
            "message_keep",
            format!("{} is too short", file.message_keep),
            "write at least 1d: a message may come twice in a day",
        );
    }
    file.message_keep.time()
}

/// Whether `code` can be a site code: letters and digits, since it stands in certificates and in file names.
pub(crate) fn is_site_code(code: &str) -> bool {
    (1..=8).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn acme_hooks(file: &SiteFile, reading: &mut Reading) -> BTreeMap<String, PathBuf> {
    let mut hooks = BTreeMap::new();
    for (name, path) in &file.acme_hooks {
        let key = format!("acme_hooks.{name}");
        if !is_name(name) {
            reading.problem(&key, format!("\"{name}\" is no name"), "write 1 to 64 letters, digits, dots, hyphens or underscores");
        }
        let path = reading.local(path);
        match path.metadata().map(|found| (found.is_file(), found.permissions().mode() & 0o7777)) {
            Ok((true, mode)) if mode & 0o111 != 0 && mode & 0o022 == 0 => {}
            Ok((true, mode)) if mode & 0o111 != 0 => {
                let what = format!("{} may be changed by others (mode {mode:04o}), and runs with the site server's rights", path.display());
                reading.problem(&key, what, format!("let its owner alone write it: chmod go-w {}", path.display()));
            }
            _ => {
                let what = format!("{} is no program", path.display());
                reading.problem(&key, what, "name a file that may be run (chmod +x)");
            }
        }
        hooks.insert(name.clone(), path);
    }
    hooks
}

fn database(file: &SiteFile, data: &Path, reading: &mut Reading) -> Option<Place> {
    let Some(named) = &file.database_file else { return Some(Place::Sqlite(data.join("site.db"))) };
    let secret = reading.keep(secret_file("database_file", &reading.local(named)))?;
    match secret.expose_line() {
        Some(line) if line.starts_with("postgres://") || line.starts_with("postgresql://") => Some(Place::Postgres(line.to_owned())),
        _ => {
            let what = format!("{} holds no connection string", named.display());
            reading.problem("database_file", what, "write postgres://USER:PASSWORD@HOST/DATABASE in its first line");
            None
        }
    }
}

fn identity(file: &SiteFile, reading: &mut Reading) -> Option<ServerIdentity> {
    match (&file.certificate, &file.key) {
        (Some(certificate), Some(key)) => {
            let files = PairFiles {
                chain_key: "certificate",
                chain: &reading.local(certificate),
                private_key_key: "key",
                private_key: &reading.local(key),
            };
            reading.keep(read_server_identity(&Disk, files))
        }
        (Some(_), None) => {
            reading.problem("key", "is missing beside certificate", "name the file with the key");
            None
        }
        (None, Some(_)) => {
            reading.problem("certificate", "is missing beside key", "name the file with the certificate");
            None
        }
        (None, None) => None,
    }
}

fn control_urls(urls: &[String], reading: &mut Reading) {
    if urls.is_empty() {
        reading.problem(
            "control_urls",
            "no address is named",
            "write how connection points reach it, such as https://site.corp.example:8445",
        );
    }
    for (place, url) in urls.iter().enumerate().filter(|(_, url)| host_of(url).is_none()) {
        let what = format!("\"{url}\" is no address of a site server");
        reading.problem(format!("control_urls[{place}]"), what, "write https://HOST:PORT such as https://site.corp.example:8445");
    }
}

/// The host in `https://HOST:PORT`.
fn host_of(url: &str) -> Option<&str> {
    let authority = url.strip_prefix("https://")?;
    let (host, port) = authority.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    (port.parse::<u16>().is_ok_and(|port| port > 0) && pki_types::ServerName::try_from(host).is_ok()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.toml");
        std::fs::write(&path, toml).unwrap();
        match Config::read(&path) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.into_iter().map(|problem| problem.key).collect(),
        }
    }

    const SOUND: &str = "name = 'site-1'\nsite = 'LAB'\ndata = 'data'\ncontrol_urls = ['https://localhost:8445']\n";

    #[test]
    fn a_few_keys_are_enough() {
        assert_eq!(problems(SOUND), [""; 0]);
    }

    #[test]
    fn every_problem_is_told() {
        let wrong =
            "name = 'a b'\nsite = 'L-B'\ndata = 'data'\nlisten = '0.0.0.0:8444'\ncontrol_urls = ['http://a:1', 'https://a']\nkey = 'k'";

        assert_eq!(problems(wrong), ["name", "site", "certificate", "listen", "control_urls[0]", "control_urls[1]"]);
    }

    #[test]
    fn a_hook_is_a_program() {
        assert_eq!(problems(&format!("{SOUND}acme_hooks = {{ dns = '/bin/true' }}")), [""; 0]);
        let wrong = format!("{SOUND}acme_hooks = {{ 'a b' = '/bin/true', none = 'nowhere' }}");
        assert_eq!(problems(&wrong), ["acme_hooks.a b", "acme_hooks.none"]);
    }

    #[test]
    fn nobody_but_its_owner_writes_a_hook() {
        let hook = tempfile::NamedTempFile::new().unwrap();
        let of_mode = |mode| {
            std::fs::set_permissions(hook.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            problems(&format!("{SOUND}acme_hooks = {{ dns = {:?} }}", hook.path()))
        };

        assert_eq!(of_mode(0o755), [""; 0]);
        assert_eq!([of_mode(0o775), of_mode(0o757)], [["acme_hooks.dns"], ["acme_hooks.dns"]]);
    }

    #[test]
    fn other_machines_want_a_certificate() {
        assert_eq!(problems(&format!("{SOUND}listen = '0.0.0.0:8444'")), ["listen"]);
    }
}
