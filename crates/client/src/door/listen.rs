//! The places of the door: who connects is known before a byte is read.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use super::Place;
use super::authority::DoorAuthority;
use super::serve::connection;
use super::users::{Users, of_tcp};
use crate::carrier::Carrier;
use crate::origin::Origin;

/// Connections at one place at once; more wait.
const CONNECTIONS: usize = 256;

/// What is behind a place.
pub(crate) enum Entrance {
    /// One server.
    Server(Origin),
    /// Every server of the policy, by its name.
    Proxy(Arc<DoorAuthority>),
}

/// A place that is listened on.
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Listening {
    /// Takes the place. A Unix socket that was left behind is replaced; who may connect is judged by who does.
    pub(crate) async fn bind(place: &Place) -> io::Result<Self> {
        match place {
            Place::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            Place::Unix(path) => {
                if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
                Ok(Self::Unix(listener))
            }
        }
    }

    /// The next connection, and whose it is.
    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<u32>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small answers must not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let user = of_tcp(peer, stream.local_addr()?);
                Ok((Box::new(stream), user))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred().map(|peer| peer.uid()).ok();
                Ok((Box::new(stream), user))
            }
        }
    }
}

/// Serves a place until dropped.
pub(crate) async fn serve(listening: Listening, entrance: Arc<Entrance>, users: Users, carrier: Carrier) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, user) = match listening.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%error, "Connection not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if !users.allow(user) {
            warn!(user, "Refused at the door: this user may not come in");
            continue;
        }
        let (entrance, carrier) = (Arc::clone(&entrance), carrier.clone());
        tokio::spawn(async move {
            connection(TokioIo::new(stream), entrance, carrier).await;
            drop(place);
        });
    }
}
