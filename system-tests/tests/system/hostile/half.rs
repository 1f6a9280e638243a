//! Half a system: one real program, and a liar in the other one's place.

use std::sync::Arc;

use cmg_credentials::load::{Disk, PairFiles, read_certificates, read_role_identity, read_server_identity};
use cmg_credentials::tls::{ALPN_TUNNEL, PublicTls, tunnel_client};
use cmg_lab::{Discovery, Lab, LabOptions, Origin, Program, Published};
use cmg_transport::{ByteStream, TlsStream, read_hello};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::wire::{Wire, kind, purpose};
use crate::support::{PATIENCE, Setup, binary, until, wait};

/// A laboratory for one gateway and one connection point, with the origin published as `app`.
fn laboratory(bend: impl FnOnce(&Setup)) -> (Setup, TempDir) {
    let dir = tempfile::Builder::new().prefix("cmg-hostile-").tempdir().unwrap();
    let origin = Arc::new(wait(Origin::start(([127, 0, 0, 1], 0).into())).unwrap());
    let published = vec![Published::new("app", &origin.url()).unwrap()];
    let options = LabOptions { published, gateways: 1, connection_points: 1, discovery: Discovery::Addresses, ..LabOptions::default() };
    let setup = Setup { lab: Lab::new(dir.path(), options).unwrap(), origin };
    bend(&setup);
    (setup, dir)
}

/// A real connection point whose gateway lies.
pub(crate) struct FalseGateway {
    pub(crate) setup: Setup,
    point: Program,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    _dir: TempDir,
}

impl FalseGateway {
    pub(crate) fn start(bend: impl FnOnce(&Setup)) -> Self {
        let (setup, dir) = laboratory(bend);
        let lab = &setup.lab;
        let tls = gateway_tls(lab);
        let listener = wait(TcpListener::bind(("127.0.0.1", lab.gateways[0].port))).unwrap();
        let point = wait(async { Program::start(binary(), lab.connection_points[0].plan(lab)) }).unwrap();
        Self { setup, point, listener, tls, _dir: dir }
    }

    /// The real program.
    pub(crate) fn point(&self) -> &Program {
        &self.point
    }

    /// The next session; lanes on the way are kept open by the kernel and never spoken on.
    pub(crate) async fn session(&self) -> Wire {
        loop {
            let (purpose, wire) = self.connection().await;
            if purpose == purpose::SESSION {
                return wire;
            }
        }
    }

    /// The next lane that a gateway sends on.
    pub(crate) async fn lane(&self) -> Wire {
        loop {
            let (purpose, wire) = self.connection().await;
            if purpose == purpose::UP {
                return wire;
            }
        }
    }

    async fn connection(&self) -> (u8, Wire) {
        let accepted = tokio::time::timeout(PATIENCE, async {
            let (tcp, _) = self.listener.accept().await.unwrap();
            let hello = read_hello(&tcp).await.unwrap();
            let tls = TlsStream::accept(tcp, hello, Arc::clone(&self.tls)).await.unwrap();
            let mut wire = Wire::new(ByteStream::Tls(Box::new(tls)));
            wire.send(kind::GREETING, 0, b"\x00\x01\x00\x01\x09gateway-1\x00\x01\x09gateway-1").await.unwrap();
            let hello = wire.receive().await.unwrap();
            (hello.payload[2], wire)
        });
        accepted.await.expect("the connection point has not come")
    }
}

/// A real gateway whose connection point lies.
pub(crate) struct FalsePoint {
    pub(crate) setup: Setup,
    pub(crate) gateway: Program,
    tls: Arc<rustls::ClientConfig>,
    _dir: TempDir,
}

impl FalsePoint {
    pub(crate) fn start(bend: impl FnOnce(&Setup)) -> Self {
        let (setup, dir) = laboratory(bend);
        let lab = &setup.lab;
        let tls = tunnel_client(role(lab, "connection-point-1"), &infrastructure(lab)).unwrap();
        let gateway = wait(async {
            let mut gateway = Program::start(binary(), lab.gateways[0].plan(lab)).unwrap();
            gateway.wait_for("/livez", PATIENCE).await.unwrap();
            gateway
        });
        let port = setup.lab.gateways[0].port;
        until("the gateway listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        Self { setup, gateway, tls, _dir: dir }
    }

    /// A session that serves these endpoints, as SERVES tells of them, once the gateway has taken that in.
    pub(crate) fn serving(&self, id: u64, list: &[u8]) -> Wire {
        let address = ([127, 0, 0, 1], self.setup.lab.gateways[0].port).into();
        wait(async {
            let mut wire = Wire::dial(address, Arc::clone(&self.tls)).await.hello(purpose::SESSION, id).await;
            wire.send(kind::SERVES, 0, list).await.unwrap();
            // The first answer says that the list was read; what was read before is in force when the second is written.
            for _ in 0..2 {
                wire.send(kind::PING, 0, b"").await.unwrap();
                wire.expect(kind::PONG).await;
            }
            wire
        })
    }

    /// A session that serves the published endpoint.
    pub(crate) fn session(&mut self, id: u64) -> Wire {
        let address = ([127, 0, 0, 1], self.setup.lab.gateways[0].port).into();
        wait(async {
            let mut wire = Wire::dial(address, Arc::clone(&self.tls)).await.hello(purpose::SESSION, id).await;
            wire.send(kind::SERVES, 0, b"\x00\x01\x03app").await.unwrap();
            self.gateway.wait_for("/readyz", PATIENCE).await.unwrap();
            wire
        })
    }
}

fn gateway_tls(lab: &Lab) -> Arc<rustls::ServerConfig> {
    let site = lab.site_dir();
    let (chain, key) = (site.join("server.pem"), site.join("server.key"));
    let server =
        read_server_identity(&Disk, PairFiles { chain_key: "chain", chain: &chain, private_key_key: "key", private_key: &key }).unwrap();
    let tls = PublicTls::new(vec![server], role(lab, "gateway-1"), &infrastructure(lab)).unwrap();
    tls.config_for(443, [ALPN_TUNNEL], false).unwrap()
}

fn role(lab: &Lab, name: &str) -> cmg_credentials::RoleIdentity {
    let (chain, key) = (lab.site_dir().join(format!("{name}.pem")), lab.site_dir().join(format!("{name}.key")));
    read_role_identity(&Disk, PairFiles { chain_key: "certificate", chain: &chain, private_key_key: "key", private_key: &key }).unwrap()
}

fn infrastructure(lab: &Lab) -> Vec<Vec<u8>> {
    read_certificates(&Disk, "authority", &lab.site_dir().join("infrastructure-ca.pem")).unwrap()
}
