//! A small HTTP/1.1 server to publish, for people who have none at hand and for tests that need odd answers.
//!
//! It keeps the raw bytes of every target, remembers the latest requests, and serves the pages listed in `pages`.
//! Every task belongs to the [`Origin`]: dropping it closes everything.

mod message;
mod pages;
mod seen;
mod websocket;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::error::LabError;
use message::Request;
pub use pages::pattern;
pub use seen::{Progress, Seen};

/// A running origin.
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

/// What the connections of an origin share.
#[derive(Default)]
struct State {
    memory: seen::Memory,
    connections: AtomicU64,
    open: AtomicU64,
    releases: Released,
}

/// Permits for requests to `/held`, none at first.
struct Released(Semaphore);

impl Default for Released {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

impl Origin {
    /// Listens on an address (port 0 takes any free one) and serves.
    pub async fn start(address: SocketAddr) -> Result<Self, LabError> {
        let listen_error = |source| LabError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let state = Arc::new(State::default());
        let task = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The latest requests, at most a thousand, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.memory.requests()
    }

    /// Requests since the start.
    pub fn requests(&self) -> u64 {
        self.state.memory.count()
    }

    /// Connections accepted since the start.
    pub fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Connections open at this moment.
    pub fn open_connections(&self) -> u64 {
        self.state.open.load(Ordering::Relaxed)
    }

    /// Waits until what the origin has seen satisfies the question; ask under a deadline of the test's own.
    pub async fn wait_until(&self, mut satisfied: impl FnMut(&[Seen]) -> bool) {
        let mut changes = self.state.memory.changes();
        while !satisfied(&self.seen()) {
            // The sender lives in `self.state`, so this cannot fail.
            let _ = changes.changed().await;
        }
    }

    /// Lets that many requests to `/held` be answered.
    pub fn release(&self, requests: usize) {
        self.state.releases.0.add_permits(requests);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_tcp(stream, Arc::clone(&state)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_tcp(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let _open = Open::new(&state);
    serve(stream, &state).await;
}

/// Serves one connection until either side closes it.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, state: &State) {
    let mut connection = BufReader::new(stream);
    while let Ok(Some(request)) = Request::read(&mut connection).await {
        let number = state.memory.begin(&request.method, &request.target, &request.fields);
        let result = pages::serve(&mut connection, &request, state).await;
        let progress = if result.is_ok() { Progress::Answered } else { Progress::Broken };
        state.memory.end(number, progress);
        if !matches!(result, Ok(pages::After::KeepAlive)) || request.wants_close() {
            return;
        }
    }
}

/// Counts a connection while it is open.
struct Open<'a>(&'a State);

impl<'a> Open<'a> {
    fn new(state: &'a State) -> Self {
        state.connections.fetch_add(1, Ordering::Relaxed);
        state.open.fetch_add(1, Ordering::Relaxed);
        Self(state)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
