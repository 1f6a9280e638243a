//! The agent: one owner of all that changes, and one loop that hears what happens, asks `cmg_core` what to do, and does it.
//!
//! Whatever takes time is a job of its own, which ends in a word to the loop. So there are no locks, and a slow site delays nothing else.

mod events;
mod jobs;
mod policies;
mod report;
mod schedule;
mod site;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use cmg_api::device::MessageKind;
use cmg_api::policy::ClientSettingsPolicy;
use cmg_core::backoff::Backoff;
use cmg_core::roaming::{Action, Event, Roaming, Route};
use cmg_core::time::Tick;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use self::jobs::Done;
use self::schedule::{Schedule, Timer, until};
use crate::carrier::{Carrier, Told, Way};
use crate::clock;
use crate::desk::Asked;
use crate::disk::Disk;
use crate::identity::Identity;
use crate::inventory;
use crate::os::{Surroundings, Watch};
use crate::policy::Keeper;
use crate::queue::Queue;
use crate::status::Mishap;

/// How long the network has to be quiet before it is looked at: one change is many messages of the kernel.
const QUIET: Duration = Duration::from_millis(100);
/// How long after a change the site is listened to again where the way stays the same: by then it is known.
const RESTORED: Duration = Duration::from_secs(1);
/// What is told of what went wrong.
const MISHAPS: usize = 20;
/// Waits after the site could not be asked.
const WAITS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));
/// Waits after the next token was refused or did not come: it is asked for long before the end.
const RENEWALS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(21_600));

/// What the agent works with.
pub(crate) struct Parts {
    pub(crate) disk: Disk,
    pub(crate) carrier: Carrier,
    pub(crate) told: mpsc::Receiver<Told>,
    pub(crate) asked: mpsc::Receiver<Asked>,
    pub(crate) identity: Identity,
    pub(crate) keeper: Keeper,
    pub(crate) queue: Queue,
    pub(crate) always_internet: bool,
}

/// The agent at work.
pub(crate) struct Agent {
    disk: Disk,
    carrier: Carrier,
    told: mpsc::Receiver<Told>,
    asked: mpsc::Receiver<Asked>,
    identity: Identity,
    keeper: Keeper,
    queue: Queue,
    roaming: Roaming,
    surroundings: Surroundings,
    schedule: Schedule,
    jobs: JoinSet<Done>,
    /// Jobs under way of which there is only one at a time.
    busy: BTreeSet<Timer>,
    /// The question for notifications that is held.
    channel: Option<AbortHandle>,
    /// Whether the last question for notifications was answered: then the site tells of policies by itself.
    is_told: bool,
    after: u64,
    backoff: Backoff,
    renewals: Backoff,
    mishaps: VecDeque<Mishap>,
    /// Why the token is not renewed.
    renewal_trouble: Option<String>,
    began: Instant,
    began_at: u64,
    drift_told: i64,
}

impl Agent {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { disk, carrier, told, asked, identity, keeper, queue, always_internet } = parts;
        let surroundings = Surroundings::now();
        let site = keeper.held().map_or_else(site::before_policy, |policy| site::of(policy));
        let roaming = Roaming::new(site, surroundings.addresses.clone(), always_internet, Tick(0));
        Self {
            roaming,
            surroundings,
            schedule: Schedule::default(),
            jobs: JoinSet::new(),
            busy: BTreeSet::new(),
            channel: None,
            is_told: false,
            after: 0,
            backoff: Backoff::new(WAITS.0, WAITS.1),
            renewals: Backoff::new(RENEWALS.0, RENEWALS.1),
            mishaps: VecDeque::new(),
            renewal_trouble: None,
            began: Instant::now(),
            began_at: clock::now().0,
            drift_told: 0,
            disk,
            carrier,
            told,
            asked,
            identity,
            keeper,
            queue,
        }
    }

    /// Works until dropped.
    pub(crate) async fn run(mut self) {
        self.begin();
        let mut watch = Watch::new();
        loop {
            let wake = self.wake_at();
            tokio::select! {
                () = watch.changed() => self.schedule.set_if_missing(Timer::Look, QUIET),
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(done),
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => error!(%error, "A part of the client has failed"),
                },
                Some(told) = self.told.recv() => self.hear(&told),
                Some(asked) = self.asked.recv() => self.serve(asked),
                () = sleep_until(wake) => self.due(),
            }
        }
    }

    fn begin(&mut self) {
        self.carrier.take_token(self.identity.token());
        self.carrier.take_way(Way::Nowhere("the site is being looked for".to_owned()));
        if let Some(policy) = self.keeper.held().cloned() {
            self.put_in_force(policy);
        }
        self.schedule.set(Timer::Renew, self.until_renewal());
        let settings = self.settings();
        let last = self.last();
        let next = |last: u64, every: u64| Duration::from_secs(last.saturating_add(every).saturating_sub(clock::now().0).min(every));
        self.schedule.set(Timer::Heartbeat, next(last.heartbeat, settings.heartbeat_every));
        self.schedule.set(Timer::Inventory, next(last.inventory, settings.inventory_every));
        self.feed(Event::Woken);
    }

    fn wake_at(&self) -> Instant {
        let roaming = self.began + Duration::from_millis(self.roaming.wake_at().0);
        self.schedule.next().map_or(roaming, |at| at.min(roaming))
    }

    /// Something has happened: the machine says what to do.
    fn feed(&mut self, event: Event) {
        let now = self.tick();
        for action in self.roaming.handle(event, now, &mut cmg_process::dice::draw) {
            match action {
                Action::Probe(id, target, within) => {
                    let (carrier, tag) = (self.carrier.clone(), self.keeper.tag());
                    self.jobs.spawn(jobs::probed(carrier, id, target, tag, within));
                }
                Action::Use(route) => self.use_route(&route),
                Action::Tell(story) => tell(&story),
            }
        }
    }

    /// Time has passed.
    fn due(&mut self) {
        for timer in self.schedule.take_due() {
            match timer {
                Timer::Look => self.look(),
                Timer::Policy => self.ask_policy(),
                Timer::Renew => self.renew(),
                Timer::Heartbeat => self.heartbeat(),
                Timer::Inventory => self.inventory(),
                Timer::Send => self.send(),
                Timer::Notify => self.listen(),
            }
        }
        self.feed(Event::Woken);
    }

    /// Whether the network is another one; the kernel has much to say that means nothing.
    fn look(&mut self) {
        let found = Surroundings::now();
        if found == self.surroundings {
            return;
        }
        info!(addresses = ?found.addresses, "The network has changed");
        self.surroundings = found;
        self.carrier.forget_connections();
        // What is held goes through a network that may be gone.
        self.hang_up();
        self.feed(Event::NetworkChanged(self.surroundings.addresses.clone()));
        self.schedule.set_if_missing(Timer::Notify, RESTORED);
    }

    fn use_route(&mut self, route: &Route) {
        let way = match route {
            Route::ManagementPoint(point) => Way::Intranet(point.as_str().to_owned()),
            Route::Service(service) => Way::Service(service.as_str().to_owned()),
            Route::Nothing => Way::Nowhere(self.roaming.place().to_string().to_lowercase()),
        };
        self.hang_up();
        self.carrier.take_way(way);
        if *route != Route::Nothing {
            self.backoff.reset();
            self.schedule.set(Timer::Renew, self.until_renewal());
            for timer in [Timer::Notify, Timer::Policy, Timer::Send] {
                self.schedule.set(timer, Duration::ZERO);
            }
        }
    }

    fn ask_policy(&mut self) {
        if self.has_way() && self.busy.insert(Timer::Policy) {
            self.jobs.spawn(jobs::policy(self.carrier.clone(), self.keeper.tag()));
        }
    }

    fn renew(&mut self) {
        let is_early = clock::now().0 < self.identity.given.renew_after;
        match (is_early, self.has_way()) {
            // Timers count at most so far; the clock may have been set meanwhile.
            (true, _) => self.schedule.set(Timer::Renew, self.until_renewal()),
            (false, false) => self.schedule.set(Timer::Renew, RENEWALS.0),
            (false, true) => {
                if self.busy.insert(Timer::Renew) {
                    self.jobs.spawn(jobs::renewed(self.carrier.clone()));
                }
            }
        }
    }

    fn until_renewal(&self) -> Duration {
        let given = &self.identity.given;
        let wait = until(given.renew_after, given.expires_at, clock::now().0, cmg_process::dice::draw());
        // A clock that is set meanwhile is noticed within a day.
        wait.min(Duration::from_secs(86_400))
    }

    fn heartbeat(&mut self) {
        let policy = self.keeper.held().map(|policy| policy.generation);
        self.queue_message(MessageKind::Heartbeat, inventory::heartbeat(&self.identity.name, policy));
        self.remember(|last| last.heartbeat = clock::now().0);
        let every = Duration::from_secs(self.settings().heartbeat_every.max(60));
        self.schedule.set_about(Timer::Heartbeat, every, cmg_process::dice::draw());
    }

    fn inventory(&mut self) {
        self.queue_message(MessageKind::Inventory, inventory::inventory(&self.identity.name));
        self.remember(|last| last.inventory = clock::now().0);
        let every = Duration::from_secs(self.settings().inventory_every.max(60));
        self.schedule.set_about(Timer::Inventory, every, cmg_process::dice::draw());
    }

    fn queue_message(&mut self, kind: MessageKind, body: serde_json::Value) {
        match self.queue.add(kind, body) {
            Ok(()) => self.schedule.set(Timer::Send, Duration::ZERO),
            Err(error) => self.mishap(format!("A message is not kept: {error}")),
        }
    }

    fn send(&mut self) {
        if !self.has_way() || self.busy.contains(&Timer::Send) {
            return;
        }
        match self.queue.batch() {
            Ok(batch) if batch.messages.is_empty() => {}
            Ok(batch) => {
                self.busy.insert(Timer::Send);
                self.jobs.spawn(jobs::sent(self.carrier.clone(), batch));
            }
            Err(error) => self.mishap(format!("Messages cannot be read: {error}")),
        }
    }

    /// Asks for notifications, unless a question is held.
    fn listen(&mut self) {
        let Some(policy) = self.keeper.held().filter(|_| self.has_way() && self.channel.is_none()) else { return };
        let wait = Duration::from_secs(self.settings().notification_wait.clamp(5, cmg_api::device::LONGEST_WAIT));
        let job = jobs::notified(self.carrier.clone(), self.after, policy.generation, wait);
        self.channel = Some(self.jobs.spawn(job));
    }

    fn hang_up(&mut self) {
        self.is_told = false;
        if let Some(channel) = self.channel.take() {
            channel.abort();
        }
    }

    fn has_way(&self) -> bool {
        self.roaming.place().route() != Route::Nothing
    }

    fn settings(&self) -> ClientSettingsPolicy {
        self.keeper.held().map(|policy| policy.client.clone()).unwrap_or_default()
    }

    fn tick(&self) -> Tick {
        Tick(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Something went wrong: told in the log, and kept for whoever asks.
    fn mishap(&mut self, what: String) {
        warn!("{what}");
        // The same once more is one line with a later time.
        self.mishaps.retain(|known| known.what != what);
        self.mishaps.push_back(Mishap { at: clock::now().0, what });
        while self.mishaps.len() > MISHAPS {
            self.mishaps.pop_front();
        }
    }
}

fn tell(story: &cmg_core::roaming::Story) {
    use cmg_core::roaming::Story;
    match story {
        Story::Searching(_) | Story::Moved { .. } => info!("{story}"),
        Story::Left { .. } | Story::FoundNobody { .. } => warn!("{story}"),
    }
}
