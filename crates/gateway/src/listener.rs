//! The public port: takes connections in, within bounds, and finds out what each is.
//!
//! A place is free before a connection is accepted; the handshake runs in its own task under a deadline. A slow stranger costs one
//! task. ALPN tells clients from connection points; on a port that an endpoint has of its own there are clients only. An ACME server
//! that asks for a name is answered by the handshake alone, after which the connection ends.
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use cmg_core::ids::Role;
use cmg_credentials::tls::{ALPN_ACME, ALPN_HTTP2, ALPN_TUNNEL, role_of};
use cmg_transport::{ByteStream, Hello, TlsStream, proxy_protocol, read_hello, set_tunnel_options};
use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::connection::{self, Client};
use crate::credential::{Known, site_of};
use crate::events::ConnectionReason;
use crate::state::{Gateway, State};

/// Pause after the system refused a connection, which mostly means too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Time for a handshake while more than half of the places are taken: long for an honest client, short for one that wants to keep
/// others out.
const PRESSED_TIME: Duration = Duration::from_secs(2);

/// Time for the last words on a connection that serves nothing.
const GOODBYE: Duration = Duration::from_secs(1);

/// Handshakes that one address may always have in progress.
const FEW: usize = 8;

/// Places shared by all listeners.
pub(crate) struct Places {
    handshakes: Arc<Semaphore>,
    all_handshakes: AtomicUsize,
    clients: Arc<Semaphore>,
    all_clients: AtomicUsize,
    /// Handshakes in progress.
    shaking: Arc<Addresses>,
    /// Connections.
    connected: Arc<Addresses>,
}

/// Counts by address; of IPv6 by the first 64 bits, within which a client has as many addresses as it likes.
#[derive(Default)]
pub(crate) struct Addresses(Mutex<HashMap<[u8; 16], u32>>);

impl Places {
    pub(crate) fn new(handshakes: usize, connections: usize) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(handshakes)),
            all_handshakes: AtomicUsize::new(handshakes),
            clients: Arc::new(Semaphore::new(connections)),
            all_clients: AtomicUsize::new(connections),
            shaking: Arc::default(),
            connected: Arc::default(),
        }
    }

    /// Changes how many there are. Whoever has a place keeps it; of fewer places those are taken away that become free first.
    pub(crate) fn resize(&self, handshakes: usize, connections: usize) {
        resize(&self.handshakes, &self.all_handshakes, handshakes);
        resize(&self.clients, &self.all_clients, connections);
    }

    /// Whether more than half of the places for handshakes are taken.
    fn is_pressed(&self) -> bool {
        self.handshakes.available_permits() * 2 < self.all_handshakes.load(Ordering::Relaxed)
    }

    /// Handshakes that one address may have in progress. Nobody is held back while there is room; then nobody gets more than an
    /// eighth, so that one address cannot keep all others, and connection points, out.
    fn share(&self) -> u32 {
        let all = self.all_handshakes.load(Ordering::Relaxed);
        let share = if self.is_pressed() { (all / 8).max(FEW) } else { all };
        u32::try_from(share).unwrap_or(u32::MAX)
    }
}

fn resize(places: &Arc<Semaphore>, all: &AtomicUsize, wanted: usize) {
    let before = all.swap(wanted, Ordering::Relaxed);
    places.add_permits(wanted.saturating_sub(before));
    let too_many = before.saturating_sub(wanted);
    let taken = too_many - places.forget_permits(too_many);
    if let Some(taken) = u32::try_from(taken).ok().filter(|taken| *taken > 0) {
        let places = Arc::clone(places);
        tokio::spawn(async move {
            if let Ok(freed) = places.acquire_many_owned(taken).await {
                freed.forget();
            }
        });
    }
}

/// Accepts connections until dropped.
pub(crate) async fn accept(listener: TcpListener, gateway: Arc<Gateway>, places: Arc<Places>) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    loop {
        let Ok(place) = Arc::clone(&places.handshakes).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, address)) => {
                let (gateway, places) = (Arc::clone(&gateway), Arc::clone(&places));
                tokio::spawn(async move {
                    // Boxed: a task is as large as the largest of its stages, and most tasks are clients at rest.
                    let greeted = Box::pin(greet(tcp, address, port, &gateway, &places)).await;
                    drop(place);
                    if let Some(greeted) = greeted {
                        serve(greeted, port, gateway, &places).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "No connection accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// A connection whose handshake is done.
struct Greeted {
    tls: TlsStream,
    address: SocketAddr,
    server_name: Option<String>,
    /// Its place among the connections of its address.
    from: OneFrom,
    /// The hub's, from before the handshake.
    era: u64,
}

/// Makes the handshake, within its deadline.
async fn greet(tcp: TcpStream, address: SocketAddr, port: u16, gateway: &Arc<Gateway>, places: &Arc<Places>) -> Option<Greeted> {
    let longest = gateway.state.load().limits.handshake_time;
    let longest = if places.is_pressed() { longest.min(PRESSED_TIME) } else { longest };
    let era = gateway.hub.era();
    let mut address = address;
    match timeout(longest, handshake(tcp, &mut address, port, gateway, places)).await {
        Ok(Ok((tls, server_name, from))) => Some(Greeted { tls, address, server_name, from, era }),
        Ok(Err((reason, error))) => {
            gateway.events.connection_refused(reason, address, Some(&error));
            None
        }
        Err(_) => {
            gateway.events.connection_refused(ConnectionReason::HandshakeTimeout, address, None);
            None
        }
    }
}

type Handshake = Result<(TlsStream, Option<String>, OneFrom), (ConnectionReason, io::Error)>;

async fn handshake(mut tcp: TcpStream, address: &mut SocketAddr, port: u16, gateway: &Gateway, places: &Arc<Places>) -> Handshake {
    if gateway.proxies.iter().any(|network| network.contains(address.ip().to_canonical())) {
        let told = proxy_protocol::read(&mut tcp).await.map_err(|error| (ConnectionReason::ProxyHeader, error))?;
        *address = told.unwrap_or(*address);
    }
    let state = gateway.state();
    let too_many = |what| (ConnectionReason::TooManyFromAddress, io::Error::other(what));
    let from = OneFrom::new(&places.connected, address.ip(), state.limits.connections_per_address);
    let from = from.ok_or_else(|| too_many("connections"))?;
    let _shaking = OneFrom::new(&places.shaking, address.ip(), places.share()).ok_or_else(|| too_many("handshakes"))?;
    let failed = |error| (ConnectionReason::HandshakeFailed, error);
    let hello = read_hello(&tcp).await.map_err(failed)?;
    let is_tunnel = offers_tunnel(&hello);
    if is_tunnel && state.snapshot.endpoints.is_own_port(port) {
        return Err((ConnectionReason::TunnelRefused, io::Error::other("tunnels come in on the shared port only")));
    }
    if is_tunnel {
        set_tunnel_options(&tcp).map_err(failed)?;
    }
    let config = tls_for(&hello, port, &state)?;
    let server_name = hello.server_name.clone();
    let tls = TlsStream::accept(tcp, hello, config).await.map_err(|error| {
        let reason = if is_tunnel { ConnectionReason::TunnelRefused } else { ConnectionReason::HandshakeFailed };
        (reason, error)
    })?;
    Ok((tls, server_name, from))
}

fn offers_tunnel(hello: &Hello) -> bool {
    hello.protocols.iter().any(|protocol| protocol == ALPN_TUNNEL)
}

fn tls_for(hello: &Hello, port: u16, state: &State) -> Result<Arc<ServerConfig>, (ConnectionReason, io::Error)> {
    let offered = || hello.protocols.iter().map(Vec::as_slice);
    let name = hello.server_name.as_deref();
    if offered().any(|protocol| protocol == ALPN_ACME) {
        // ACME servers ask at the shared port, by nothing but this protocol, and only for what the site has ordered.
        let asked = state.tls.challenge_for(name, offered()).filter(|_| !state.snapshot.endpoints.is_own_port(port));
        return asked.ok_or_else(|| (ConnectionReason::ChallengeRefused, io::Error::other("no challenge of that name is in force")));
    }
    let allow_h2 = state.snapshot.endpoints.offers_h2(port, name);
    state.tls.config_for(port, offered(), allow_h2).map_err(|error| (ConnectionReason::HandshakeFailed, io::Error::other(error)))
}

/// Serves a connection as what its handshake made it.
async fn serve(greeted: Greeted, port: u16, gateway: Arc<Gateway>, places: &Arc<Places>) {
    let Greeted { tls, address, server_name, from, era } = greeted;
    if tls.protocol() == Some(ALPN_TUNNEL) {
        drop(from);
        return Box::pin(serve_tunnel(tls, address, era, &gateway)).await;
    }
    if tls.protocol() == Some(ALPN_ACME) {
        gateway.events.challenge_answered(server_name.as_deref().unwrap_or_default());
        return close(tls).await;
    }
    let Ok(_place) = Arc::clone(&places.clients).try_acquire_owned() else {
        return gateway.events.connection_refused(ConnectionReason::TooMany, address, None);
    };
    let _counted = Counted::new(&gateway);
    if tls.protocol() == Some(ALPN_HTTP2) {
        return Box::pin(crate::http2::serve(tls, address, port, server_name, gateway)).await;
    }
    let stream = ByteStream::Tls(Box::new(tls));
    let client = Box::new(Client { stream, input: BytesMut::new(), address, port, server_name, known: Known::default() });
    connection::run(client, Arc::clone(&gateway)).await;
}

/// Says goodbye, for as long as that may take.
async fn close(mut tls: TlsStream) {
    let _ = timeout(GOODBYE, tls.shutdown()).await;
}

/// A connection point has come: its certificate, checked in the handshake, says which.
async fn serve_tunnel(tls: TlsStream, address: SocketAddr, era: u64, gateway: &Gateway) {
    let shown = tls.peer_certificates().and_then(|chain| Some((role_of(chain)?, chain.first()?)));
    match shown {
        Some((Role::ConnectionPoint(id), certificate)) if gateway.state().admits(&id, certificate) => {
            gateway.hub.serve(ByteStream::Tls(Box::new(tls)), id, era).await;
        }
        Some(_) | None => gateway.events.connection_refused(ConnectionReason::TunnelRefused, address, None),
    }
}

/// Counts a client connection while it lives.
struct Counted(Arc<Gateway>);

impl Counted {
    fn new(gateway: &Arc<Gateway>) -> Self {
        gateway.events.connections.inc();
        Self(Arc::clone(gateway))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.events.connections.dec();
    }
}

/// One connection of an address, counted where there is a limit.
pub(crate) struct OneFrom {
    counted: Option<(Arc<Addresses>, [u8; 16])>,
}

impl OneFrom {
    /// One more among these; none: the address has `most` already. Zero: no limit, and nothing is counted.
    pub(crate) fn new(among: &Arc<Addresses>, address: IpAddr, most: u32) -> Option<Self> {
        if most == 0 {
            return Some(Self { counted: None });
        }
        let site = site_of(address);
        let mut counts = among.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(site).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { counted: Some((Arc::clone(among), site)) })
    }
}

impl Drop for OneFrom {
    fn drop(&mut self) {
        let Some((among, site)) = &self.counted else { return };
        let mut counts = among.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(site) {
            *count -= 1;
            if *count == 0 {
                counts.remove(site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_site_is_one_address() {
        let places = Arc::new(Places::new(1, 1));
        let from = |address: &str| OneFrom::new(&places.connected, address.parse().expect("an address"), 1);

        let first = from("2001:db8::1");

        assert!(first.is_some() && from("2001:db8::2").is_none());
        assert!(from("2001:db8:0:1::1").is_some() && from("192.0.2.1").is_some());
        drop(first);
        assert!(from("2001:db8::2").is_some());
        assert!(places.connected.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    }

    #[test]
    fn one_address_cannot_take_every_place_for_handshakes() {
        let places = Arc::new(Places::new(128, 1));
        let from = |address: &str| {
            let place = Arc::clone(&places.handshakes).try_acquire_owned().ok()?;
            let shaking = OneFrom::new(&places.shaking, address.parse().expect("an address"), places.share())?;
            Some((place, shaking))
        };

        let greedy: Vec<_> = std::iter::from_fn(|| from("192.0.2.1")).collect();
        let other: Vec<_> = (0..17).filter_map(|_| from("198.51.100.1")).collect();

        assert_eq!((greedy.len(), other.len()), (64, 16));
    }

    #[tokio::test]
    async fn there_may_be_more_places_and_fewer_and_nobody_loses_one() {
        let places = Arc::new(Places::new(2, 2));
        let take = || Arc::clone(&places.clients).try_acquire_owned().ok();
        let (one, other) = (take(), take());
        assert!(take().is_none());

        places.resize(2, 3);
        let third = take();
        assert!(third.is_some() && take().is_none());

        places.resize(2, 1);
        tokio::task::yield_now().await;
        drop((one, other));
        tokio::task::yield_now().await;
        assert!(take().is_none(), "the one place there is is taken");
        drop(third);
        assert!(take().is_some());
    }
}
