//! One address in front of several gateway instances, as a load balancer is: bytes only, no TLS.
//!
//! Instances take turns. Each new connection first asks its instance's `/livez`, so that a dead or frozen one is passed
//! over: a frozen program still accepts connections, and only its silence gives it away. Connections that exist stay
//! where they are. Every task belongs to the [`Relay`]: dropping it closes everything.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::error::LabError;
use crate::probe::probe;

/// How long an instance may take to say that it lives.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same when no instance said so in time: on a busy machine a late answer is better than none.
const LAST_PATIENCE: Duration = Duration::from_secs(3);
/// How long an instance that failed is passed over without being asked, so that only a few connections have to wait.
const PENALTY: Duration = Duration::from_secs(1);

/// A gateway instance as the relay knows it; clones share what was learned about its health.
#[derive(Clone)]
pub struct Instance {
    address: Ipv4Addr,
    health_port: u16,
    passed_over_until: Arc<Mutex<Option<Instant>>>,
}

impl Instance {
    /// An instance that listens on 127.0.0.1, and answers `/livez` on this port of it.
    pub fn new(health_port: u16) -> Self {
        Self::at(Ipv4Addr::LOCALHOST, health_port)
    }

    /// An instance that listens on `address`, and answers `/livez` on this port of 127.0.0.1.
    pub fn at(address: Ipv4Addr, health_port: u16) -> Self {
        Self { address, health_port, passed_over_until: Arc::default() }
    }

    async fn lives(&self, patience: Duration) -> bool {
        let lives = probe(self.health_port, "/livez", patience).await.is_ok_and(|probe| probe.is_ok());
        *self.lock() = (!lives).then(|| Instant::now() + PENALTY);
        lives
    }

    fn is_passed_over(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.passed_over_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One port of the relay and where its connections go.
#[derive(Clone)]
pub struct Front {
    /// The port on 127.0.0.1, and on `[::1]` where that exists.
    pub port: u16,
    /// Each instance and the port of it that is meant.
    pub targets: Vec<(Instance, u16)>,
}

/// A running relay.
pub struct Relay {
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Listens on every front.
    pub async fn start(fronts: Vec<Front>) -> Result<Self, LabError> {
        let mut tasks = JoinSet::new();
        for front in fronts {
            let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, front.port));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, front.port));
            let listener = TcpListener::bind(v4).await.map_err(|source| LabError::Listen { address: v4, source })?;
            let turns = Arc::new(Turns { targets: front.targets, next: AtomicUsize::new(0) });
            tasks.spawn(accept(listener, Arc::clone(&turns)));
            if let Ok(listener) = TcpListener::bind(v6).await {
                tasks.spawn(accept(listener, turns));
            }
        }
        Ok(Self { _tasks: tasks })
    }
}

/// Whose turn it is.
struct Turns {
    targets: Vec<(Instance, u16)>,
    next: AtomicUsize,
}

impl Turns {
    /// A connection to the next instance that lives. Those that failed lately are asked only when no other is left.
    async fn connect(&self) -> Option<TcpStream> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.targets.len();
        let in_turn = (0..count).map(|step| &self.targets[(first + step) % count]);
        let (late, prompt): (Vec<_>, Vec<_>) = in_turn.partition(|(instance, _)| instance.is_passed_over());

        let in_order: Vec<_> = prompt.into_iter().chain(late).collect();
        for patience in [PATIENCE, LAST_PATIENCE] {
            for (instance, port) in &in_order {
                if !instance.lives(patience).await {
                    continue;
                }
                if let Ok(stream) = TcpStream::connect((instance.address, *port)).await {
                    return Some(stream);
                }
            }
        }
        None
    }
}

async fn accept(listener: TcpListener, turns: Arc<Turns>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(carry(client, Arc::clone(&turns)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, turns: Arc<Turns>) {
    let Some(mut gateway) = turns.connect().await else { return };
    // Either side may have gone already; the copy then ends at once.
    let _ = client.set_nodelay(true).and_then(|()| gateway.set_nodelay(true));
    let _ = copy_bidirectional(&mut client, &mut gateway).await;
}
