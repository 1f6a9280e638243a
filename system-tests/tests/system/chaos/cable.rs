//! A cable that can be cut: TCP between two programs which stops carrying in both directions without closing anything, as a
//! network does that drops every packet.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One end is an address of its own on the loopback, the other the given port. Dropping it closes everything.
pub(super) struct Cable {
    pub(super) address: SocketAddr,
    whole: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Cable {
    /// A whole cable to a port of 127.0.0.1.
    pub(super) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, state) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, port, state));
        Self { address, whole, _tasks: tasks }
    }

    /// Carries nothing from here on; new connections hang too.
    pub(super) fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Carries again, also what was under way.
    pub(super) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn accept(listener: TcpListener, port: u16, mut whole: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        if whole.wait_for(|whole| *whole).await.is_err() {
            return;
        }
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((near, _)) = accepted else { continue };
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { continue };
                let _ = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                connections.spawn(carry(near_in, far_out, whole.clone()));
                connections.spawn(carry(far_in, near_out, whole.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = whole.changed() => {}
        }
    }
}

/// Carries one direction to its end.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut whole: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if whole.wait_for(|whole| *whole).await.is_err() {
            return;
        }
        let read = tokio::select! {
            biased;
            _ = whole.changed() => continue,
            read = from.read(&mut buffer) => read,
        };
        let Ok(length @ 1..) = read else { break };
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
