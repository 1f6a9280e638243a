//! Where a client is, and through what it works: the intranet, an internet-based service, behind a captive portal, or nowhere.
//!
//! It is the intranet only if a management point has proven itself: no name and no address does. Candidates are probed side by side, in
//! an order of preference that is drawn anew for each search (`search`); a better one that answers a little later is waited for, so
//! that a quick service is not chosen more often than a slow one. The search begins anew on a change of the network, on a failure, on a
//! new policy and once a day. Fed and polled: feed [`Roaming::handle`], carry out what it says, in order, and call it again with
//! [`Event::Woken`] at [`Roaming::wake_at`], which there always is.
//!
//! All time here is monotonic, so a wall clock that is a year off changes nothing.
mod candidates;
mod explain;
mod place;
mod search;
#[cfg(test)]
mod tests;
mod timers;

use alloc::collections::BTreeMap;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

pub use self::explain::{Cause, Explanation, ServerStanding, Story};
pub use self::place::{Place, Route};
use self::search::Search;
pub use self::search::{Attempt, ProbeId, Target};
use self::timers::Timers;
pub use self::timers::{SETTLE, SETTLE_AT_MOST};
use crate::backoff::Backoff;
use crate::boundary::Boundaries;
use crate::choice::{Choice, Record, Rules, Trouble, Verdict};
use crate::dice::{Dice, within};
use crate::ids::{ManagementPointId, ServiceId};
use crate::time::Tick;

/// A call so much later than [`Roaming::wake_at`] means that the device slept: what it was waiting for says nothing.
const ASLEEP: Duration = Duration::from_secs(30);
/// Shortest wait after a search that has found nobody: jitter may be nothing at all.
const AGAIN_AT_LEAST: Duration = Duration::from_millis(250);
/// Shortest time between two searches that errors of a management point cause.
const CHECK_AGAIN: Duration = Duration::from_secs(30);

/// What the policy says about finding one's way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// Management points of the intranet.
    pub management_points: Vec<ManagementPointId>,
    /// Internet-based services with their weights.
    pub services: Vec<(ServiceId, u32)>,
    /// Boundary groups.
    pub boundaries: Boundaries,
    /// How to choose among services.
    pub rules: Rules,
    /// How often to search although nothing has happened. Zero counts as a day.
    pub evaluate_every: Duration,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time has passed.
    Woken,
    /// The network has changed; the device's own addresses.
    NetworkChanged(Vec<IpAddr>),
    /// A probe has ended. `Ok` says that the target has proven itself: a management point by a certificate of the site with its role, a
    /// service by a certificate for its name under the roots that the policy gives, with the site's management point behind it.
    Answered(ProbeId, Result<(), Trouble>),
    /// A request has been answered.
    Succeeded(Target),
    /// A request has failed.
    Failed(Target, Trouble),
    /// There is a policy.
    PolicyChanged(Site),
    /// Whether this device uses internet-based services wherever it is.
    AlwaysInternet(bool),
    /// Somebody asks for a search.
    Locate,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the target to prove itself, for so long at most, and tell [`Event::Answered`]. What is not told by then counts as no answer,
    /// and what is told of a probe that is no longer of interest is ignored.
    Probe(ProbeId, Target, Duration),
    /// From here on, requests go there.
    Use(Route),
    /// A line of the story that the log tells.
    Tell(Story),
}

/// Finds out where a client is.
#[derive(Clone, Debug)]
pub struct Roaming {
    site: Site,
    choice: Choice,
    /// What is known of the management points.
    points: BTreeMap<ManagementPointId, Record>,
    addresses: Vec<IpAddr>,
    always_internet: bool,
    place: Place,
    since: Tick,
    /// The search that is under way, or was last.
    search: Search,
    backoff: Backoff,
    timers: Timers,
    /// The latest time that was told: time does not go back.
    now: Tick,
    next_probe: u64,
}

impl Roaming {
    /// A client that has just started, with the policy that it has kept, if any. It is to be woken at once.
    pub fn new(site: Site, addresses: Vec<IpAddr>, always_internet: bool, now: Tick) -> Self {
        Self {
            choice: Choice::new(site.rules, site.services.iter().cloned()),
            points: site.management_points.iter().map(|point| (point.clone(), Record::default())).collect(),
            addresses,
            always_internet,
            place: Place::Unknown,
            since: now,
            search: Search::over(Cause::Started, now),
            backoff: backoff(&site.rules),
            timers: Timers::new(now, Cause::Started),
            now,
            next_probe: 0,
            site,
        }
    }

    /// Where the client is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// When to call [`Roaming::handle`] again at the latest. Every call of it may change this.
    pub fn wake_at(&self) -> Tick {
        self.search.wake_at().map_or(self.timers.next(), |at| at.min(self.timers.next()))
    }

    /// Until when what is in use is not to be asked for anything: it has said so.
    pub fn rests_until(&self) -> Option<Tick> {
        match self.place.route() {
            Route::ManagementPoint(point) => self.points.get(&point)?.rests_until(self.now),
            Route::Service(service) => self.choice.services().find(|(known, ..)| **known == service)?.2.rests_until(self.now),
            Route::Nothing => None,
        }
    }

    /// Something has happened. What is to be done is to be done in order.
    pub fn handle(&mut self, event: Event, now: Tick, dice: Dice<'_>) -> Vec<Action> {
        let now = now.max(self.now);
        let slept = now.since(self.wake_at()) >= ASLEEP;
        self.now = now;
        let mut actions = Vec::new();
        if slept {
            self.timers.settle_now(now);
        }
        self.feed(event, dice, &mut actions);
        self.run_timers(dice, &mut actions);
        self.advance(dice, &mut actions);
        actions
    }

    fn feed(&mut self, event: Event, dice: Dice<'_>, actions: &mut Vec<Action>) {
        match event {
            Event::Woken => {}
            Event::NetworkChanged(addresses) => {
                self.addresses = addresses;
                self.timers.unsettle(self.now);
            }
            Event::Answered(probe, outcome) => self.answered(probe, outcome, dice),
            Event::Succeeded(target) => self.succeeded(&target),
            Event::Failed(target, trouble) => self.failed(&target, trouble, dice, actions),
            Event::PolicyChanged(site) => self.policy_changed(site, dice, actions),
            Event::AlwaysInternet(always) => {
                if core::mem::replace(&mut self.always_internet, always) != always {
                    self.timers.put_off(self.now, Cause::Asked);
                }
            }
            Event::Locate => self.timers.put_off(self.now, Cause::Asked),
        }
    }

    fn run_timers(&mut self, dice: Dice<'_>, actions: &mut Vec<Action>) {
        if self.timers.settles(self.now) {
            self.choice.forget();
            self.points.values_mut().for_each(Record::forget);
            self.backoff.reset();
            return self.begin(Cause::NetworkChanged, dice, actions);
        }
        if let Some(cause) = self.timers.again(self.now) {
            return self.begin(cause, dice, actions);
        }
        if self.timers.evaluate <= self.now {
            self.begin(Cause::Daily, dice, actions);
        }
    }

    /// Begins a search, which ends another that is under way.
    fn begin(&mut self, cause: Cause, dice: Dice<'_>, actions: &mut Vec<Action>) {
        let every = every(&self.site);
        self.timers.evaluate = self.now.after((every - every / 10).saturating_add(within(dice(), every / 5)));
        self.timers.again = None;
        let candidates = self.candidates(dice);
        if candidates.is_empty() && self.choice.services().next().is_none() {
            // There is nobody to look for: only a policy can help.
            self.search = Search::over(cause, self.now);
            return self.move_to(Place::Unknown, actions);
        }
        actions.push(Action::Tell(Story::Searching(cause)));
        self.search = Search::new(cause, self.now, candidates);
    }

    fn answered(&mut self, probe: ProbeId, outcome: Result<(), Trouble>, dice: Dice<'_>) {
        if let Some(target) = self.search.answered(probe, outcome, self.now) {
            self.learn(&target, outcome, dice);
        }
    }

    /// What a probe has shown counts as what a request would have.
    fn learn(&mut self, target: &Target, outcome: Result<(), Trouble>, dice: Dice<'_>) {
        match (target, outcome) {
            (_, Ok(())) => self.succeeded(target),
            (Target::ManagementPoint(point), Err(trouble)) => {
                if let Some(record) = self.points.get_mut(point) {
                    record.failed(trouble, &self.site.rules, self.now, dice());
                }
            }
            (Target::Service(service), Err(trouble)) => {
                self.choice.failed(service, trouble, self.now, dice());
            }
            (Target::Portal(_), Err(_)) => {}
        }
    }

    fn succeeded(&mut self, target: &Target) {
        match target {
            Target::ManagementPoint(point) => {
                if let Some(record) = self.points.get_mut(point) {
                    record.succeeded();
                }
            }
            Target::Service(service) => self.choice.succeeded(service),
            Target::Portal(_) => {}
        }
    }

    fn failed(&mut self, target: &Target, trouble: Trouble, dice: Dice<'_>, actions: &mut Vec<Action>) {
        let verdict = match target {
            Target::ManagementPoint(point) => match self.points.get_mut(point) {
                Some(record) => record.failed(trouble, &self.site.rules, self.now, dice()),
                None => Verdict::Left,
            },
            Target::Service(service) => self.choice.failed(service, trouble, self.now, dice()),
            Target::Portal(_) => return,
        };
        if !target.is_used(&self.place.route()) {
            return;
        }
        match verdict {
            Verdict::Left => self.leave(Some(trouble), dice, actions),
            Verdict::Rests(_) => {}
            Verdict::Kept => self.check(target),
        }
    }

    /// An error on the intranet may mean that this is the intranet no more: it is looked at, and what is in use stays so meanwhile.
    fn check(&mut self, target: &Target) {
        let recently = self.timers.checked.is_some_and(|at| self.now.since(at) < CHECK_AGAIN);
        if matches!(target, Target::ManagementPoint(_)) && !recently && !self.search.is_under_way() {
            self.timers.checked = Some(self.now);
            self.timers.put_off(self.now, Cause::Failed);
        }
    }

    /// Leaves what is in use. Its other clients do so, too, so each waits a time of its own before it turns to the rest.
    fn leave(&mut self, trouble: Option<Trouble>, dice: Dice<'_>, actions: &mut Vec<Action>) {
        let left = self.place.route();
        let wait = within(dice(), self.site.rules.failover_within());
        self.search.stop();
        self.timers.again = None;
        self.timers.put_off(self.now.after(wait), Cause::Failed);
        actions.push(Action::Tell(Story::Left { route: left, trouble, wait }));
        self.move_to(Place::Unknown, actions);
    }

    fn policy_changed(&mut self, site: Site, dice: Dice<'_>, actions: &mut Vec<Action>) {
        if site == self.site {
            return;
        }
        self.choice.replace(site.rules, site.services.iter().cloned());
        let mut known = core::mem::take(&mut self.points);
        self.points = site.management_points.iter().map(|point| (point.clone(), known.remove(point).unwrap_or_default())).collect();
        if site.rules != self.site.rules {
            self.backoff = backoff(&site.rules);
        }
        if every(&site) != every(&self.site) {
            self.timers.evaluate = self.timers.evaluate.min(self.now.after(every(&site)));
        }
        self.site = site;
        match self.place.route() {
            // Who works through nothing cannot make a storm of it: the policy came by hand, or from a service that is gone.
            Route::Nothing => self.timers.put_off(self.now, Cause::PolicyChanged),
            Route::ManagementPoint(point) if !self.points.contains_key(&point) => self.leave(None, dice, actions),
            Route::Service(service) if !self.choice.knows(&service) => self.leave(None, dice, actions),
            // Everybody gets the policy at the same time.
            Route::ManagementPoint(_) | Route::Service(_) => {
                self.timers.put_off(self.now.after(within(dice(), self.site.rules.spread)), Cause::PolicyChanged);
            }
        }
    }

    /// Carries the search on: ends probes whose time is over, begins others, and acts on what is decided.
    fn advance(&mut self, dice: Dice<'_>, actions: &mut Vec<Action>) {
        for target in self.search.expire(self.now) {
            self.learn(&target, Err(Trouble::Broken), dice);
        }
        match self.search.decide(self.now) {
            search::Decision::Pending => {}
            search::Decision::Found(place) => {
                self.backoff.reset();
                self.move_to(place, actions);
            }
            search::Decision::Nobody { portal } => self.found_nobody(portal, dice, actions),
            search::Decision::AskForPortal => {
                let service = self.site.services.first().map(|(service, _)| service.clone());
                self.search.ask_for_portal(service);
                return self.advance(dice, actions);
            }
        }
        for (probe, target) in self.search.next_probes(self.now, &mut self.next_probe) {
            actions.push(Action::Probe(probe, target, search::PROBE_WITHIN));
        }
    }

    fn found_nobody(&mut self, portal: bool, dice: Dice<'_>, actions: &mut Vec<Action>) {
        let mut wait = self.backoff.wait(dice()).max(AGAIN_AT_LEAST);
        if let Some(until) = self.choice.all_rest_until(self.now) {
            wait = wait.max(until.since(self.now));
        }
        self.timers.put_off(self.now.after(wait), Cause::FoundNobody);
        actions.push(Action::Tell(Story::FoundNobody { portal, wait }));
        self.move_to(if portal { Place::Portal } else { Place::Offline }, actions);
    }

    fn move_to(&mut self, place: Place, actions: &mut Vec<Action>) {
        if place == self.place {
            return;
        }
        let before = self.place.route();
        let from = core::mem::replace(&mut self.place, place.clone());
        self.since = self.now;
        if before != self.place.route() {
            actions.push(Action::Use(self.place.route()));
        }
        actions.push(Action::Tell(Story::Moved { from, to: place }));
    }

    /// Where the client is and why, for people.
    pub fn explain(&self) -> Explanation {
        let standing = self.site.boundaries.at(&self.addresses);
        let points = self
            .points
            .iter()
            .map(|(point, record)| ServerStanding::new(Target::ManagementPoint(point.clone()), None, record, &self.site.rules, self.now));
        let services = self.choice.services().map(|(service, weight, record)| {
            ServerStanding::new(Target::Service(service.clone()), Some(weight), record, &self.site.rules, self.now)
        });
        Explanation {
            place: self.place.clone(),
            since: self.since,
            cause: self.search.cause(),
            began: self.search.began(),
            is_searching: self.search.is_under_way(),
            attempts: self.search.attempts(),
            servers: points.chain(services).collect(),
            boundary_groups: standing.groups().map(ToString::to_string).collect(),
            prefers_cloud: standing.prefers_cloud(),
            always_internet: self.always_internet,
            next: self.timers.next_search(),
        }
    }
}

/// Waits for a retry: what died is back in the same moment for all, so even the first wait is spread.
fn backoff(rules: &Rules) -> Backoff {
    Backoff::new(rules.failover_within(), rules.spread)
}

fn every(site: &Site) -> Duration {
    if site.evaluate_every.is_zero() { Duration::from_secs(86_400) } else { site.evaluate_every }
}
