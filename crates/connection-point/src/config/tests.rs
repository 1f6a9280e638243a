//! Files of a laboratory and the documented example read; every wrong key is named, and all of them at once.
use std::path::PathBuf;

use cmg_core::server::HostHeader;
use cmg_core::snapshot::Generation;
use cmg_lab::{Authority, Discovery, Lab, LabOptions, Published};
use tempfile::TempDir;

use super::*;
use crate::state::State;

const EXAMPLE: &str = include_str!("../../../../docs/examples/connection-point.toml");

/// A laboratory's folder, and the file of its first connection point.
struct Site {
    _dir: TempDir,
    lab: Lab,
    file: PathBuf,
    text: String,
}

impl Site {
    fn new() -> Self {
        Self::with(LabOptions::default())
    }

    fn with(options: LabOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let app = Published::new("app", "http://127.0.0.1:9/base").unwrap().identity_header("X-Client-DN", "subject");
        let free = Published::new("free", "http://127.0.0.1:9").unwrap().open();
        let lab = Lab::new(dir.path(), LabOptions { published: vec![app, free], wanted_port: 8443, ..options }).unwrap();
        let file = lab.connection_points[0].config.clone();
        let text = std::fs::read_to_string(&file).unwrap();
        Self { _dir: dir, lab, file, text }
    }

    fn folder(&self) -> &Path {
        self.file.parent().unwrap()
    }

    /// Writes the laboratory's file with each first text changed into the second.
    fn change(&self, changes: &[(&str, &str)]) {
        let mut text = self.text.clone();
        for (from, to) in changes {
            assert!(text.contains(from), "{from} is not in the file");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(&self.file, text).unwrap();
    }

    /// Keys of the problems that the changed file has.
    fn keys(&self, changes: &[(&str, &str)]) -> Vec<String> {
        self.change(changes);
        check(&self.file).err().unwrap_or_default().into_iter().map(|problem| problem.key).collect()
    }
}

fn read(path: &Path) -> Config {
    Config::read(path).unwrap_or_else(|problems| panic!("{}: {problems:#?}", path.display()))
}

/// Writes `password` where the file's proxy log-in is, with this mode.
fn password_file(site: &Site, password: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    let path = site.folder().join("proxy.pass");
    std::fs::write(&path, password).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn every_connection_point_of_a_laboratory_reads() {
    for discovery in [Discovery::ServiceName, Discovery::Addresses] {
        let site = Site::with(LabOptions { discovery, ..LabOptions::default() });

        for point in &site.lab.connection_points {
            let config = read(&point.config);

            assert_eq!(config.tunnel.me.as_str(), point.name);
            assert_eq!(config.tunnel.routes.len(), if discovery == Discovery::Addresses { 2 } else { 1 });
            assert_eq!((config.tunnel.sessions, config.tunnel.lanes), (2, 4));
            assert_eq!(config.parts.deliveries[0].servers[0].base, "/base");
            assert!(config.server_tls.is_empty());
        }
    }
}

#[test]
fn the_documented_example_reads_with_its_files() {
    let site = Site::new();
    let corp = Authority::root("corp").unwrap();
    std::fs::write(site.folder().join("corp-root.pem"), corp.certificate_pem()).unwrap();
    corp.client("connection-point-1").unwrap().write(site.folder(), "connection-point-1-client").unwrap();
    std::fs::copy(site.folder().join("clients-issuing.crl"), site.folder().join("clients.crl")).unwrap();
    std::fs::write(&site.file, EXAMPLE).unwrap();

    let config = read(&site.file);

    let hosts: Vec<_> = config.parts.deliveries.iter().map(|delivery| delivery.host_header.clone()).collect();
    assert_eq!(hosts, [HostHeader::Internal, HostHeader::External, HostHeader::External]);
    assert_eq!(config.server_tls.keys().map(EndpointId::as_str).collect::<Vec<_>>(), ["agents", "mp1-system"]);
    assert_eq!((config.tunnel.routes[0].host.as_str(), config.tunnel.routes[0].port), ("cmg.example.com", 443));
}

#[test]
fn every_wrong_key_is_named() {
    let site = Site::new();
    let name = "name = \"connection-point-1\"";
    let server = "servers = [\"http://127.0.0.1:9/base\"]";
    for (from, to, key) in [
        (name, "name = \"connection-point-2\"", "name"),
        ("metrics_listen = \"127.0.0.1", "metrics_listen = \"[::]", "metrics_listen"),
        ("gateways = [", "gateways = [\"localhost\", ", "tunnel.gateways[0]"),
        ("gateways = [", "gateways = [\"https://localhost:443\", ", "tunnel.gateways[0]"),
        ("gateways = [", "gateways = [\"a:1\", \"A:1\", ", "tunnel.gateways[1]"),
        ("gateways = [", "gateways = [\"a:0\", ", "tunnel.gateways[0]"),
        ("gateways = [", "gateways = [\"::1:443\", ", "tunnel.gateways[0]"),
        ("gateways = [", "connections = 0\ngateways = [", "tunnel.connections"),
        ("gateways = [", "lanes = 65\ngateways = [", "tunnel.lanes"),
        ("gateways = [", "proxy = \"https://proxy:3128\"\ngateways = [", "tunnel.proxy"),
        ("gateways = [", "proxy = \"http://proxy\"\ngateways = [", "tunnel.proxy"),
        ("gateways = [", "proxy = \"http://u:p@proxy:3128\"\ngateways = [", "tunnel.proxy"),
        ("gateways = [", "proxy = \"http://proxy:3128/pac\"\ngateways = [", "tunnel.proxy"),
        ("gateways = [", "proxy = \"http://proxy:1\"\nproxy_user = \"x\"\ngateways = [", "tunnel.proxy_password_file"),
        (server, "servers = []", "endpoint[0].servers"),
        (server, "servers = [\"http://a\", \"ftp://b\"]", "endpoint[0].servers[1]"),
        (server, "servers = [\"https://a\"]", "endpoint[0].server_authorities"),
        (server, "servers = [\"https://a\"]\nserver_authorities = [\"absent.pem\"]", "endpoint[0].server_authorities[0]"),
        (server, "servers = [\"http://a\"]\nserver_certificate = \"server.pem\"", "endpoint[0].server_key"),
        (server, "servers = [\"http://a\"]\nserver_key = \"server.key\"", "endpoint[0].server_certificate"),
        (server, "servers = [\"http://a\"]\nconnect_time = \"0s\"", "endpoint[0].connect_time"),
        (server, "servers = [\"http://a\"]\nhost_header = \"a b\"", "endpoint[0].host_header"),
        (server, "servers = [\"http://a\"]\nrequest_id_header = \"a b\"", "endpoint[0].request_id_header"),
        (server, "servers = [\"http://a\"]\nhealth = { path = \"health\" }", "endpoint[0].health.path"),
        (server, "servers = [\"http://a\"]\nhealth = { path = \"/\", interval = \"0s\" }", "endpoint[0].health.interval"),
        (server, "servers = [\"http://a\"]\nhealth = { path = \"/\", expect = [] }", "endpoint[0].health.expect"),
        ("\"X-Client-DN\" = \"subject\"", "\"X-Client-DN\" = \"dn\"", "endpoint[0].identity_headers.X-Client-DN"),
        ("role_id = \"", "role_id = \"x", "endpoint[0] (app).role_id"),
    ] {
        assert_eq!(site.keys(&[(from, to)]), [key], "{from} -> {to}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let site = Site::new();

    let keys = site.keys(&[
        ("name = \"connection-point-1\"", "name = \"gateway-1\""),
        ("gateways = [", "proxy_user = \"x\"\ngateways = [\"localhost\", "),
        ("\"clients-root.pem\"", "\"absent.pem\""),
        ("servers = [\"http://127.0.0.1:9/base\"]", "servers = [\"https://a\", \"b\"]"),
        ("face = \"open\"\nopen_acknowledged = true", "face = \"open\""),
    ]);

    let expected = [
        "trust.devices.authorities[0]",
        "endpoint[0].servers[1]",
        "endpoint[2] (free).face",
        "name",
        "tunnel.proxy_password_file",
        "tunnel.proxy",
        "tunnel.gateways[0]",
        "endpoint[0].server_authorities",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_gateways_certificate_is_a_problem() {
    let site = Site::new();

    let changes = [("\"connection-point-1.pem\"", "\"gateway-1.pem\""), ("\"connection-point-1.key\"", "\"gateway-1.key\"")];

    assert_eq!(site.keys(&changes), ["tunnel.certificate"]);
}

#[test]
fn a_proxy_is_used_with_its_log_in() {
    let site = Site::new();
    password_file(&site, b"s3cret\n", 0o600);
    let login = "proxy = \"http://[::1]:3128/\"\nproxy_user = \"x\"\nproxy_password_file = \"proxy.pass\"\ngateways = [";
    site.change(&[("gateways = [", login)]);

    let proxy = read(&site.file).tunnel.routes.remove(0).proxy.unwrap();

    assert_eq!((proxy.host.as_str(), proxy.port), ("::1", 3128));
    assert_eq!(proxy.login, Some(("x".to_owned(), "s3cret".to_owned())));
}

#[test]
fn a_user_name_that_basic_log_in_cannot_say_is_a_problem() {
    let site = Site::new();
    password_file(&site, b"s3cret\n", 0o600);
    let login =
        |user: &str| format!("proxy = \"http://proxy:1\"\nproxy_user = \"{user}\"\nproxy_password_file = \"proxy.pass\"\ngateways = [");

    for user in ["", "a:b", "a\\nb"] {
        assert_eq!(site.keys(&[("gateways = [", &login(user))]), ["tunnel.proxy_user"], "{user}");
    }
}

#[test]
fn a_password_that_others_can_read_is_a_problem() {
    let site = Site::new();
    password_file(&site, b"s3cret\n", 0o644);
    let login = "proxy = \"http://proxy:1\"\nproxy_user = \"x\"\nproxy_password_file = \"proxy.pass\"\ngateways = [";

    assert_eq!(site.keys(&[("gateways = [", login)]), ["tunnel.proxy_password_file"]);
}

#[test]
fn a_password_in_the_address_of_a_proxy_is_not_repeated() {
    let site = Site::new();
    site.change(&[("gateways = [", "proxy = \"http://u:hunter2@proxy:3128\"\ngateways = [")]);

    let problems = check(&site.file).err().unwrap();

    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
}

#[test]
fn a_list_that_is_out_of_date_is_a_finding_of_check_and_of_the_start() {
    let site = Site::new();
    std::fs::write(site.lab.site_dir().join("clients-issuing.crl"), site.lab.clients.stale_crl(&[]).unwrap().pem).unwrap();

    let checked = check(&site.file).unwrap();
    let started = State::build(read(&site.file), Generation::default(), None).unwrap().snapshot.findings;

    for findings in [checked, started] {
        assert_eq!(findings.iter().filter(|finding| finding.key == "trust.devices.crls[1]").count(), 1, "{findings:?}");
    }
}

#[test]
fn certificates_that_no_server_asks_for_are_a_finding() {
    let site = Site::new();
    let server = "servers = [\"http://127.0.0.1:9/base\"]";
    site.change(&[(server, &format!("{server}\nserver_authorities = [\"server.pem\"]"))]);

    let findings = check(&site.file).unwrap();

    assert!(findings.iter().any(|finding| finding.key == "endpoint[0].server_authorities"), "{findings:?}");
}

/// The file of an enrolled connection point in a folder of its own.
fn an_enrolled_file(text: &str) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("connection-point.toml");
    std::fs::write(&file, text).unwrap();
    (dir, file)
}

#[test]
fn what_belongs_to_the_site_is_refused_in_an_enrolled_file_with_the_reason() {
    let keys = ["name = \"cp-1\"", "block_lists = []", "tunnel = {}", "trust = {}", "block = []", "token_key = []", "endpoint = []"];
    for line in keys {
        let (_dir, file) = an_enrolled_file(&format!("{line}\n[site]\ndata = \"data\"\n"));

        let problems = check(&file).err().unwrap();

        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key, line.split(' ').next().unwrap());
        assert!(problems[0].what.contains("belongs to the site"), "{problems:?}");
    }
}

#[test]
fn every_wrong_key_of_an_enrolled_file_is_named() {
    for (lines, key) in [
        ("metrics_listen = \"0.0.0.0:9181\"", "metrics_listen"),
        ("proxy = \"https://proxy:3128\"", "proxy"),
        ("proxy_user = \"x\"", "proxy_password_file"),
        ("proxies = 1", "proxies"),
    ] {
        let (_dir, file) = an_enrolled_file(&format!("{lines}\n[site]\ndata = \"data\"\n"));

        let problems = check(&file).err().unwrap();

        assert_eq!(problems.first().map(|problem| problem.key.as_str()), Some(key), "{problems:?}");
    }
}

#[test]
fn who_is_not_enrolled_needs_a_code() {
    let (_dir, file) = an_enrolled_file("[site]\ndata = \"data\"\n");
    let (_other, with_code) = an_enrolled_file("[site]\ndata = \"data\"\nenrolment = \"code.toml\"\n");

    assert_eq!(check(&file).err().unwrap()[0].key, "site.enrolment");
    assert!(check(&with_code).err().unwrap()[0].what.contains("code.toml cannot be read"));
}
