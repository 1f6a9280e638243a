//! How long to wait before the next attempt: full jitter, so that those who failed together do not come back together.
use core::time::Duration;

use crate::dice::within;

/// Waits of growing bounds. Each is uniform from zero to its bound; the bound doubles with each failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits of up to `first` after the first failure, and never more than `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub fn wait(&mut self, draw: u64) -> Duration {
        let bound = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        within(draw, bound)
    }

    /// It worked, or what failed before says nothing any more.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: u64 = u64::MAX;

    #[test]
    fn the_bound_doubles_up_to_the_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));

        let waits = [LONGEST; 5].map(|draw| backoff.wait(draw).as_secs());

        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for _ in 0..100 {
            backoff.wait(LONGEST);
        }

        backoff.reset();

        assert_eq!((backoff.wait(LONGEST), backoff.failures()), (Duration::from_secs(1), 1));
    }

    #[test]
    fn a_wait_may_be_of_any_length_below_the_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(8), Duration::from_secs(8));

        assert_eq!([0, 1 << 63].map(|draw| backoff.wait(draw)), [Duration::ZERO, Duration::from_secs(4)]);
    }
}
