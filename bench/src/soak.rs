//! `soak`: a million requests and ten thousand tunnel reconnects, and then memory, threads and open files are where
//! they were. A relay between connection point and gateway cuts the tunnels.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{Request, Target};
use crate::compare::build;
use crate::systems::{Lab, Running};
use crate::{Result, memory, ours};

/// Connections that ask.
const CLIENTS: usize = 64;
/// How long after the last event until memory and files are read: time for idle things to be given back.
const REST: Duration = Duration::from_secs(15);
/// How long the tunnel may take to come back after a cut.
const COME_BACK: Duration = Duration::from_secs(60);

/// The command line.
#[derive(Args)]
pub(crate) struct SoakArgs {
    /// How many requests
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// How many tunnel connections are cut and dialled again
    #[arg(long, default_value_t = 10_000)]
    reconnects: u64,
    /// How much more memory either program may hold afterwards, MiB
    #[arg(long, default_value_t = 8.0)]
    growth: f64,
    /// The `cmg` program; built first where none is given
    #[arg(long)]
    binary: Option<PathBuf>,
}

pub(crate) async fn run(args: SoakArgs) -> Result<()> {
    let binary = args.binary.map_or_else(build, Ok)?;
    let dir = tempfile::tempdir()?;
    let lab = Lab::create(dir.path(), &binary)?;
    let relay = Relay::start().await?;
    let mut running = ours::start_behind(&lab, relay.address)?;
    relay.to(running.address);
    running.await_answer(&lab).await?;
    let target = running.target(&lab.identities);

    // As many of everything as the measured part has at once, so that pools and allocators have their working size.
    ask(&target, args.requests / 20).await?;
    cut_often(&relay, &target, args.reconnects / 20).await?;
    let before = rested(&running).await;

    say(&format!("{} requests", args.requests))?;
    ask(&target, args.requests).await?;
    say(&format!("{} reconnects", args.reconnects))?;
    cut_often(&relay, &target, args.reconnects).await?;
    let after = rested(&running).await;
    judge(&before, &after, args.growth)
}

/// `count` requests of mixed sizes in closed loop, each checked.
async fn ask(target: &Target, count: u64) -> Result<()> {
    let left = Arc::new(AtomicU64::new(count));
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for number in 0..CLIENTS {
        let (target, left) = (target.clone(), Arc::clone(&left));
        tasks.spawn(async move {
            let requests = [Request::get(1024), Request::post(4096), Request::get(65_536), Request::bulk(1_048_576)];
            let mut client = target.connect(number).await?;
            while let Ok(number) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                // Most requests are small ones.
                let kind = (number % 64).saturating_sub(60) as usize;
                client.exchange(&requests[kind]).await?;
            }
            Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Cuts all tunnel connections again and again until `count` more have been dialled; requests succeed between.
async fn cut_often(relay: &Relay, target: &Target, count: u64) -> Result<()> {
    let goal = relay.dialled() + count;
    while relay.dialled() < goal {
        relay.cut();
        let deadline = Instant::now() + COME_BACK;
        while let Err(error) = target.connect(0).await?.exchange(&Request::get(1024)).await {
            if Instant::now() > deadline {
                return Err(format!("no tunnel after a cut: {error}").into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}

/// One side at rest.
struct State {
    role: String,
    rss_mib: f64,
    threads: usize,
    files: usize,
}

async fn rested(running: &Running) -> Vec<State> {
    tokio::time::sleep(REST).await;
    let entries = |pid, what| std::fs::read_dir(format!("/proc/{pid}/{what}")).map_or(0, Iterator::count);
    let of = |part: &crate::systems::Part| {
        let pid = part.process.id();
        let rss_mib = memory::resident(pid) / 1024.0;
        State { role: format!("{:?}", part.role), rss_mib, threads: entries(pid, "task"), files: entries(pid, "fd") }
    };
    running.parts.iter().map(of).collect()
}

fn judge(before: &[State], after: &[State], growth: f64) -> Result<()> {
    /// The number of parked tunnel connections breathes a little.
    const FILES: usize = 8;
    let mut grown = Vec::new();
    for (before, after) in before.iter().zip(after) {
        let State { role, rss_mib, threads, files } = after;
        say(&format!(
            "{role}: {:.1} -> {rss_mib:.1} MiB, {} -> {threads} threads, {} -> {files} files",
            before.rss_mib, before.threads, before.files
        ))?;
        if *rss_mib > before.rss_mib + growth || *threads > before.threads || *files > before.files + FILES {
            grown.push(role.as_str());
        }
    }
    if grown.is_empty() { Ok(()) } else { Err(format!("grown: {}", grown.join(", ")).into()) }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

/// Passes tunnel connections on, and cuts all of them at once when told to. Ends with its handle.
struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    /// Where connections go.
    to: watch::Sender<Option<SocketAddr>>,
    /// Changes with each cut.
    cuts: watch::Sender<u64>,
    dialled: AtomicU64,
}

impl Relay {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { to: watch::Sender::new(None), cuts: watch::Sender::new(0), dialled: AtomicU64::new(0) });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, _task: task })
    }

    fn to(&self, gateway: SocketAddr) {
        self.shared.to.send_replace(Some(gateway));
    }

    fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn dialled(&self) -> u64 {
        self.shared.dialled.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((inside, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let to = *shared.to.borrow();
        let Some(to) = to else { continue };
        shared.dialled.fetch_add(1, Ordering::Relaxed);
        connections.spawn(pass(inside, to, shared.cuts.subscribe()));
    }
}

/// Ends when either side does, or with the next cut.
async fn pass(mut inside: TcpStream, to: SocketAddr, mut cut: watch::Receiver<u64>) {
    let Ok(mut outside) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inside, &mut outside) => {}
        _ = cut.changed() => {}
    }
}
