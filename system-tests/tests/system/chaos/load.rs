//! About 2,000 requests a second of mixed methods, each with a number of its own, from clients that keep their connections.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::client::{Client, Ending, device};

/// Clients, each on a connection of its own.
pub(super) const CLIENTS: usize = 80;
/// From one request of a client to the next, unless an answer takes longer: 80 clients make 2,000 a second.
const PACE: Duration = Duration::from_millis(40);
/// Every request is one of these in turn.
const METHODS: [&str; 8] = ["GET", "POST", "GET", "HEAD", "GET", "POST", "OPTIONS", "PROPFIND"];
/// One request in so many is held by the server for a while.
const HELD: u64 = 5;

/// What became of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    pub(super) id: u64,
    pub(super) took: Duration,
    pub(super) ending: Ending,
    /// Port of the gateway, or of what stands in front of it.
    pub(super) port: u16,
}

impl Outcome {
    /// Whether the request may be sent again by a gateway.
    pub(super) fn is_replayable(&self) -> bool {
        method(self.id) != "POST"
    }
}

fn method(id: u64) -> &'static str {
    METHODS[(id % METHODS.len() as u64) as usize]
}

/// What clients do when their connection turns out to be closed before any answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    /// Count it.
    Strict,
    /// Ask once more on a new connection what may be asked twice, as every browser does with connections it had kept.
    Patient,
}

/// What the clients share.
struct Shared {
    config: Arc<ClientConfig>,
    manners: Manners,
    ports: Vec<u16>,
    path: String,
    next: AtomicU64,
    answered: AtomicU64,
    over: AtomicBool,
}

/// A load that runs until it is ended.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Outcome>>>,
}

impl Load {
    /// Clients spread over the given ports of 127.0.0.1, asking below `path`.
    pub(super) fn start(client_dir: &Path, ports: Vec<u16>, path: String, manners: Manners) -> Self {
        let shared = Arc::new(Shared {
            config: device(client_dir),
            manners,
            ports,
            path,
            next: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let clients = (0..CLIENTS).map(|number| {
            std::thread::spawn({
                let shared = Arc::clone(&shared);
                move || shared.ask(number)
            })
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// Waits until so many more requests were answered.
    pub(super) async fn more(&self, requests: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + requests;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.shared.answered.load(Ordering::Relaxed) < goal {
            assert!(Instant::now() < deadline, "the load stands still");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the load: every outcome.
    pub(super) async fn end(self) -> Vec<Outcome> {
        self.shared.over.store(true, Ordering::Relaxed);
        let join = move || self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        tokio::task::spawn_blocking(join).await.unwrap()
    }
}

impl Shared {
    /// One client's life.
    fn ask(&self, number: usize) -> Vec<Outcome> {
        let port = self.ports[number % self.ports.len()];
        let mut outcomes = Vec::new();
        let mut kept = None;
        std::thread::sleep(PACE * number as u32 / CLIENTS as u32);
        while !self.over.load(Ordering::Relaxed) {
            let began = Instant::now();
            let id = self.next.fetch_add(1, Ordering::Relaxed);
            let ending = self.exchange(id, &mut kept, port);
            outcomes.push(Outcome { id, took: began.elapsed(), ending, port });
            if matches!(ending, Ending::Answered(_)) {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(PACE.saturating_sub(began.elapsed()));
        }
        outcomes
    }

    /// Asks on the connection that was kept, or on a new one, which is kept if it can be.
    fn exchange(&self, id: u64, kept: &mut Option<Client>, port: u16) -> Ending {
        let was_kept = kept.is_some();
        let connection = kept.take().map_or_else(|| Client::connect(&self.config, port), Ok);
        let Ok(mut client) = connection else { return Ending::NotConnected };
        let ending = client.exchange(&self.request(id), method(id) == "HEAD");
        if matches!(ending, Ending::Broken(_)) && was_kept && self.manners == Manners::Patient && method(id) != "POST" {
            return self.exchange(id, kept, port);
        }
        if matches!(ending, Ending::Answered(_)) && !client.is_over {
            *kept = Some(client);
        }
        ending
    }

    fn request(&self, id: u64) -> Vec<u8> {
        let (method, path) = (method(id), &self.path);
        let hold = if id.is_multiple_of(HELD) { "?hold=50" } else { "" };
        let (fields, body) = if method == "POST" { ("Content-Length: 5\r\n", "hello") } else { ("", "") };
        format!("{method} {path}/{id}{hold} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}").into_bytes()
    }
}
