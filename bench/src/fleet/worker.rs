//! One process of a fleet: up to 15,000 clients on one thread.

use std::cell::RefCell;
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cmg_core::choice::Trouble;
use cmg_core::time::Tick;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, interval, sleep_until};

use super::device;
use super::plan::{Plan, Tally};
use super::wire::Wire;
use crate::Result;
use crate::stream::{self, Identity};

/// Handshakes under way at once: a processor that does more of them at a time finishes none of them in time.
const HANDSHAKES: usize = 256;

/// What the clients of a process share.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) tally: RefCell<Tally>,
    identity: Identity,
    handshakes: tokio::sync::Semaphore,
    began: Instant,
}

impl World {
    pub(super) fn now(&self) -> Tick {
        Tick(self.began.elapsed().as_millis() as u64)
    }

    pub(super) fn at(&self, tick: Tick) -> Instant {
        // A day is for ever here.
        self.began + Duration::from_millis(tick.0.min(self.now().0 + 86_400_000))
    }

    pub(super) async fn connect(&self, service: usize, client: usize) -> Result<Wire, Trouble> {
        let _place = self.handshakes.acquire().await.map_err(|_| Trouble::Broken)?;
        let began = Instant::now();
        let name = self.place_of(service).0.split(':').next().unwrap_or_default();
        let wire = Wire::connect(name, self.plan.services[service].address, Plan::source_of(client).into(), &self.identity).await?;
        self.tally.borrow_mut().took("connect", began.elapsed());
        Ok(wire)
    }

    /// Host and base path of a service.
    pub(super) fn place_of(&self, service: usize) -> (&str, &str) {
        let url = &self.plan.services[service].url;
        let after_scheme = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        after_scheme.split_at(after_scheme.find('/').unwrap_or(after_scheme.len()))
    }
}

/// A process's life: reads its plan, lets its clients live, tells what they experience, and ends with its input.
pub(crate) async fn run() -> Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line)?;
    let identity: Identity = Arc::new(stream::believing(&plan.authority)?);
    let handshakes = tokio::sync::Semaphore::new(HANDSHAKES);
    let world = Rc::new(World { plan, tally: RefCell::default(), identity, handshakes, began: Instant::now() });
    let over = tokio::task::spawn_blocking(|| std::io::stdin().lock().read_line(&mut String::new()));
    let clients = LocalSet::new();
    clients
        .run_until(async {
            spawn_local(arrive(Rc::clone(&world)));
            tokio::select! {
                told = tell(&world) => told,
                _ = over => say(&world),
            }
        })
        .await
}

/// Starts the clients one after the other, over the time that they have for it.
async fn arrive(world: Rc<World>) {
    let pause = world.plan.arrive / world.plan.count.max(1) as u32;
    for place in 0..world.plan.count {
        sleep_until(world.began + pause * place as u32).await;
        let (own, number) = (Rc::clone(&world), world.plan.first + place);
        spawn_local(async move {
            if let Err(error) = device::live(own, number).await {
                let _ = writeln!(std::io::stderr(), "client {number}: {error}");
            }
        });
    }
}

async fn tell(world: &World) -> Result<()> {
    let mut pause = interval(Duration::from_millis(500));
    loop {
        pause.tick().await;
        say(world)?;
    }
}

fn say(world: &World) -> Result<()> {
    let line = serde_json::to_string(&*world.tally.borrow())?;
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
