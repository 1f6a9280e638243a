//! What the client does from time to time, all in one table: nothing else wakes it but the network and the site.

use std::collections::BTreeMap;
use std::time::Duration;

use cmg_core::dice::within;
use tokio::time::Instant;

/// Something that has its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Ask for the policy.
    Policy,
    /// Ask for the next token.
    Renew,
    /// Say that the device is there.
    Heartbeat,
    /// Say what the device is.
    Inventory,
    /// Send what waits.
    Send,
    /// Ask for notifications again.
    Notify,
    /// Look whether the network is another one: it has settled.
    Look,
}

/// When what is to be done.
#[derive(Debug, Default)]
pub(crate) struct Schedule(BTreeMap<Timer, Instant>);

impl Schedule {
    /// In so long; what was there before does not count.
    pub(crate) fn set(&mut self, timer: Timer, wait: Duration) {
        self.0.insert(timer, Instant::now() + wait);
    }

    /// In so long, unless its time is set.
    pub(crate) fn set_if_missing(&mut self, timer: Timer, wait: Duration) {
        self.0.entry(timer).or_insert_with(|| Instant::now() + wait);
    }

    /// In so long, give or take a tenth, so that devices that did it together do not do it together again.
    pub(crate) fn set_about(&mut self, timer: Timer, every: Duration, draw: u64) {
        self.set(timer, about(every, draw));
    }

    /// When the first is.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes those whose time has come.
    pub(crate) fn take_due(&mut self) -> Vec<Timer> {
        let now = Instant::now();
        let due: Vec<_> = self.0.iter().filter(|(_, at)| **at <= now).map(|(timer, _)| *timer).collect();
        due.iter().for_each(|timer| _ = self.0.remove(timer));
        due
    }
}

/// A time, give or take a tenth.
pub(crate) fn about(every: Duration, draw: u64) -> Duration {
    every - every / 10 + within(draw, every / 5)
}

/// How long from `now` until what is due at `due`, and at the latest shortly before `end`, all in seconds since 1970: spread over a tenth of
/// the time that is left, so that those who were installed together do not renew together.
pub(crate) fn until(due: u64, end: u64, now: u64, draw: u64) -> Duration {
    let spread = Duration::from_secs(end.saturating_sub(due.max(now)) / 10);
    Duration::from_secs(due.saturating_sub(now)) + within(draw, spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_is_taken_once() {
        let mut schedule = Schedule::default();
        schedule.set(Timer::Policy, Duration::from_secs(10));
        schedule.set(Timer::Send, Duration::from_secs(5));

        tokio::time::advance(Duration::from_secs(6)).await;

        assert_eq!((schedule.take_due(), schedule.take_due()), (vec![Timer::Send], vec![]));
        assert_eq!(schedule.next().map(|at| at - Instant::now()), Some(Duration::from_secs(4)));
    }

    #[test]
    fn a_renewal_is_spread_over_a_tenth_of_what_is_left() {
        let day = 86_400;
        assert_eq!(until(60 * day, 90 * day, 0, 0).as_secs(), 60 * day);
        assert_eq!(until(60 * day, 90 * day, 0, u64::MAX).as_secs(), 63 * day);
        assert_eq!(until(60 * day, 90 * day, 80 * day, u64::MAX).as_secs(), day);
        assert_eq!(until(60, 90, 1_000, u64::MAX), Duration::ZERO);
    }
}
