//! The one port that speaks plain HTTP, where the gateway's own file opens it: it answers HTTP-01 challenges that are in force
//! (RFC 8555, 8.3), and 404 to everything else.
//!
//! Everything a stranger can send is bounded: connections, those of one address, the size and time of a head; a connection is one
//! request. Nothing is read of a body, nothing is logged.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cmg_core::problem::Finding;
use cmg_transport::proxy_protocol::{self, Network};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::config::Acme;
use crate::listener::{Addresses, OneFrom};
use crate::state::Gateway;

/// Connections at once: an ACME server makes a few for each name.
const CONNECTIONS: usize = 64;

/// Connections of one address at once.
const FROM_ONE: u32 = 8;

/// The longest head that is read, in bytes.
const LONGEST: usize = 2048;

/// The longest that a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after the system refused a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// What is in front of the token.
const PLACE: &[u8] = b"/.well-known/acme-challenge/";

/// What the site wants and the gateway's own file does not open.
pub(crate) fn finding(acme: &Acme) -> Option<Finding> {
    let what = "an ACME server is about to ask over HTTP, and no address is opened for that; write acme_listen = [\"0.0.0.0:80\"] in \
                this gateway's file, or have the certificate use another challenge";
    (!acme.tokens.is_empty() && acme.listen.is_empty()).then(|| Finding::new("acme_listen", what))
}

/// Answers until dropped.
pub(crate) async fn answer(listener: TcpListener, gateway: Arc<Gateway>) {
    let (places, addresses) = (Arc::new(Semaphore::new(CONNECTIONS)), Arc::new(Addresses::default()));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((tcp, address)) => {
                let (gateway, addresses) = (Arc::clone(&gateway), Arc::clone(&addresses));
                tokio::spawn(async move {
                    // Who is slow or speaks something else is not answered.
                    let _ = timeout(PATIENCE, serve(tcp, address, &gateway, &addresses)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "No connection accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn serve(mut tcp: TcpStream, peer: SocketAddr, gateway: &Gateway, addresses: &Arc<Addresses>) -> io::Result<()> {
    let Some(_from) = admit(&mut tcp, peer, &gateway.proxies, addresses).await? else { return Ok(()) };
    let Some(head) = read_head(&mut tcp).await? else { return Ok(()) };
    let state = gateway.state();
    let answer = token(&head).and_then(|token| state.acme.tokens.get(token));
    let (status, body) = answer.map_or(("404 Not Found", ""), |answer| ("200 OK", answer));
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    tcp.write_all(text.as_bytes()).await?;
    tcp.shutdown().await
}

/// The place of a connection among those of its address, which a balancer in front tells; none: there is none left.
async fn admit(tcp: &mut TcpStream, peer: SocketAddr, proxies: &[Network], addresses: &Arc<Addresses>) -> io::Result<Option<OneFrom>> {
    let mut address = peer;
    if proxies.iter().any(|network| network.contains(peer.ip().to_canonical())) {
        address = proxy_protocol::read(tcp).await?.unwrap_or(peer);
    }
    Ok(OneFrom::new(addresses, address.ip(), FROM_ONE))
}

/// Bytes up to the blank line; none: it does not come.
async fn read_head(tcp: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut chunk = [0; 512];
    while head.len() < LONGEST {
        let read = tcp.read(&mut chunk).await?;
        if read == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&chunk[..read]);
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

/// The token that a head asks for.
fn token(head: &[u8]) -> Option<&str> {
    let target = head.strip_prefix(b"GET ")?;
    let target = target.split(|byte| *byte == b' ').next()?;
    str::from_utf8(target.strip_prefix(PLACE)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of PROXY protocol version 2 that tells of 192.0.2.LAST.
    fn header(last: u8) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([192, 0, 2, last, 127, 0, 0, 1, 0x30, 0x39, 0, 80]);
        header
    }

    #[tokio::test]
    async fn behind_a_balancer_clients_are_counted_and_not_the_balancer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (proxies, addresses) = ([Network::parse("127.0.0.0/8").unwrap()], Arc::new(Addresses::default()));
        let mut admitted = Vec::new();
        let mut come = async |last: u8| {
            let mut outside = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            outside.write_all(&header(last)).await.unwrap();
            let (mut tcp, peer) = listener.accept().await.unwrap();
            let from = admit(&mut tcp, peer, &proxies, &addresses).await.unwrap();
            let is_in = from.is_some();
            admitted.push(from);
            is_in
        };

        for last in 1..=20 {
            assert!(come(last).await, "{last}");
        }
        for _ in 1..FROM_ONE {
            assert!(come(1).await);
        }
        assert!(!come(1).await);
    }

    #[test]
    fn only_a_get_under_the_well_known_path_asks_for_a_token() {
        assert_eq!(token(b"GET /.well-known/acme-challenge/abc HTTP/1.1\r\nHost: a\r\n\r\n"), Some("abc"));
        for other in
            ["GET / HTTP/1.1\r\n\r\n", "POST /.well-known/acme-challenge/abc HTTP/1.1\r\n\r\n", "GET /.well-known/acme-challenge", ""]
        {
            assert_eq!(token(other.as_bytes()), None, "{other}");
        }
    }
}
