//! Socket options, with their reasons.
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::net::TcpStream;

/// Unsent bytes the kernel may hold. The rest waits in our own queues, where a small answer can overtake a large one. Measured on a
/// lossy path: the 50th percentile of small requests behind four downloads falls from 1145 to 206 ms. For clients: a socket asks for
/// more when a little of it has left, and not for megabytes at once, in whose burst everybody else waits.
const NOTSENT_LOWAT: u32 = 64 * 1024;

/// Data unacknowledged for this long ends a tunnel connection: a cut cable is noticed even where no heartbeat is due.
const TUNNEL_USER_TIMEOUT: Duration = Duration::from_secs(5);

/// The same for clients, who may be on a train.
const CLIENT_USER_TIMEOUT: Duration = Duration::from_secs(60);

/// Options of clients' connections at the gateway, set once on the listening socket: accepted connections inherit them.
pub(crate) fn set_client_options(listener: &Socket) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    listener.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    listener.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(30)))?;
    listener.set_tcp_user_timeout(Some(CLIENT_USER_TIMEOUT))
}

/// Options of a tunnel connection, at both ends.
pub fn set_tunnel_options(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)))?;
    socket.set_tcp_user_timeout(Some(TUNNEL_USER_TIMEOUT))
}

/// What a tunnel connection that carries one body has otherwise: the kernel counts the time in which a slow reader takes nothing as
/// unacknowledged, and a reader may pause for as long as its endpoint allows. The heartbeat of the lane's session notices a dead peer.
pub fn set_lane_options(tcp: &TcpStream) -> io::Result<()> {
    SockRef::from(tcp).set_tcp_user_timeout(None)
}

/// Whether the peer has neither closed the connection nor sent anything that is still unread. Asks the kernel: what the runtime knows of
/// the socket may be a moment old.
pub fn is_quiet(tcp: &TcpStream) -> bool {
    matches!(SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Options of a connection to a published server.
pub fn set_server_options(tcp: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(tcp);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> io::Result<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let one = TcpStream::connect(listener.local_addr()?).await?;
        Ok((one, listener.accept().await?.0))
    }

    #[tokio::test]
    async fn a_peer_that_has_spoken_or_closed_is_not_quiet() -> io::Result<()> {
        let (speaker, listener) = pair().await?;
        assert!(is_quiet(&listener));
        assert_eq!(speaker.try_write(b"x")?, 1);
        listener.readable().await?;
        assert!(!is_quiet(&listener));

        let (closer, listener) = pair().await?;
        drop(closer);
        listener.readable().await?;
        assert!(!is_quiet(&listener));
        Ok(())
    }

    #[tokio::test]
    async fn a_client_connection_holds_little_unsent() -> io::Result<()> {
        let listener = crate::listen::bind("127.0.0.1:0".parse().map_err(io::Error::other)?)?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (accepted, _) = listener.accept().await?;

        assert_eq!(SockRef::from(&accepted).tcp_notsent_lowat()?, NOTSENT_LOWAT);
        drop(client);
        Ok(())
    }
}
