//! Listening: connections under a deadline and a limit, TLS where there is a certificate, one router.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use cmg_api::bytes::Sha256;
use cmg_core::ids::Role;
use cmg_process::shutdown::Drain;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::places::{Handshake, Handshakes, Stranger, Strangers};
use crate::app::text::sha256;

/// Connections at once. Connection points and administrators are few; more is somebody who does not belong here.
const CONNECTIONS: usize = 1_024;

/// Handshakes at once: with the strangers behind theirs three quarters of all places, so that connections of members always find one.
const HANDSHAKES: usize = CONNECTIONS / 4;

/// The longest that a handshake or a head may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest head, in bytes.
const LARGEST_HEAD: usize = 64 << 10;

/// Who is at the other end of a connection; every request of it carries this as an extension.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// What its certificate proves.
    pub member: Option<Role>,
    /// SHA-256 of that certificate.
    pub fingerprint: Option<Sha256>,
    /// Whether the connection is encrypted.
    pub is_tls: bool,
}

/// A listening socket and what is served on it.
pub struct Service {
    /// The socket.
    pub listener: TcpListener,
    /// How TLS is spoken; none: not at all. Replaced while it runs.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    /// What answers.
    pub router: Router,
    /// When to stop.
    pub drain: Arc<Drain>,
}

impl Service {
    /// Serves anybody until the drain begins; requests under way then are finished.
    pub async fn run(self) {
        self.serve(None).await;
    }

    /// The same on a port of members: an address without a certificate gets a few places, and all such addresses get half of them.
    pub async fn run_for_members(self) {
        self.serve(Some(Strangers::new(CONNECTIONS / 2))).await;
    }

    async fn serve(self, strangers: Option<Arc<Strangers>>) {
        let (places, handshakes) = (Arc::new(Semaphore::new(CONNECTIONS)), Handshakes::new(HANDSHAKES));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.drain.draining() => return,
            };
            match accepted {
                Ok((tcp, address)) => {
                    let stranger = strangers.as_ref().map(|strangers| strangers.one_from(address.ip()));
                    if let Some(None) = stranger {
                        debug!(%address, "Connection closed: its address has too many already");
                        continue;
                    }
                    let place = Place { _any: place, stranger: stranger.flatten() };
                    let handshake = handshakes.begin();
                    let (tls, router, drain) = (self.tls.as_ref().map(|tls| tls.load_full()), self.router.clone(), Arc::clone(&self.drain));
                    tokio::spawn(connection(tcp, address, tls.map(|tls| (tls, handshake)), router, drain, place));
                }
                Err(error) => {
                    debug!(%error, "Connection not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// What a connection takes while it lives.
struct Place {
    _any: OwnedSemaphorePermit,
    /// None: it counts as a member, or anybody does.
    stranger: Option<Stranger>,
}

impl Place {
    /// The place of this peer, who is known now; none: there are too many strangers.
    fn of(self, peer: &Peer) -> Option<Self> {
        let stranger = match self.stranger {
            Some(stranger) if peer.member.is_none() => Some(stranger.stay()?),
            Some(_) | None => None,
        };
        Some(Self { stranger, ..self })
    }
}

async fn connection(
    tcp: TcpStream,
    address: SocketAddr,
    tls: Option<(Arc<ServerConfig>, Handshake)>,
    router: Router,
    drain: Arc<Drain>,
    place: Place,
) {
    // Small answers must not wait for an acknowledgement.
    let _ = tcp.set_nodelay(true);
    let served = match tls {
        None => serve(tcp, Peer { address, member: None, fingerprint: None, is_tls: false }, router, &drain, place).await,
        Some((config, handshake)) => match accept(tcp, config, handshake).await {
            Ok(stream) => {
                let chain = stream.get_ref().1.peer_certificates();
                let member = chain.and_then(cmg_credentials::tls::role_of);
                let fingerprint = chain.and_then(|chain| chain.first()).map(|leaf| Sha256(sha256(leaf)));
                serve(stream, Peer { address, member, fingerprint, is_tls: true }, router, &drain, place).await
            }
            Err(error) => Err(Box::from(error)),
        },
    };
    if let Err(error) = served {
        debug!(%address, %error, "Connection ended");
    }
}

async fn accept(tcp: TcpStream, config: Arc<ServerConfig>, mut handshake: Handshake) -> io::Result<TlsStream<TcpStream>> {
    tokio::select! {
        accepted = timeout(PATIENCE, TlsAcceptor::from(config).accept(tcp)) => accepted.map_err(io::Error::from)?,
        () = handshake.gives_way() => Err(io::Error::other("it gave way to a younger handshake")),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    router: Router,
    drain: &Drain,
    place: Place,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(_place) = place.of(&peer) else { return Err("strangers have all the places that they get".into()) };
    let _in_flight = drain.guard();
    let service = TowerToHyperService::new(router.layer(axum::Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = drain.draining() => connection.as_mut().graceful_shutdown(),
    }
    Ok(connection.await?)
}
