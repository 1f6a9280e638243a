//! What the processes of a fleet tell each other: the plan, once; then tallies, twice a second; all as lines of JSON.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one process is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) services: Vec<PlannedService>,
    /// Root of the services' certificates, PEM.
    pub(super) authority: String,
    /// Clients share them: a token registers twenty a second.
    pub(super) bulk_tokens: Vec<String>,
    /// The number of the first client, and how many there are.
    pub(super) first: usize,
    pub(super) count: usize,
    /// Over how long they start.
    pub(super) arrive: Duration,
    pub(super) seed: u64,
    pub(super) pace: Pace,
}

impl Plan {
    /// The address that a client comes from: each has a network of its own, since a network registers five a second.
    pub(super) fn source_of(number: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 1 + (number / 250 % 250) as u8, 1 + (number % 250) as u8, 1)
    }

    pub(super) fn bulk_token_of(&self, number: usize) -> &str {
        self.bulk_tokens.get(number % self.bulk_tokens.len().max(1)).map_or("", String::as_str)
    }
}

/// An internet-based service, as the policy would name it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PlannedService {
    pub(super) name: String,
    /// Clients append `/cmg/v1/...`.
    pub(super) url: String,
    /// Where it is: the laboratory has no DNS.
    pub(super) address: SocketAddr,
}

/// How often a client does what.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Pace {
    pub(super) policy_every: Duration,
    pub(super) heartbeat_every: Duration,
    pub(super) inventory_every: Duration,
    /// How long a request for notifications is held; zero: none is made.
    pub(super) notification_wait: Duration,
    /// Clients roam, sleep and lose their networks, each this often on average; zero: they do not.
    pub(super) restless_every: Duration,
}

/// What the clients of one process, or of all, have experienced.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    /// How often what ended how: `policy 200`, `probe refused`.
    pub(super) counts: BTreeMap<String, u64>,
    /// How long what took.
    pub(super) times: BTreeMap<String, Times>,
    /// How many use which service at the moment.
    pub(super) shares: BTreeMap<String, i64>,
    pub(super) started: u64,
    pub(super) registered: u64,
    /// Clients whose last request was answered.
    pub(super) working: i64,
    /// Clients that hold a request for notifications.
    pub(super) held: i64,
}

impl Tally {
    pub(super) fn count(&mut self, what: &str, outcome: impl std::fmt::Display) {
        *self.counts.entry(format!("{what} {outcome}")).or_default() += 1;
    }

    pub(super) fn took(&mut self, what: &str, time: Duration) {
        self.times.entry(what.to_owned()).or_default().add(time);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (what, count) in &other.counts {
            *self.counts.entry(what.clone()).or_default() += count;
        }
        for (what, times) in &other.times {
            self.times.entry(what.clone()).or_default().merge(times);
        }
        for (service, share) in &other.shares {
            *self.shares.entry(service.clone()).or_default() += share;
        }
        self.started += other.started;
        self.registered += other.registered;
        self.working += other.working;
        self.held += other.held;
    }

    /// How often something was counted whose name begins so.
    pub(super) fn counted(&self, prefix: &str) -> u64 {
        self.counts.iter().filter(|(what, _)| what.starts_with(prefix)).map(|(_, count)| count).sum()
    }
}

/// Times in milliseconds, to three digits, and how often each was taken.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Times(BTreeMap<u64, u64>);

impl Times {
    fn add(&mut self, time: Duration) {
        let millis = time.as_millis() as u64;
        let step = 10_u64.pow(millis.max(1).ilog10().saturating_sub(2));
        *self.0.entry(millis / step * step).or_default() += 1;
    }

    fn merge(&mut self, other: &Self) {
        for (time, count) in &other.0 {
            *self.0.entry(*time).or_default() += count;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().sum()
    }

    /// The time within which this share of them was done, in milliseconds.
    pub(super) fn within(&self, share: f64) -> Option<u64> {
        let wanted = (self.count() as f64 * share).ceil() as u64;
        let mut seen = 0;
        let mut times = self.0.iter();
        times.find_map(|(time, count)| {
            seen += count;
            (seen >= wanted).then_some(*time)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_times_are_found_over_all_processes() {
        let (mut one, mut other) = (Tally::default(), Tally::default());
        for millis in 1..=50 {
            one.took("recover", Duration::from_millis(millis));
            other.took("recover", Duration::from_millis(50 + millis));
        }

        one.merge(&other);

        let times = &one.times["recover"];
        assert_eq!([0.5, 0.95, 1.0].map(|share| times.within(share)), [Some(50), Some(95), Some(100)]);
    }

    #[test]
    fn no_two_of_many_clients_come_from_one_network() {
        let networks: std::collections::BTreeSet<_> = (0..60_000).map(|number| Plan::source_of(number).octets()[..3].to_vec()).collect();

        assert_eq!(networks.len(), 60_000);
    }

    #[test]
    fn long_times_are_kept_to_three_digits() {
        let mut times = Times::default();

        times.add(Duration::from_millis(12_345));

        assert_eq!(times.within(1.0), Some(12_300));
    }
}
