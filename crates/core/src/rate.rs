//! How often one client may ask: a token bucket in integers.
use crate::time::Tick;

/// Requests a second, and how many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests a second; zero: no limit.
    pub per_second: u32,
    /// Requests that may come at once after a pause; at least `per_second`.
    pub burst: u32,
}

/// What one client has left.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    thousandths: u64,
    at: Tick,
}

impl Bucket {
    /// A full bucket.
    pub fn full(rate: Rate, now: Tick) -> Self {
        Self { thousandths: u64::from(rate.burst.max(rate.per_second)) * 1_000, at: now }
    }

    /// Takes one request if there is one.
    pub fn take(&mut self, rate: Rate, now: Tick) -> bool {
        if rate.per_second == 0 {
            return true;
        }
        self.refill(rate, now);
        let enough = self.thousandths >= 1_000;
        if enough {
            self.thousandths -= 1_000;
        }
        enough
    }

    /// Whether nothing would change if the bucket were forgotten.
    pub fn is_full(&mut self, rate: Rate, now: Tick) -> bool {
        self.refill(rate, now);
        self.thousandths == u64::from(rate.burst.max(rate.per_second)) * 1_000
    }

    fn refill(&mut self, rate: Rate, now: Tick) {
        let earned = now.0.saturating_sub(self.at.0).saturating_mul(u64::from(rate.per_second));
        let full = u64::from(rate.burst.max(rate.per_second)) * 1_000;
        self.thousandths = self.thousandths.saturating_add(earned).min(full);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 2, burst: 3 };

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_share() {
        let mut bucket = Bucket::full(RATE, Tick(0));

        assert_eq!([0, 0, 0, 0, 499, 500].map(|at| bucket.take(RATE, Tick(at))), [true, true, true, false, false, true]);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut bucket = Bucket::full(RATE, Tick(10_000));
        for _ in 0..3 {
            bucket.take(RATE, Tick(10_000));
        }

        assert!(!bucket.take(RATE, Tick(0)));
        assert!(!bucket.take(RATE, Tick(10_000)));
    }

    #[test]
    fn no_limit_is_no_limit() {
        let none = Rate { per_second: 0, burst: 0 };
        let mut bucket = Bucket::full(none, Tick(0));

        assert!((0..1_000).all(|_| bucket.take(none, Tick(0))));
    }
}
