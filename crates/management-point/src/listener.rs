//! Listening: connection points come in by TLS with their role certificates, everybody else as a stranger, perhaps with a certificate.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::{Extension, Router};
use cmg_core::ids::Role;
use cmg_credentials::facts::certificate_facts;
use cmg_credentials::tls::role_of;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pki_types::CertificateDer;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::point::Point;

/// Connections at once: each request for notifications that is held has one of its own, and a process may have 20,000 files open.
const CONNECTIONS: usize = crate::board::HELD + 500;

/// The longest that a handshake or a head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest head, in bytes: a token, a proof and a chain of certificates.
const LARGEST_HEAD: usize = 96 << 10;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Peer {
    /// One that has proven its role.
    ConnectionPoint(ConnectionPoint),
    /// Anybody else.
    Stranger(Stranger),
}

/// A connection point, by its certificate.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPoint {
    pub(crate) name: String,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
}

/// A device, or a reverse proxy in front of many.
#[derive(Clone, Debug)]
pub(crate) struct Stranger {
    pub(crate) address: IpAddr,
    /// What it has shown, the leaf first; that it holds the leaf's key is proven, and nothing else. May be empty.
    pub(crate) chain: Arc<[CertificateDer<'static>]>,
}

/// Serves until the drain begins; requests under way then are finished.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ArcSwap<ServerConfig>>, router: Router, point: Arc<Point>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = point.drain.draining() => return,
        };
        match accepted {
            Ok((tcp, address)) => {
                tokio::spawn(connection(tcp, address, tls.load_full(), router.clone(), Arc::clone(&point), place));
            }
            Err(error) => {
                debug!(%error, "Connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    tcp: TcpStream,
    address: SocketAddr,
    tls: Arc<ServerConfig>,
    router: Router,
    point: Arc<Point>,
    _place: OwnedSemaphorePermit,
) {
    // Small answers must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    if let Err(error) = speak(tcp, address.ip(), tls, router, &point).await {
        debug!(%address, %error, "Connection ended");
    }
}

async fn speak(
    tcp: TcpStream,
    address: IpAddr,
    tls: Arc<ServerConfig>,
    router: Router,
    point: &Point,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let accepting = timeout(PATIENCE, TlsAcceptor::from(tls).accept(tcp)).await;
    let stream = accepting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let service = TowerToHyperService::new(router.layer(Extension(peer(chain, address)?)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = point.drain.draining() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}

/// Who has shown `chain`. The handshake lets a role in the certificate pass only where it is proven.
fn peer(chain: &[CertificateDer<'static>], address: IpAddr) -> Result<Peer, &'static str> {
    let Some(Role::ConnectionPoint(id)) = role_of(chain) else {
        return Ok(Peer::Stranger(Stranger { address: address.to_canonical(), chain: chain.into() }));
    };
    let facts = chain.first().and_then(|leaf| certificate_facts(leaf).ok()).ok_or("the certificate cannot be read")?;
    Ok(Peer::ConnectionPoint(ConnectionPoint { name: id.to_string(), fingerprint: facts.thumbprint_sha256 }))
}
