//! Which internet-based service a client uses: one drawn at random, kept while it works, left when it does not.
//!
//! Every client draws for itself, so clients spread evenly without anybody's help, and the clients of a service that died spread evenly
//! over the others. They do not arrive there together either: each waits a time of its own ([`Rules::failover_within`]).
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::dice::{Dice, below, within};
use crate::ids::ServiceId;
use crate::time::Tick;

/// The longest time for which a server may send clients away: a wrong figure must not lose them for a day.
pub const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// How a client chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Errors after which a service is left; zero counts as one.
    pub leave_after_errors: u32,
    /// Within which time they count.
    pub leave_within: Duration,
    /// How long a service that was left is not chosen while there are others.
    pub avoid_for: Duration,
    /// Over which time clients spread when all come back at once.
    pub spread: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            leave_after_errors: 5,
            leave_within: Duration::from_secs(600),
            avoid_for: Duration::from_secs(900),
            spread: Duration::from_secs(30),
        }
    }
}

impl Rules {
    /// Over which time the clients of a service that died arrive at the others: a third of [`Rules::spread`], since nobody works
    /// meanwhile.
    pub fn failover_within(&self) -> Duration {
        self.spread / 3
    }
}

/// What went wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its name has no address.
    Unresolved,
    /// Nobody listens there, or no way leads there.
    Refused,
    /// Somebody answers who is not it: another name, or a certificate that nobody known has issued.
    Untrusted,
    /// The page of a captive portal came in its place.
    Portal,
    /// No answer in time, an answer that broke off, or a server's error.
    Broken,
    /// It asks to be left alone for so long.
    Busy(Duration),
}

impl Trouble {
    /// Whether it is of no use to ask again soon.
    fn is_final(self) -> bool {
        match self {
            Self::Unresolved | Self::Refused | Self::Untrusted | Self::Portal => true,
            Self::Broken | Self::Busy(_) => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("its name has no address"),
            Self::Refused => f.write_str("nobody listens there"),
            Self::Untrusted => f.write_str("somebody else answers in its place"),
            Self::Portal => f.write_str("a captive portal answers in its place"),
            Self::Broken => f.write_str("it does not answer, or not as it should"),
            Self::Busy(rest) => write!(f, "it asks to be left alone for {} s", rest.as_secs()),
        }
    }
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server is kept.
    Kept,
    /// It is kept, and not to be asked before then: it said so.
    Rests(Tick),
    /// It is left.
    Left,
}

/// What is known of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The latest errors; no more than count.
    errors: VecDeque<Tick>,
    /// Until when it is avoided, by the client's own experience.
    avoided: Option<Tick>,
    /// Until when it rests, by its own word.
    rests: Option<Tick>,
}

impl Record {
    /// It works.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It does not. `draw` spreads the return of those who were sent away together.
    pub fn failed(&mut self, trouble: Trouble, rules: &Rules, now: Tick, draw: u64) -> Verdict {
        if let Trouble::Busy(asked) = trouble {
            let rest = asked.min(LONGEST_REST);
            let until = now.after(rest.saturating_add(within(draw, rest.max(rules.failover_within()).min(rules.spread))));
            self.rests = self.rests.max(Some(until));
            // A short rest is waited for: others would be the next to be busy.
            return if rest <= rules.spread { Verdict::Rests(until) } else { Verdict::Left };
        }
        let most = rules.leave_after_errors.max(1) as usize;
        self.errors.push_back(now);
        while self.errors.len() > most {
            self.errors.pop_front();
        }
        let counting = self.errors.iter().filter(|at| now.since(**at) < rules.leave_within).count();
        if !trouble.is_final() && counting < most {
            return Verdict::Kept;
        }
        self.errors.clear();
        self.avoided = Some(now.after(rules.avoid_for));
        Verdict::Left
    }

    /// Forgets what this device experienced: it is on another network. What the server said stands.
    pub fn forget(&mut self) {
        self.errors.clear();
        self.avoided = None;
    }

    /// Until when others are preferred to it, if that is later than `now`.
    pub fn avoided_until(&self, now: Tick) -> Option<Tick> {
        self.avoided.max(self.rests).filter(|until| *until > now)
    }

    /// Until when it rests by its own word, if that is later than `now`.
    pub fn rests_until(&self, now: Tick) -> Option<Tick> {
        self.rests.filter(|until| *until > now)
    }

    /// Errors that count at `now`.
    pub fn errors(&self, rules: &Rules, now: Tick) -> usize {
        self.errors.iter().filter(|at| now.since(**at) < rules.leave_within).count()
    }
}

/// The services that there are, and what is known of each.
#[derive(Clone, Debug)]
pub struct Choice {
    rules: Rules,
    services: BTreeMap<ServiceId, (u32, Record)>,
}

impl Choice {
    /// Chooses among these services, each with its weight.
    pub fn new(rules: Rules, services: impl IntoIterator<Item = (ServiceId, u32)>) -> Self {
        let services = services.into_iter().map(|(service, weight)| (service, (weight, Record::default()))).collect();
        Self { rules, services }
    }

    /// These are the rules and services now. What is known of those that remain is kept.
    pub fn replace(&mut self, rules: Rules, services: impl IntoIterator<Item = (ServiceId, u32)>) {
        let known = core::mem::take(&mut self.services);
        let keep = |service: ServiceId, weight| {
            let record = known.get(&service).map(|(_, record)| record.clone()).unwrap_or_default();
            (service, (weight, record))
        };
        self.rules = rules;
        self.services = services.into_iter().map(|(service, weight)| keep(service, weight)).collect();
    }

    /// Draws the order in which services are tried, as tiers: nothing of a tier is used while anything of one before it works. The first
    /// are those that may be used, then those of weight zero, then those that are avoided. What rests by its own word is not among them.
    /// `current`, which is kept while it works, comes first in its tier; `allowed` says which services count.
    pub fn order(&self, current: Option<&ServiceId>, allowed: impl Fn(&str) -> bool, now: Tick, dice: Dice<'_>) -> Vec<Vec<ServiceId>> {
        let mut tiers: [Vec<(&ServiceId, u32)>; 3] = Default::default();
        for (service, (weight, record)) in self.services.iter().filter(|(service, _)| allowed(service.as_str())) {
            if record.rests_until(now).is_some() {
                continue;
            }
            let avoided = record.avoided_until(now).is_some();
            let tier = if avoided { 2 } else { usize::from(*weight == 0) };
            tiers[tier].push((service, (*weight).max(1)));
        }
        tiers.into_iter().filter(|tier| !tier.is_empty()).map(|tier| shuffled(tier, current, dice)).collect()
    }

    /// The service to use, with nobody having been asked: the first of [`Self::order`].
    pub fn pick(&self, current: Option<&ServiceId>, now: Tick, dice: Dice<'_>) -> Option<ServiceId> {
        self.order(current, |_| true, now, dice).into_iter().flatten().next()
    }

    /// The service works.
    pub fn succeeded(&mut self, service: &ServiceId) {
        if let Some((_, record)) = self.services.get_mut(service) {
            record.succeeded();
        }
    }

    /// The service does not. One that is not known was left long ago.
    pub fn failed(&mut self, service: &ServiceId, trouble: Trouble, now: Tick, draw: u64) -> Verdict {
        self.services.get_mut(service).map_or(Verdict::Left, |(_, record)| record.failed(trouble, &self.rules, now, draw))
    }

    /// The device is on another network: what failed on the last one says nothing.
    pub fn forget(&mut self) {
        self.services.values_mut().for_each(|(_, record)| record.forget());
    }

    /// When the first service may be asked again, if all of them rest by their own word.
    pub fn all_rest_until(&self, now: Tick) -> Option<Tick> {
        let rests: Option<Vec<Tick>> = self.services.values().map(|(_, record)| record.rests_until(now)).collect();
        rests?.into_iter().min()
    }

    /// Every service with its weight and what is known of it, by name.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceId, u32, &Record)> {
        self.services.iter().map(|(service, (weight, record))| (service, *weight, record))
    }

    /// Whether there is such a service.
    pub fn knows(&self, service: &ServiceId) -> bool {
        self.services.contains_key(service)
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// A random order in which each comes first as often as its weight says, then each of the rest, and so on; `current` before all.
fn shuffled(mut left: Vec<(&ServiceId, u32)>, current: Option<&ServiceId>, dice: Dice<'_>) -> Vec<ServiceId> {
    let mut order = Vec::with_capacity(left.len());
    if let Some(place) = left.iter().position(|(service, _)| Some(*service) == current) {
        order.push(left.remove(place).0.clone());
    }
    while !left.is_empty() {
        let total = left.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut drawn = below(dice(), total);
        let hit = |(_, weight): &(&ServiceId, u32)| {
            let found = drawn < u64::from(*weight);
            drawn = drawn.saturating_sub(u64::from(*weight));
            found
        };
        let place = left.iter().position(hit).unwrap_or_default();
        order.push(left.remove(place).0.clone());
    }
    order
}
