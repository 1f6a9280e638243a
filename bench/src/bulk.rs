//! Load of big exchanges: one transfer, small requests beside downloads, and readers that stop reading.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::Result;
use crate::client::{Request, Target};
use crate::cpu::{Meter, Usage};

const MIB: u64 = 1024 * 1024;
/// The size of a bulk transfer, bytes.
pub(crate) const GIB: u64 = 1024 * MIB;

/// Which way the bytes go.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Down,
    Up,
}

/// One GiB on one connection, after 64 MiB to warm up.
pub(crate) async fn transfer(target: &Target, way: Way, pids: Vec<u32>) -> Result<Usage> {
    let of = |bytes| match way {
        Way::Down => Request::bulk(bytes),
        Way::Up => Request::bulk_post(bytes),
    };
    let mut client = target.connect(0).await?;
    client.exchange(&of(64 * MIB)).await?;
    let meter = Meter::start(pids);
    client.exchange(&of(GIB)).await?;
    Ok(meter.stop())
}

/// Downloads that go on until dropped.
pub(crate) struct Downloads {
    tasks: JoinSet<Result<()>>,
    received: Arc<std::sync::atomic::AtomicU64>,
}

impl Downloads {
    /// Starts `count` of them, together at most `rate` bytes a second.
    pub(crate) fn start(target: &Target, count: usize, rate: Option<f64>) -> Self {
        let mut tasks = JoinSet::new();
        let received = Arc::default();
        for number in 0..count {
            // Names of their own, so that no limit per client counts them with the small requests.
            let each = rate.map(|rate| rate / count as f64);
            tasks.spawn(download(target.clone(), 500 + number, each, Arc::clone(&received)));
        }
        Self { tasks, received }
    }

    /// Bytes of all of them so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Fails if one of them has.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => Err(format!("a download ended: {:?}", ended?.err()).into()),
        }
    }
}

async fn download(target: Target, number: usize, rate: Option<f64>, total: Arc<std::sync::atomic::AtomicU64>) -> Result<()> {
    let mut client = target.connect(number).await?;
    let started = Instant::now();
    let mut mine = 0;
    loop {
        client.start(&Request::bulk(GIB)).await?;
        loop {
            let read = client.receive().await? as u64;
            if read == 0 {
                break;
            }
            mine += read;
            total.fetch_add(read, std::sync::atomic::Ordering::Relaxed);
            match rate {
                Some(rate) => tokio::time::sleep_until((started + Duration::from_secs_f64(mine as f64 / rate)).into()).await,
                // Or else this task would read a hundred times before the small requests' tasks have a turn.
                None => tokio::task::yield_now().await,
            }
        }
    }
}

/// What small requests met beside readers that stopped.
pub(crate) struct Beside {
    pub(crate) asked: usize,
    pub(crate) answered: usize,
    pub(crate) slowest: Duration,
}

/// `readers` clients ask for 64 MiB each, read the head and no more; then others come one after another, each with a
/// connection of its own, for `time`.
pub(crate) async fn stalled(target: &Target, readers: usize, time: Duration) -> Result<Beside> {
    /// A small request that takes longer counts as not answered.
    const GIVE_UP: Duration = Duration::from_secs(5);

    let mut held = Vec::new();
    for number in 0..readers {
        let mut client = target.connect(500 + number).await?;
        client.start(&Request::bulk(64 * MIB)).await?;
        held.push(client);
    }
    // Buffers everywhere fill up.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let mut beside = Beside { asked: 0, answered: 0, slowest: Duration::ZERO };
    let started = Instant::now();
    while started.elapsed() < time {
        let asked = Instant::now();
        let exchange = async { target.connect(beside.asked).await?.exchange(&Request::get(1024)).await };
        if let Ok(Ok(())) = tokio::time::timeout(GIVE_UP, exchange).await {
            beside.answered += 1;
        }
        beside.asked += 1;
        beside.slowest = beside.slowest.max(asked.elapsed());
    }
    Ok(beside)
}
