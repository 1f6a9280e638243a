//! The gateway's end: a real one, and a listener whose connections are spoken by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cmg_core::endpoint::{Endpoint, Face, Mount, ProofDemand};
use cmg_core::ids::{EndpointId, GatewayId, RequestId, Role};
use cmg_core::permit::permit_anonymous;
use cmg_core::refusal::Refusal;
use cmg_credentials::tls::role_of;
use cmg_transport::{ByteStream, TlsStream, read_hello};
use cmg_tunnel::gateway::{Hub, Opening};
use cmg_tunnel::{BodyLength, Credentials, Exchange, RequestHead};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Answer, Site, Wire, kind, soon, talk, until};

/// A hub behind a listener.
pub(crate) struct Gate {
    pub(crate) hub: Arc<Hub>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Gate {
    /// An instance alone behind its name.
    pub(crate) async fn start(site: &Site) -> Self {
        Self::instance(site, "gateway-1", &["gateway-1"], "127.0.0.1:0".parse().unwrap()).await
    }

    /// One of several instances.
    pub(crate) async fn instance(site: &Site, name: &str, all: &[&str], at: SocketAddr) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(Hub::new(GatewayId::new(name), all.iter().map(|name| (*name).to_owned()).collect()));
        let task = tokio::spawn(accept(listener, site.gateway(name), Arc::clone(&hub)));
        Self { hub, address, task }
    }

    /// Waits until so many sessions stand and one of them serves something.
    pub(crate) async fn has(&self, sessions: usize) {
        until(|| self.hub.live().1 == sessions && (sessions == 0 || self.hub.is_ready())).await;
    }

    /// Opens an exchange for the endpoint `files`. `body`: what of it leaves with the head, and whether that is all.
    pub(crate) fn open(&self, target: &str, length: BodyLength, body: &[u8], whole: bool) -> Result<Exchange, Refusal> {
        self.open_as(None, target, length, body, whole)
    }

    /// The same for a client with a credential.
    pub(crate) fn open_as(
        &self,
        credentials: Option<&mut Credentials>,
        target: &str,
        length: BodyLength,
        body: &[u8],
        whole: bool,
    ) -> Result<Exchange, Refusal> {
        self.open_at("files", credentials, target, length, body, whole)
    }

    /// The same for a request to the endpoint `id`.
    pub(crate) fn open_at(
        &self,
        id: &str,
        credentials: Option<&mut Credentials>,
        target: &str,
        length: BodyLength,
        body: &[u8],
        whole: bool,
    ) -> Result<Exchange, Refusal> {
        let endpoint = Endpoint { id: EndpointId::new(id), ..files() };
        let head = RequestHead {
            id: RequestId(1),
            credential: 0,
            endpoint: id,
            method: b"POST",
            target: target.as_bytes(),
            authority: b"localhost",
            client: "192.0.2.1:1".parse().unwrap(),
            upgrade: target == "/upgrade",
            trailers: false,
            expects_continue: false,
            body: length,
        };
        let opening = Opening { head, credentials, body, whole, avoid: &[] };
        self.hub.open(&permit_anonymous(&endpoint).unwrap(), opening, |_| (), draw())
    }

    /// An exchange with a body whose length is known, to its end.
    pub(crate) async fn exchange(&self, target: &str, body: &[u8]) -> Answer {
        let first = &body[..Hub::first_bytes(body.len())];
        let length = if body.is_empty() { BodyLength::None } else { BodyLength::Exact(body.len() as u64) };
        let mut exchange = self.open(target, length, first, first.len() == body.len()).unwrap();
        exchange.expect_to_send(Some((body.len() - first.len()) as u64));
        soon(talk(exchange, &body[first.len()..])).await
    }

    /// The same with a body whose length is not known before its end.
    pub(crate) async fn stream(&self, target: &str, body: &[u8]) -> Answer {
        soon(talk(self.open(target, BodyLength::Unknown, &[], false).unwrap(), body)).await
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Other numbers each time, and the same in every run.
fn draw() -> u64 {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    DRAWN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The published endpoint of these tests.
fn files() -> Endpoint {
    Endpoint {
        id: EndpointId::new("files"),
        host: "localhost".to_owned(),
        port: None,
        mount: Mount::Plain { prefix: String::new() },
        face: Face::Open,
        trust: None,
        token_kinds: vec![],
        audiences: vec![],
        registration: false,
        forward_token: false,
        proof: ProofDemand::IfBound,
        methods: vec!["POST".to_owned()],
        body_limit: u64::MAX,
        idle: Duration::from_secs(60),
        total: None,
        upgrade: true,
        h2: false,
    }
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, hub: Arc<Hub>) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, hub) = (Arc::clone(&tls), Arc::clone(&hub));
        connections.spawn(async move {
            let Ok(tls) = handshake(tcp, tls).await else { return };
            let Some(Role::ConnectionPoint(id)) = tls.peer_certificates().and_then(role_of) else { return };
            hub.serve(ByteStream::Tls(Box::new(tls)), id, hub.era()).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn handshake(tcp: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<TlsStream> {
    let hello = read_hello(&tcp).await?;
    TlsStream::accept(tcp, hello, tls).await
}

/// A gateway that is spoken by hand.
pub(crate) struct RawGate {
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    pub(crate) address: SocketAddr,
}

impl RawGate {
    pub(crate) async fn start(site: &Site, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, tls: site.gateway(name), address }
    }

    /// The next connection, with nothing said yet.
    pub(crate) async fn accept(&self) -> Wire {
        loop {
            let (tcp, _) = self.listener.accept().await.unwrap();
            if let Ok(tls) = handshake(tcp, Arc::clone(&self.tls)).await {
                return Wire::new(ByteStream::Tls(Box::new(tls)));
            }
        }
    }

    /// The next connection, greeted as `gateway-1`: what it is for, and the connection.
    pub(crate) async fn greet(&self) -> (u8, Wire) {
        let mut wire = self.accept().await;
        (Self::greet_on(&mut wire).await, wire)
    }

    /// Greets a connection as `gateway-1`: what it is for.
    pub(crate) async fn greet_on(wire: &mut Wire) -> u8 {
        wire.send(kind::GREETING, 0, b"\x00\x01\x00\x01\x09gateway-1\x00\x01\x09gateway-1").await.unwrap();
        let hello = wire.receive().await.expect("a hello");
        assert_eq!(hello.kind, kind::HELLO);
        hello.payload[2]
    }
}
