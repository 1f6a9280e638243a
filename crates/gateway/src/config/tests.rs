//! Files of a laboratory and the documented example read; every wrong key is named, and all of them at once.
use std::path::{Path, PathBuf};
use std::time::Duration;

use cmg_core::snapshot::Generation;
use cmg_core::time::WallTime;
use cmg_lab::{Authority, Issued, Lab, LabOptions, Published};
use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use super::*;
use crate::state::State;

const EXAMPLE: &str = include_str!("../../../../docs/examples/gateway.toml");

/// A laboratory's folder, and the file of its first gateway.
struct Site {
    _dir: TempDir,
    lab: Lab,
    file: PathBuf,
    text: String,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let app = Published::new("app", "http://127.0.0.1:9").unwrap();
        let free = Published::new("free", "http://127.0.0.1:9").unwrap().open();
        let lab = Lab::new(dir.path(), LabOptions { published: vec![app, free], ..LabOptions::default() }).unwrap();
        let file = lab.gateways[0].config.clone();
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

    fn problems(&self) -> Vec<Problem> {
        check(&self.file).err().unwrap_or_default()
    }

    /// Keys of the problems that the changed file has.
    fn keys(&self, changes: &[(&str, &str)]) -> Vec<String> {
        self.change(changes);
        self.problems().into_iter().map(|problem| problem.key).collect()
    }

    fn findings(&self, changes: &[(&str, &str)]) -> Vec<String> {
        self.change(changes);
        check(&self.file).unwrap().iter().map(ToString::to_string).collect()
    }
}

fn read(path: &Path) -> Config {
    Config::read(path).unwrap_or_else(|problems| panic!("{}: {problems:#?}", path.display()))
}

#[test]
fn every_gateway_of_a_laboratory_reads() {
    let site = Site::new();

    for gateway in &site.lab.gateways {
        let config = read(&gateway.config);

        assert_eq!(config.name.as_str(), gateway.name);
        assert_eq!(config.listen, [SocketAddr::from(([127, 0, 0, 1], gateway.port))]);
        assert_eq!(config.instances, ["gateway-1", "gateway-2"]);
        assert_eq!(config.parts.endpoints.len(), 4);
        assert_eq!(config.parts.endpoints[0].total, None);
        assert_eq!((config.parts.deliveries.len(), config.identities.len(), config.infrastructure.len()), (0, 1, 1));
    }
}

#[test]
fn a_laboratory_has_the_findings_that_it_asked_for_and_no_others() {
    let findings = Site::new().findings(&[]);

    let keys: Vec<_> = findings.iter().map(|finding| finding.split(": ").next().unwrap_or_default()).collect();
    let expected =
        ["endpoint[1] (app-root).port", "endpoint[2] (free).face", "endpoint[3] (free-root).face", "endpoint[3] (free-root).port"];
    assert_eq!(keys, expected);
}

#[test]
fn the_documented_example_reads_with_its_files() {
    let site = Site::new();
    let servers = Authority::root("servers").unwrap();
    std::fs::copy(site.folder().join("clients-issuing.crl"), site.folder().join("clients.crl")).unwrap();
    secret(&site.folder().join("server.pfx"), &pfx(&servers.server(&["wiki.example.com"]).unwrap(), "s3cret"));
    secret(&site.folder().join("server.pass"), b"s3cret\n");
    std::fs::write(&site.file, EXAMPLE).unwrap();

    let config = read(&site.file);

    assert_eq!(config.identities[1].names, ["wiki.example.com"]);
    assert_eq!(config.limits.head.bytes, 65_536);
    assert_eq!((config.limits.keep_alive, config.drain), (Duration::from_secs(300), Duration::from_secs(30)));
    assert!(config.proxy_protocol_from[0].contains([10, 1, 2, 3].into()));
    assert_eq!((config.parts.blocks.len(), config.parts.token_keys.len(), config.parts.endpoints.len()), (4, 1, 3));
}

#[test]
fn every_wrong_key_is_named() {
    let site = Site::new();
    for (from, to, key) in [
        ("name = \"gateway-1\"", "name = \"gateway-9\"", "name"),
        ("name = \"gateway-1\"", "name = \"a b\"", "name"),
        ("listen = [", "listen = [\"localhost:443\", ", "listen[0]"),
        ("listen = [", "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\", ", "listen[1]"),
        ("metrics_listen = \"127.0.0.1", "metrics_listen = \"0.0.0.0", "metrics_listen"),
        ("metrics_listen = \"", "metrics_listen = \"x", "metrics_listen"),
        ("drain = \"10s\"", "drain = 10", "drain"),
        ("drain = \"10s\"", "proxy_protocol_from = [\"10.0.0.0/33\"]", "proxy_protocol_from[0]"),
        ("instances = [\"gateway-1\"", "instances = [\"gateway/1\"", "service.instances[0]"),
        ("instances = [", "connection_points = [\"a\", \"a b\"]\ninstances = [", "service.connection_points[1]"),
        ("\"gateway-1.pem\"", "\"connection-point-1.pem\"", "tunnel.key"),
        ("key = \"gateway-1.key\"", "key = \"absent.key\"", "tunnel.key"),
        ("\"infrastructure-ca.pem\"", "\"server.key\"", "tunnel.authority"),
        ("chain = \"server.pem\"\n", "", "certificate[0].chain"),
        ("chain = \"server.pem\"\n", "chain = \"server.pem\"\npfx = \"x\"\n", "certificate[0]"),
        ("[limits]", "[limits]\nhead_bytes = \"65KiB\"", "limits.head_bytes"),
        ("[limits]", "[limits]\nhead_bytes = 100", "limits.head_bytes"),
        ("[limits]", "[limits]\nhead_fields = 1001", "limits.head_fields"),
        ("connections = 4000", "connections = 0", "limits.connections"),
        ("handshakes = 256", "handshakes = 0", "limits.handshakes"),
        ("handshakes = 256", "handshakes = 3", "limits.handshakes"),
        ("[limits]", "[limits]\nhandshake_time = \"0s\"", "limits.handshake_time"),
        ("[limits]", "[limits]\nhead_time = \"0s\"", "limits.head_time"),
        ("[limits]", "[limits]\nkeep_alive = \"0s\"", "limits.keep_alive"),
        ("[limits]", "[limits]\nburst = 5", "limits.burst"),
        ("[trust.devices]", "[[block]]\nserial = \"xyz\"\n[trust.devices]", "block[0].serial"),
        ("\"clients-root.crl\"", "\"absent.crl\"", "trust.devices.crls[0]"),
        ("authorities = [\"clients-root.pem\"", "authorities = [\"infrastructure-ca.pem\"", "trust.devices.authorities"),
        ("key = \"token-signing.pub.pem\"", "key = \"clients-root.crl\"", "token_key[0].key"),
        ("algorithms = [\"RS256\"]", "algorithms = [\"ES256\"]", "token_key[0].key"),
        ("prefix = \"/\"\n", "", "endpoint[1]"),
    ] {
        assert_eq!(site.keys(&[(from, to)]), [key], "{from} -> {to}");
    }
}

#[test]
fn one_handshake_more_than_there_are_listening_sockets_is_enough() {
    let site = Site::new();

    assert_eq!(site.keys(&[("handshakes = 256", "handshakes = 4")]), [""; 0]);
    assert_eq!(
        site.keys(&[("handshakes = 256", "handshakes = 4"), ("listen = [", "listen = [\"127.0.0.2:443\", ")]),
        ["limits.handshakes"]
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let site = Site::new();

    let keys = site.keys(&[
        ("name = \"gateway-1\"", "name = \"gateway-9\"\ncolour = \"red\""),
        ("listen = [", "listen = [\"x\", "),
        ("\"infrastructure-ca.pem\"", "\"absent.pem\""),
        ("key = \"server.key\"", "key = \"gateway-1.key\""),
        ("\"clients-issuing.pem\"", "\"server.pem\""),
        ("algorithms = [\"RS256\"]", "algorithms = []"),
        ("trust = \"devices\"", "trust = \"users\""),
    ]);

    let expected = [
        "colour",
        "endpoint[0] (app).trust",
        "token_key[0].algorithms",
        "trust.devices.intermediates[0]",
        "name",
        "tunnel.authority",
        "certificate[0].key",
        "listen[0]",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_port_can_be_for_one_thing_only() {
    let site = Site::new();
    let (port, metrics) = (site.lab.gateways[0].port, site.lab.gateways[0].metrics_port);
    let own = format!("port = {}", site.lab.gateways[0].root_ports[0]);

    assert_eq!(site.keys(&[(&own, &format!("port = {port}"))]), ["endpoint[1].port"]);
    assert_eq!(site.keys(&[(&own, &format!("port = {metrics}"))]), ["endpoint[1].port"]);
    assert_eq!(site.keys(&[(&format!("127.0.0.1:{metrics}"), &format!("127.0.0.1:{port}"))]), ["metrics_listen"]);
    let everywhere = [("listen = [\"127.0.0.1", "listen = [\"0.0.0.0"), (&own, &format!("port = {metrics}"))];
    assert_eq!(site.keys(&everywhere), ["endpoint[1].port"]);
}

#[test]
fn a_role_certificate_of_the_other_end_is_a_problem() {
    let site = Site::new();

    let changes = [("\"gateway-1.pem\"", "\"connection-point-1.pem\""), ("\"gateway-1.key\"", "\"connection-point-1.key\"")];

    assert_eq!(site.keys(&changes), ["tunnel.certificate"]);
}

#[test]
fn an_instance_is_always_among_the_instances() {
    let site = Site::new();
    site.change(&[("\"gateway-1\", \"gateway-2\"", "\"gateway-2\"")]);

    assert_eq!(read(&site.file).instances, ["gateway-2", "gateway-1"]);
}

#[test]
fn a_burst_comes_on_top_of_the_rate() {
    let site = Site::new();
    site.change(&[("[limits]", "[limits]\nrequests_per_second = 20\nburst = 5")]);

    let rate = read(&site.file).limits.rate;

    assert_eq!((rate.per_second, rate.burst), (20, 25));
}

#[test]
fn a_host_name_without_a_certificate_is_a_finding() {
    let site = Site::new();
    site.lab.servers.server(&["localhost", "*.lab.example", "127.0.0.1", "::1"]).unwrap().write(site.folder(), "server").unwrap();
    let is_finding = |host: &str| {
        let findings = site.findings(&[("host = \"localhost\"", &format!("host = \"{host}\""))]);
        findings.iter().any(|finding| finding.starts_with("endpoint[0].host: "))
    };

    for covered in ["localhost", "a.lab.example", "127.0.0.1", "[::1]"] {
        assert!(!is_finding(covered), "{covered}");
    }
    for uncovered in ["other", "a.b.lab.example", "lab.example", "127.0.0.2"] {
        assert!(is_finding(uncovered), "{uncovered}");
    }
}

#[test]
fn agents_without_a_server_name_are_shown_the_first_certificate() {
    let site = Site::new();
    let servers = Authority::root("servers").unwrap();
    servers.server(&["other.lab"]).unwrap().write(site.folder(), "other").unwrap();

    let second = "chain = \"server.pem\"\nkey = \"server.key\"";
    let both = format!("chain = \"other.pem\"\nkey = \"other.key\"\n[[certificate]]\n{second}");
    let findings = site.findings(&[(second, &both)]);

    let about = |key: &str| findings.iter().any(|finding| finding.starts_with(key));
    assert!(about("endpoint[1].host") && about("endpoint[3].host"), "{findings:?}");
    assert!(!about("endpoint[0].host") && !about("endpoint[2].host"), "{findings:?}");
}

#[test]
fn metrics_for_everybody_are_a_finding() {
    let findings = Site::new().findings(&[("metrics_listen = \"127.0.0.1", "metrics_public = true\nmetrics_listen = \"0.0.0.0")]);

    assert!(findings.iter().any(|finding| finding.starts_with("metrics_listen: ")), "{findings:?}");
}

#[test]
fn a_certificate_near_its_end_is_a_finding() {
    let site = Site::new();
    let config = read(&site.file);
    let WallTime(now) = now();
    let keys = |days: u64| {
        let found = findings::of(&config, WallTime(now + days * 86_400));
        found.into_iter().map(|finding| finding.key).collect::<Vec<_>>()
    };

    assert_eq!(keys(0), [""; 0]);
    assert_eq!(keys(334), [""; 0]);
    assert_eq!(keys(336), ["certificate[0]", "tunnel.certificate"]);
    assert_eq!(
        keys(3_700),
        ["certificate[0]", "tunnel.certificate", "tunnel.authority", "trust.devices.authorities", "trust.devices.intermediates"]
    );
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

fn secret(path: &Path, contents: &[u8]) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::write(path, contents).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn pfx(issued: &Issued, password: &str) -> Vec<u8> {
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let key = PrivateKey::from_der(key.secret_der()).unwrap();
    let certificates = vec![Certificate::from_der(&issued.der).unwrap()];
    let mut store = KeyStore::new();
    store.add_entry("server", KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new("id", key, certificates)));
    store.writer(password).write().unwrap()
}
