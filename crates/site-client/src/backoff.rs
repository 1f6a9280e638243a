//! How long to wait after failures: doubling, with full jitter, so that many who lost the same server do not come back together.
use std::time::Duration;

/// Waits after failures in a row.
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// At most `first` after the first failure, at most `longest` after many.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// It went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure, as the random number `draw` says; never less than `asked`.
    pub fn failed(&mut self, asked: Option<Duration>, draw: u64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures += 1;
        let drawn = ceiling.mul_f64(draw as f64 / u64::MAX as f64);
        // Nobody is left alone for longer than an hour because somebody else says so.
        drawn.max(self.first / 4).max(asked.unwrap_or_default().min(Duration::from_secs(3600)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest_and_begin_again() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);

        let waits = [(); 4].map(|()| backoff.failed(None, u64::MAX));
        backoff.reset();

        assert_eq!(waits, [1, 2, 4, 5].map(Duration::from_secs));
        assert_eq!(backoff.failed(None, u64::MAX), SECOND);
        assert_eq!(backoff.failed(None, 0), SECOND / 4);
    }

    #[test]
    fn what_the_server_asks_for_is_respected() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);

        assert_eq!(backoff.failed(Some(7 * SECOND), 0), 7 * SECOND);
        assert_eq!(backoff.failed(Some(100_000 * SECOND), 0), 3600 * SECOND);
    }
}
