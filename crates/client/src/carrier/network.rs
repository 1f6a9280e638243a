//! From an address to a byte stream: names, TCP with several addresses side by side, TLS. Every step has its end in time and its own reason.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cmg_core::choice::Trouble;
use pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use socket2::{SockRef, TcpKeepalive};
use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock;
use crate::origin::Origin;

/// The longest that a name, a connection and a handshake may take together.
const LONGEST: Duration = Duration::from_secs(8);
/// When the next address is tried beside one that has not answered (RFC 8305 recommends this).
const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of a name.
const MOST_ADDRESSES: usize = 8;
/// How long a connection may be silent before the system asks whether the other end is there, and how often it asks.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(10), 3);

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("the name {host} cannot be looked up")]
    Name {
        /// The name.
        host: String,
        /// What the system said.
        source: io::Error,
    },
    /// No address answers.
    #[error("{address} cannot be connected to")]
    Unreached {
        /// The last address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Whoever answers is somebody else, or ends TLS in between.
    #[error("whoever answers as {host} is somebody else, as with a captive portal, an intercepting proxy or a false name server")]
    Foreign {
        /// The name.
        host: String,
        /// What TLS said.
        source: io::Error,
    },
    /// The certificate counts at another time.
    #[error(
        "the certificate of {host} does not count at this device's time, {}: set its clock if that is wrong",
        cmg_process::clock::text(clock::now())
    )]
    OtherTime {
        /// The name.
        host: String,
        /// What TLS said.
        source: io::Error,
    },
    /// The handshake failed otherwise.
    #[error("TLS with {host} failed")]
    Tls {
        /// The name.
        host: String,
        /// What TLS said.
        source: io::Error,
    },
    /// The handshake of HTTP failed.
    #[error("the connection to {host} was lost at its beginning")]
    Lost {
        /// The name.
        host: String,
        /// What HTTP said.
        source: hyper::Error,
    },
    /// It took too long.
    #[error("{host} does not answer within {} s", LONGEST.as_secs())]
    TooSlow {
        /// The name.
        host: String,
    },
}

impl ConnectError {
    /// What kind of trouble it is.
    pub fn trouble(&self) -> Trouble {
        match self {
            Self::Name { .. } => Trouble::Unresolved,
            Self::Unreached { source, .. } if is_final(source) => Trouble::Refused,
            Self::Foreign { .. } => Trouble::Untrusted,
            Self::Unreached { .. } | Self::OtherTime { .. } | Self::Tls { .. } | Self::Lost { .. } | Self::TooSlow { .. } => {
                Trouble::Broken
            }
        }
    }
}

fn is_final(source: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NetworkUnreachable, io::ErrorKind::HostUnreachable];
    kinds.contains(&source.kind())
}

/// A byte stream.
pub(crate) enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// How addresses are reached.
#[derive(Debug, Default)]
pub struct Network {
    /// Addresses of names that are not looked up: by host and port.
    pub resolve: BTreeMap<(String, u16), Vec<SocketAddr>>,
}

impl Network {
    /// Connects; over TLS where the origin says so.
    pub(crate) async fn connect(&self, origin: &Origin, tls: Option<&Arc<ClientConfig>>) -> Result<Stream, ConnectError> {
        let connected = async {
            let stream = self.dial(origin).await?;
            match tls.filter(|_| origin.secure) {
                Some(tls) => secure(stream, origin, tls).await.map(|stream| Stream::Secure(Box::new(stream))),
                None => Ok(Stream::Plain(stream)),
            }
        };
        let too_slow = |_| ConnectError::TooSlow { host: origin.host.clone() };
        timeout(LONGEST, connected).await.map_err(too_slow)?
    }

    async fn dial(&self, origin: &Origin) -> Result<TcpStream, ConnectError> {
        let refused = |source| ConnectError::Name { host: origin.host.clone(), source };
        let place = (origin.host.clone(), origin.port);
        let addresses = match self.resolve.get(&place) {
            Some(known) => known.clone(),
            None => lookup_host((place.0.as_str(), place.1)).await.map_err(refused)?.take(MOST_ADDRESSES).collect(),
        };
        let mut last = refused(io::Error::other("it has no address"));
        let mut tries = JoinSet::new();
        for (place, address) in addresses.into_iter().enumerate() {
            tries.spawn(async move {
                sleep(STAGGER * u32::try_from(place).unwrap_or(u32::MAX)).await;
                (address, TcpStream::connect(address).await)
            });
        }
        while let Some(tried) = tries.join_next().await {
            match tried {
                Ok((_, Ok(stream))) => {
                    quick(&stream);
                    return Ok(stream);
                }
                Ok((address, Err(source))) => last = ConnectError::Unreached { address, source },
                Err(_) => {}
            }
        }
        Err(last)
    }
}

/// Options that only make it better: what is refused is left.
fn quick(stream: &TcpStream) {
    let (time, interval, retries) = KEEP_ALIVE;
    let keep_alive = TcpKeepalive::new().with_time(time).with_interval(interval).with_retries(retries);
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keep_alive);
}

async fn secure(stream: TcpStream, origin: &Origin, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, ConnectError> {
    let host = || origin.host.clone();
    let name = ServerName::try_from(origin.host.clone());
    let name = name.map_err(|error| ConnectError::Tls { host: host(), source: io::Error::other(error) })?;
    TlsConnector::from(Arc::clone(tls)).connect(name, stream).await.map_err(|source| judged(host(), source))
}

/// Whose fault a failed handshake is.
fn judged(host: String, source: io::Error) -> ConnectError {
    let certificate = match source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(certificate)) => certificate,
        // What speaks no TLS where TLS is spoken is not the server either.
        Some(rustls::Error::InvalidMessage(_)) => return ConnectError::Foreign { host, source },
        _ => return ConnectError::Tls { host, source },
    };
    match certificate {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => ConnectError::OtherTime { host, source },
        _ => ConnectError::Foreign { host, source },
    }
}
