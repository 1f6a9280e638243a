//! A gateway in the cloud, a connection point and a server in corp, a client in the internet.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use cmg_lab::{Answer, Client, Lab, LabOptions, Origin, Probe, Program, Published, config};
use tempfile::TempDir;

use super::map::{CLOUD, GATEWAY, Map, Zone};
use crate::support::binary;

/// How long anything may take to come up or back.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a connection attempt into corp is given: a firewall that drops is silent.
const KNOCK: Duration = Duration::from_millis(500);

/// Everything, running. The programs end before the zones are removed.
pub(super) struct Site {
    gateway: Program,
    point: Program,
    client: Client,
    path: String,
    pub(super) server: Server,
    pub(super) map: Map,
    _dir: TempDir,
}

impl Site {
    /// Starts everything; none where zones are not permitted.
    pub(super) async fn start() -> Option<Self> {
        let map = Map::draw()?;
        let server = Server::start(&map.corp);
        let dir = tempfile::tempdir().unwrap();
        let published = vec![Published::new("inside", &format!("http://127.0.0.1:{}", server.port)).unwrap()];
        let options = LabOptions { published, gateways: 1, connection_points: 1, ..LabOptions::default() };
        let lab = Lab::new(dir.path(), options).unwrap();
        place(&lab);

        let (gateway, point) = (&lab.gateways[0], &lab.connection_points[0]);
        let site = Self {
            gateway: Program::start(&inside(&map.cloud, dir.path()), gateway.plan(&lab)).unwrap(),
            point: Program::start(&inside(&map.corp, dir.path()), point.plan(&lab)).unwrap(),
            client: Client::new(&lab.servers.certificate_pem(), Some(&lab.client)).unwrap(),
            path: lab.mutual_url(&lab.endpoints[0]).strip_prefix(&lab.service_url()).unwrap().to_owned(),
            server,
            map,
            _dir: dir,
        };
        site.ready(true);
        Some(site)
    }

    /// A request from the internet.
    pub(super) fn ask(&self, what: &str) -> Result<Answer> {
        let request = format!("GET {}{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.path);
        self.map.internet.run(|| self.client.send(&format!("{CLOUD}:443"), request.as_bytes()))
    }

    /// Waits until the gateway and the connection point both say that they are, or are not, ready.
    pub(super) fn ready(&self, wanted: bool) {
        let deadline = Instant::now() + PATIENCE;
        for (zone, program) in [(&self.map.corp, &self.point), (&self.map.cloud, &self.gateway)] {
            while probe(zone, program, "/readyz").is_ok_and(|probe| probe.is_ok()) != wanted {
                assert!(Instant::now() < deadline, "{} is not what it should be: ready {wanted}", program.plan.name);
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Waits until a request from the internet is served.
    pub(super) fn answers(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ask(what).is_ok_and(|answer| answer.status == 200) {
            assert!(Instant::now() < deadline, "no answer within {PATIENCE:?}");
        }
    }

    /// Every port in corp that something listens on.
    pub(super) fn ports_in_corp(&self) -> [u16; 2] {
        [self.server.port, self.point.plan.metrics_port]
    }
}

/// Gives the programs of a laboratory the addresses that they have in their zones.
fn place(lab: &Lab) {
    lab.servers.server(&["localhost", &CLOUD.to_string()]).unwrap().write(&lab.site_dir(), "server").unwrap();
    let strings = |text: &str| toml::Value::Array(vec![text.into()]);
    config::edit(&lab.gateways[0].config, |file| {
        file.insert("listen".to_owned(), strings("0.0.0.0:443"));
    })
    .unwrap();
    config::edit(&lab.connection_points[0].config, |file| {
        file["tunnel"].as_table_mut().unwrap().insert("gateways".to_owned(), strings(&format!("{GATEWAY}:443")));
    })
    .unwrap();
}

/// The program under test, as a command that runs inside a zone, under the zone's own names.
fn inside(zone: &Zone, dir: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(&zone.0);
    std::fs::write(&path, format!("#!/bin/sh\nexec ip netns exec {} {} \"$@\"\n", zone.0, binary().display())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn probe(zone: &Zone, program: &Program, path: &str) -> Result<Probe> {
    zone.run(|| runtime().block_on(program.ask(path)))
}

/// Whether somebody in the zone can connect.
pub(super) fn reaches(zone: &Zone, address: Ipv4Addr, port: u16) -> bool {
    zone.run(|| TcpStream::connect_timeout(&SocketAddr::from((address, port)), KNOCK).is_ok())
}

/// An origin that listens on every address of its zone.
pub(super) struct Server {
    pub(super) port: u16,
    _end: Sender<()>,
}

impl Server {
    fn start(zone: &Zone) -> Self {
        let ((ready, port), (end, ended)) = (channel(), channel::<()>());
        let zone = zone.clone();
        std::thread::spawn(move || {
            zone.run(|| {
                let runtime = runtime();
                let origin = runtime.block_on(Origin::start((Ipv4Addr::UNSPECIFIED, 0).into())).unwrap();
                ready.send(origin.address().port()).unwrap();
                // Serves until the other end is dropped.
                let _ = runtime.block_on(async { tokio::task::spawn_blocking(move || ended.recv()).await.unwrap() });
            });
        });
        Self { port: port.recv().unwrap(), _end: end }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
