//! Listening: connection points come in by TLS with their role certificates, and nobody else does.

use std::io;
use std::net::SocketAddr;
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
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::point::Point;

/// Connections at once: a few of each connection point.
const CONNECTIONS: usize = 512;

/// The longest that a handshake or a head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest head, in bytes: a token, a proof and a chain of certificates.
const LARGEST_HEAD: usize = 96 << 10;

/// The connection point at the other end, by its certificate.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: [u8; 32],
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
    if let Err(error) = speak(tcp, tls, router, &point).await {
        debug!(%address, %error, "Connection ended");
    }
}

async fn speak(
    tcp: TcpStream,
    tls: Arc<ServerConfig>,
    router: Router,
    point: &Point,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let accepting = timeout(PATIENCE, TlsAcceptor::from(tls).accept(tcp)).await;
    let stream = accepting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let facts = chain.first().and_then(|leaf| certificate_facts(leaf).ok());
    let (Some(Role::ConnectionPoint(id)), Some(facts)) = (role_of(chain), facts) else {
        return Err("the peer is no connection point".into());
    };
    let peer = Peer { name: id.to_string(), fingerprint: facts.thumbprint_sha256 };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
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
