//! One client: the state machine of `cmg-core` that a real one runs, with real connections for its probes and its work. Only its network
//! is not real: it is there, away, or another.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use cmg_core::choice::{Rules, Trouble};
use cmg_core::dice::within;
use cmg_core::ids::ServiceId;
use cmg_core::roaming::{Action, Event, ProbeId, Roaming, Route, Site, Target};
use cmg_lab::ProofKey;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until, timeout};

use super::wire::{Asking, Wire};
use super::work::{Me, trouble_word, work};
use super::worker::World;
use crate::Result;

/// What comes back from the tasks of a client.
pub(super) enum Told {
    /// A probe has ended; the connection of one that succeeded is used for work.
    Probed(ProbeId, usize, Result<Wire, Trouble>),
    /// A request through a service was answered, or failed.
    Worked(usize, Result<(), Trouble>),
}

struct Device {
    world: Rc<World>,
    me: Rc<Me>,
    roaming: Roaming,
    /// When the network changes next, where clients are restless.
    change: Option<Instant>,
    tell: UnboundedSender<Told>,
    /// Connections that have proven themselves.
    warm: BTreeMap<usize, Wire>,
    using: Option<usize>,
    working: Option<JoinHandle<()>>,
    /// Since when nothing has worked.
    failing: Option<Instant>,
    is_working: bool,
}

/// Lives a client's life, which has no end of its own.
pub(super) async fn live(world: Rc<World>, number: usize) -> Result<()> {
    let me = Rc::new(Me::new(number, ProofKey::new()?, world.plan.seed.wrapping_add(number as u64).wrapping_mul(0x9e37_79b9)));
    let (tell, told) = unbounded_channel();
    let roaming = Roaming::new(site(&world), Vec::new(), true, world.now());
    let mut device = Device {
        roaming,
        change: None,
        tell,
        warm: BTreeMap::new(),
        using: None,
        working: None,
        failing: None,
        is_working: false,
        world,
        me,
    };
    device.world.tally.borrow_mut().started += 1;
    device.run(told).await;
    Ok(())
}

fn site(world: &World) -> Site {
    let services = world.plan.services.iter().map(|service| (ServiceId::new(&service.name), 1)).collect();
    Site { services, rules: Rules::default(), ..Site::default() }
}

impl Device {
    async fn run(&mut self, mut told: UnboundedReceiver<Told>) {
        self.schedule_change();
        self.feed(Event::Woken);
        loop {
            let wake = self.world.at(self.roaming.wake_at());
            let change = self.change.unwrap_or(wake).max(Instant::now());
            tokio::select! {
                biased;
                Some(told) = told.recv() => self.told(told),
                () = sleep_until(wake) => self.feed(Event::Woken),
                () = sleep_until(change), if self.change.is_some() => self.change_network(),
            }
        }
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Probed(probe, service, outcome) => {
                let word = outcome.as_ref().map_or_else(|trouble| trouble_word(*trouble), |_| "proven");
                self.world.tally.borrow_mut().count("probe", word);
                let outcome = outcome.map(|wire| drop(self.warm.insert(service, wire)));
                self.feed(Event::Answered(probe, outcome));
                if !self.is_searching() {
                    self.warm.clear();
                }
            }
            Told::Worked(service, outcome) if Some(service) == self.using => {
                match outcome {
                    Ok(()) => self.works(),
                    Err(_) => self.fails(),
                }
                let target = Target::Service(self.service_id(service));
                self.feed(outcome.map_or_else(|trouble| Event::Failed(target.clone(), trouble), |()| Event::Succeeded(target.clone())));
            }
            // It was left meanwhile.
            Told::Worked(..) => {}
        }
    }

    fn is_searching(&self) -> bool {
        self.roaming.explain().is_searching
    }

    fn service_id(&self, service: usize) -> ServiceId {
        ServiceId::new(&self.world.plan.services[service].name)
    }

    fn feed(&mut self, event: Event) {
        let me = Rc::clone(&self.me);
        let actions = self.roaming.handle(event, self.world.now(), &mut || me.draw());
        for action in actions {
            match action {
                Action::Probe(probe, target, within) => self.probe(probe, target, within),
                Action::Use(route) => self.change_route(&route),
                Action::Tell(_) => {}
            }
        }
    }

    fn probe(&self, probe: ProbeId, target: Target, within: Duration) {
        let planned = match &target {
            Target::Service(service) => self.planned(service),
            // The laboratory has no captive portals, and its clients no intranet.
            Target::Portal(_) | Target::ManagementPoint(_) => None,
        };
        let Some(service) = planned else {
            return drop(self.tell.send(Told::Probed(probe, 0, Err(Trouble::Refused))));
        };
        let (world, me, tell) = (Rc::clone(&self.world), Rc::clone(&self.me), self.tell.clone());
        spawn_local(async move {
            let outcome = match me.is_online.get() {
                true => timeout(within, ask_to_prove(&world, service, me.number)).await.unwrap_or(Err(Trouble::Broken)),
                false => Err(Trouble::Refused),
            };
            drop(tell.send(Told::Probed(probe, service, outcome)));
        });
    }

    /// The place of a service in the plan.
    fn planned(&self, service: &ServiceId) -> Option<usize> {
        self.world.plan.services.iter().position(|planned| planned.name == service.as_str())
    }

    fn change_route(&mut self, route: &Route) {
        self.stop_working();
        let Route::Service(service) = route else { return };
        let Some(service) = self.planned(service) else { return };
        self.share(service, 1);
        self.using = Some(service);
        let wire = self.warm.remove(&service);
        let working = work(Rc::clone(&self.world), Rc::clone(&self.me), service, wire, self.tell.clone());
        self.working = Some(spawn_local(working));
    }

    fn stop_working(&mut self) {
        if let Some(working) = self.working.take() {
            working.abort();
        }
        if let Some(service) = self.using.take() {
            self.share(service, -1);
            self.fails();
        }
    }

    fn share(&self, service: usize, change: i64) {
        let name = &self.world.plan.services[service].name;
        *self.world.tally.borrow_mut().shares.entry(name.clone()).or_default() += change;
    }

    fn works(&mut self) {
        let mut tally = self.world.tally.borrow_mut();
        if let Some(since) = self.failing.take() {
            tally.took("recover", since.elapsed());
        }
        if !std::mem::replace(&mut self.is_working, true) {
            tally.working += 1;
        }
    }

    fn fails(&mut self) {
        if std::mem::replace(&mut self.is_working, false) {
            self.world.tally.borrow_mut().working -= 1;
            self.failing.get_or_insert_with(Instant::now);
        }
    }

    fn schedule_change(&mut self) {
        let every = self.world.plan.pace.restless_every;
        self.change = (!every.is_zero()).then(|| Instant::now() + within(self.me.draw(), every * 2));
    }

    /// The network goes away, for a while or to sleep; or comes back; or becomes another from one moment to the next.
    fn change_network(&mut self) {
        let every = self.world.plan.pace.restless_every;
        let is_back = !self.me.is_online.get();
        let is_lost = !is_back && self.me.draw().is_multiple_of(2);
        let happening = if is_back {
            "back"
        } else if is_lost {
            "lost"
        } else {
            "roamed"
        };
        self.me.is_online.set(!is_lost);
        self.restart_work();
        self.change = Some(Instant::now() + within(self.me.draw(), every * 2));
        if is_back {
            // The time to recover counts from where there is a network again.
            self.failing = self.failing.map(|_| Instant::now());
        }
        self.world.tally.borrow_mut().count("network", happening);
        self.feed(Event::NetworkChanged(Vec::new()));
    }

    /// Connections do not outlive the network that they were made in.
    fn restart_work(&mut self) {
        self.warm.clear();
        let Some(service) = self.using else { return };
        self.fails();
        if let Some(working) = self.working.take() {
            working.abort();
        }
        let working = work(Rc::clone(&self.world), Rc::clone(&self.me), service, None, self.tell.clone());
        self.working = Some(spawn_local(working));
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(working) = self.working.take() {
            working.abort();
        }
    }
}

/// A service proves itself by its certificate, and by an answer of the site behind it: without a credential that is a refusal, and not
/// one that says that nobody is there.
async fn ask_to_prove(world: &World, service: usize, client: usize) -> Result<Wire, Trouble> {
    let mut wire = world.connect(service, client).await?;
    let (host, base) = world.place_of(service);
    let path = format!("{base}{}", cmg_api::device::POLICY);
    let asking = Asking { method: "GET", path: &path, host, fields: Vec::new(), body: &[], within: Duration::from_secs(10) };
    let answer = wire.ask(&asking).await?;
    answer.trouble().map_or(Ok(wire), Err)
}
