//! Tunnels to real gateways' ends that come and go in the configuration.
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use cmg_core::ids::{GatewayId, Role};
use cmg_credentials::load::{Disk, PairFiles, RoleIdentity, read_role_identity, read_server_identity};
use cmg_credentials::tls::{ALPN_TUNNEL, Believed, PublicTls, RevokedMembers, tunnel_client};
use cmg_lab::{Lab, LabOptions};
use cmg_transport::{ByteStream, TlsStream, read_hello};
use cmg_tunnel::gateway::Hub;
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// A laboratory's certificates.
struct Site {
    _dir: TempDir,
    folder: PathBuf,
    infrastructure: Vec<u8>,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let lab = Lab::new(dir.path(), LabOptions { gateways: 2, ..LabOptions::default() }).unwrap();
        Self { folder: lab.site_dir(), infrastructure: lab.infrastructure.certificate_der().to_vec(), _dir: dir }
    }

    fn role(&self, name: &str) -> RoleIdentity {
        let (chain, private_key) = (self.folder.join(format!("{name}.pem")), self.folder.join(format!("{name}.key")));
        read_role_identity(&Disk, pair(&chain, &private_key)).unwrap()
    }

    fn plan(&self, gates: &[&Gate]) -> TunnelPlan {
        let route = |gate: &&Gate| Route { host: gate.address.ip().to_string(), port: gate.address.port(), proxy: None };
        TunnelPlan {
            me: ConnectionPointId::new("connection-point-1"),
            tls: tunnel_client(self.role("connection-point-1"), std::slice::from_ref(&self.infrastructure)).unwrap(),
            revoked: Default::default(),
            infrastructure: vec![self.infrastructure.clone()],
            routes: gates.iter().map(route).collect(),
            sessions: 1,
            lanes: 0,
        }
    }
}

fn pair<'a>(chain: &'a PathBuf, private_key: &'a PathBuf) -> PairFiles<'a> {
    PairFiles { chain_key: "certificate", chain, private_key_key: "key", private_key }
}

/// A gateway's end of tunnels.
struct Gate {
    address: SocketAddr,
    hub: Arc<Hub>,
    _task: JoinSet<()>,
}

impl Gate {
    async fn start(site: &Site, name: &str) -> Self {
        let server = read_server_identity(&Disk, pair(&site.folder.join("server.pem"), &site.folder.join("server.key"))).unwrap();
        let tls = PublicTls::new(vec![server], site.role(name), std::slice::from_ref(&site.infrastructure)).unwrap();
        let tls = tls.config_for(443, [ALPN_TUNNEL], false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(Hub::new(GatewayId::new(name), vec![name.to_owned()]));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, tls, Arc::clone(&hub)));
        Self { address, hub, _task: task }
    }

    async fn has(&self, sessions: usize) {
        until(|| self.hub.live().1 == sessions).await;
    }
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, hub) = (Arc::clone(&tls), Arc::clone(&hub));
        connections.spawn(async move {
            let Ok(hello) = read_hello(&tcp).await else { return };
            let Ok(tls) = TlsStream::accept(tcp, hello, tls).await else { return };
            let Some(Role::ConnectionPoint(id)) = tls.peer_certificates().and_then(role_of) else { return };
            hub.serve(ByteStream::Tls(Box::new(tls)), id, hub.era()).await;
        });
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("the test hangs")
}

/// Waits for a fact that nobody announces.
async fn until(mut fact: impl FnMut() -> bool) {
    soon(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn tunnels() -> (Tunnels, mpsc::UnboundedReceiver<Incoming>, watch::Sender<Vec<String>>) {
    let (incoming, requests) = mpsc::unbounded_channel();
    let (serves, served) = watch::channel(vec!["app".to_owned()]);
    (Tunnels::new(incoming, served), requests, serves)
}

#[tokio::test]
async fn a_gateway_that_is_added_is_reached_and_one_that_is_gone_is_left() {
    let site = Site::new();
    let (one, two) = (Gate::start(&site, "gateway-1").await, Gate::start(&site, "gateway-2").await);
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one]), LONG);
    one.has(1).await;

    tunnels.follow(&site.plan(&[&one, &two]), LONG);
    two.has(1).await;
    tunnels.follow(&site.plan(&[&two]), LONG);

    one.has(0).await;
    assert_eq!(two.hub.live().1, 1);
    until(|| tunnels.live().lacking().is_empty()).await;
    assert_eq!(tunnels.live().sessions(), BTreeMap::from([("gateway-2".to_owned(), 1)]));
}

#[tokio::test]
async fn a_gateway_that_stays_keeps_its_session_and_gets_more_where_more_are_wanted() {
    let site = Site::new();
    let one = Gate::start(&site, "gateway-1").await;
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one]), LONG);
    one.has(1).await;
    let mut changes = one.hub.changes();

    tunnels.follow(&site.plan(&[&one]), LONG);
    assert!(!changes.has_changed().unwrap());
    tunnels.follow(&TunnelPlan { sessions: 2, ..site.plan(&[&one]) }, LONG);

    soon(changes.changed()).await.unwrap();
    one.has(2).await;
}

#[tokio::test]
async fn a_root_that_counts_no_more_ends_every_session() {
    let site = Site::new();
    let one = Gate::start(&site, "gateway-1").await;
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one]), LONG);
    one.has(1).await;

    let other = Site::new();
    let tls = tunnel_client(site.role("connection-point-1"), std::slice::from_ref(&other.infrastructure)).unwrap();
    let plan = TunnelPlan { tls, infrastructure: vec![other.infrastructure.clone()], ..site.plan(&[&one]) };
    tunnels.follow(&plan, LONG);

    one.has(0).await;
    assert_eq!(tunnels.live().lacking(), [one.address.to_string()]);
}

#[tokio::test]
async fn a_gateway_whose_certificate_was_revoked_loses_its_sessions_and_gets_no_other() {
    let site = Site::new();
    let (one, two) = (Gate::start(&site, "gateway-1").await, Gate::start(&site, "gateway-2").await);
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one, &two]), LONG);
    one.has(1).await;
    two.has(1).await;

    let certificate = site.role("gateway-1").key.cert[0].clone();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate);
    let revoked: RevokedMembers = [digest.as_ref().try_into().unwrap()].into_iter().collect();
    let believed = Believed { roots: std::slice::from_ref(&site.infrastructure), revoked: revoked.clone() };
    let tls = tunnel_client(site.role("connection-point-1"), believed).unwrap();
    tunnels.follow(&TunnelPlan { tls, revoked, ..site.plan(&[&one, &two]) }, LONG);

    one.has(0).await;
    assert_eq!(two.hub.live().1, 1);
    until(|| tunnels.live().lacking() == [one.address.to_string()]).await;
}

#[tokio::test]
async fn an_instance_that_another_address_reaches_is_not_lacking_after_a_change() {
    let site = Site::new();
    let (one, two) = (Gate::start(&site, "gateway-1").await, Gate::start(&site, "gateway-2").await);
    for gate in [&one, &two] {
        gate.hub.announce(vec!["gateway-1".to_owned(), "gateway-2".to_owned()]);
    }
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one]), LONG);
    until(|| tunnels.live().lacking() == ["gateway-2"]).await;

    tunnels.follow(&site.plan(&[&one, &two]), LONG);

    until(|| tunnels.live().lacking().is_empty()).await;
}

#[tokio::test]
async fn all_sessions_end_when_it_stops() {
    let site = Site::new();
    let (one, two) = (Gate::start(&site, "gateway-1").await, Gate::start(&site, "gateway-2").await);
    let (mut tunnels, _requests, _serves) = tunnels();
    tunnels.follow(&site.plan(&[&one, &two]), LONG);
    one.has(1).await;
    two.has(1).await;

    tunnels.drain();
    soon(tunnels.stop()).await;

    one.has(0).await;
    two.has(0).await;
}
