//! A gateway instance's end, played: a real hub behind a listener; and one that waits for its first certificate.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use cmg_api::EnrolmentCode;
use cmg_api::control::{ENROL_PROTOCOL, Enrolled};
use cmg_core::ids::{ConnectionPointId, GatewayId, Role};
use cmg_credentials::ServerIdentity;
use cmg_credentials::tls::{ALPN_TUNNEL, PublicTls, new_gateway, role_of};
use cmg_enrolled::{Applicant, DataFolder, Identity, ephemeral};
use cmg_transport::{ByteStream, TlsStream, read_hello};
use cmg_tunnel::gateway::Hub;
use cmg_tunnel::{Answer, Question};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::fake_site::Keys;
use crate::{PATIENCE, now, soon, until};

/// A gateway's end of tunnels.
pub(crate) struct FakeGateway {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Arc<Hub>,
    _task: JoinSet<()>,
}

impl FakeGateway {
    pub(crate) async fn start(keys: &Keys, name: &str) -> Self {
        let role = keys.identity(Role::Gateway(GatewayId::new(name)));
        let server = ServerIdentity { names: vec!["localhost".to_owned()], key: Arc::clone(&role.key) };
        let tls = PublicTls::new(vec![server], role, &[keys.root()]).unwrap().config_for(443, [ALPN_TUNNEL], false).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(Hub::new(GatewayId::new(name), vec![name.to_owned()]));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, tls, Arc::clone(&hub)));
        Self { address, hub, _task: task }
    }

    pub(crate) async fn has(&self, sessions: usize) {
        until(async || self.hub.live().1 == sessions).await;
    }

    /// Asks the connection point itself.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let question = Question { method, target, body, limit: 16 << 20, within: PATIENCE };
        soon(self.hub.ask(&ConnectionPointId::new("cp-1"), question)).await.unwrap()
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

/// A gateway that waits for its first certificate at `listener`, until it has it.
pub(crate) async fn wait_for_certificate(listener: TcpListener, code: EnrolmentCode, folder: &Path) -> Identity {
    let folder = DataFolder::open(folder).unwrap();
    let tls = new_gateway(code.root.0, &ephemeral::certificate().unwrap(), ENROL_PROTOCOL);
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::clone(&tls)).accept(tcp).await else { continue };
        let exporter = stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-cmg-enrol", None).unwrap();
        let applicant = Applicant::new(&code).unwrap();
        let request = serde_json::to_vec(&applicant.request(&exporter).unwrap()).unwrap();
        stream.write_all(&[&(request.len() as u32).to_be_bytes()[..], &request].concat()).await.unwrap();
        let Ok(length) = stream.read_u32().await else { continue };
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await.unwrap();
        let answer: Enrolled = serde_json::from_slice(&answer).unwrap();
        return applicant.accept(&answer, &folder, now()).unwrap();
    }
}
