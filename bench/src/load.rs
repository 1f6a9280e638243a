//! Load of small exchanges: closed loop (each connection asks again as soon as it was answered), open loop (requests
//! fall due at a fixed rate whatever happens), and one new connection for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Client, Request, Target};
use crate::cpu::{Meter, Usage};

/// What a load consists of.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) request: Request,
    /// How many connections, or handshakes, at once.
    pub(crate) connections: usize,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
}

/// What a load measured.
pub(crate) struct Outcome {
    /// Microseconds each, of every exchange that ended while counting; sorted.
    pub(crate) latencies: Vec<u32>,
    pub(crate) usage: Usage,
}

/// Tells the tasks of a load what its meter is doing.
#[derive(Default)]
struct Window(AtomicU8);

impl Window {
    const COUNTING: u8 = 1;
    const OVER: u8 = 2;

    fn counting(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::COUNTING
    }

    fn over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    /// Warms up, then counts and measures for the load's time.
    async fn run(&self, load: &Load, pids: Vec<u32>) -> Usage {
        tokio::time::sleep(load.warm_up).await;
        let meter = Meter::start(pids);
        self.0.store(Self::COUNTING, Ordering::Relaxed);
        tokio::time::sleep(load.time).await;
        self.0.store(Self::OVER, Ordering::Relaxed);
        meter.stop()
    }
}

type Latencies = Result<Vec<u32>>;

/// Keeps one request under way on every connection.
pub(crate) async fn closed(load: &Load, pids: Vec<u32>) -> Result<Outcome> {
    let window = Arc::new(Window::default());
    let mut tasks = JoinSet::new();
    for client in connect(load).await? {
        tasks.spawn(ask_again(client, load.request.clone(), Arc::clone(&window)));
    }
    let usage = window.run(load, pids).await;
    gather(tasks, usage).await
}

async fn ask_again(mut client: Client, request: Request, window: Arc<Window>) -> Latencies {
    let mut latencies = Vec::new();
    while !window.over() {
        let started = Instant::now();
        client.exchange(&request).await?;
        if window.counting() {
            latencies.push(microseconds(started.elapsed()));
        }
    }
    Ok(latencies)
}

/// Requests fall due `rate` times a second, evenly; latency counts from the due time, so waiting for a connection is
/// part of it.
pub(crate) async fn open(load: &Load, rate: f64, pids: Vec<u32>) -> Result<Outcome> {
    let window = Arc::new(Window::default());
    let pace = Arc::new(Pace::new(rate));
    let mut tasks = JoinSet::new();
    for client in connect(load).await? {
        tasks.spawn(ask_when_due(client, load.request.clone(), Arc::clone(&window), Arc::clone(&pace)));
    }
    let metronome = std::thread::spawn({
        let (window, pace) = (Arc::clone(&window), Arc::clone(&pace));
        move || pace.beat(&window)
    });
    let usage = window.run(load, pids).await;
    metronome.join().map_err(|_| "the metronome panicked")?;
    gather(tasks, usage).await
}

async fn ask_when_due(mut client: Client, request: Request, window: Arc<Window>, pace: Arc<Pace>) -> Latencies {
    let mut latencies = Vec::new();
    while let Some(due) = pace.next().await {
        client.exchange(&request).await?;
        if window.counting() {
            latencies.push(microseconds(due.elapsed()));
        }
    }
    Ok(latencies)
}

/// Hands out due times. The runtime's own timer knows milliseconds only, so a thread of its own keeps the beat.
struct Pace {
    started: Instant,
    interval: Duration,
    due: Semaphore,
    taken: AtomicU64,
}

impl Pace {
    fn new(rate: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate);
        Self { started: Instant::now(), interval, due: Semaphore::new(0), taken: AtomicU64::new(0) }
    }

    /// Runs until the window is over, then lets every waiting task go.
    fn beat(&self, window: &Window) {
        let mut released = 0;
        while !window.over() {
            let passed = self.started.elapsed();
            let due = (passed.as_nanos() / self.interval.as_nanos()) as u64 + 1;
            self.due.add_permits((due - released) as usize);
            released = due;
            std::thread::sleep(self.time(released).saturating_duration_since(Instant::now()));
        }
        self.due.close();
    }

    fn time(&self, number: u64) -> Instant {
        self.started + Duration::from_nanos(self.interval.as_nanos() as u64 * number)
    }

    /// Waits for the next request to fall due; None at the end.
    async fn next(&self) -> Option<Instant> {
        self.due.acquire().await.ok()?.forget();
        Some(self.time(self.taken.fetch_add(1, Ordering::Relaxed)))
    }
}

/// A new TCP connection, a handshake, one request, and goodbye, over and over.
/// `resume` says which kind of handshake each must be, but for the first of each task.
pub(crate) async fn handshakes(load: &Load, resume: bool, pids: Vec<u32>) -> Result<Outcome> {
    let window = Arc::new(Window::default());
    let mut tasks = JoinSet::new();
    for task in 0..load.connections {
        tasks.spawn(come_again(load.clone(), task, resume, Arc::clone(&window)));
    }
    let usage = window.run(load, pids).await;
    gather(tasks, usage).await
}

async fn come_again(load: Load, task: usize, resume: bool, window: Arc<Window>) -> Latencies {
    let mut latencies = Vec::new();
    for round in 0.. {
        if window.over() {
            break;
        }
        // A client that resumes comes back as itself; otherwise every handshake is another client's.
        let number = if resume { task } else { task + round * load.connections };
        let started = Instant::now();
        let mut client = load.target.connect(number).await?;
        client.exchange(&load.request).await?;
        let latency = started.elapsed();
        if round > 0 && client.resumed() != resume {
            return Err(format!("handshake {round} resumed: {}, wanted: {resume}", client.resumed()).into());
        }
        client.close().await?;
        if window.counting() {
            latencies.push(microseconds(latency));
        }
    }
    Ok(latencies)
}

async fn connect(load: &Load) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for number in 0..load.connections {
        clients.push(load.target.connect(number).await?);
    }
    Ok(clients)
}

async fn gather(mut tasks: JoinSet<Latencies>, usage: Usage) -> Result<Outcome> {
    let mut latencies = Vec::new();
    while let Some(one) = tasks.join_next().await {
        latencies.extend(one??);
    }
    if latencies.is_empty() {
        return Err("nothing was answered while counting".into());
    }
    latencies.sort_unstable();
    Ok(Outcome { latencies, usage })
}

fn microseconds(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
