//! How often one address and one credential may ask: by buckets in memory, each site server for itself.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cmg_core::rate::{Bucket, Rate};
use cmg_core::time::Tick;

/// One address: many devices may be behind it, which are switched on together.
const OF_ADDRESS: Rate = Rate { per_second: 5, burst: 100 };
/// One token: a bulk registration token is shared by a whole roll-out.
const OF_TOKEN: Rate = Rate { per_second: 20, burst: 300 };
/// Most addresses, and most tokens, that are remembered: about a megabyte.
const MOST: usize = 10_000;

/// What everybody has left.
pub(crate) struct Limits {
    began: Instant,
    addresses: Buckets,
    tokens: Buckets,
}

struct Buckets {
    rate: Rate,
    left: Mutex<BTreeMap<String, Bucket>>,
}

impl Default for Limits {
    fn default() -> Self {
        let buckets = |rate| Buckets { rate, left: Mutex::default() };
        Self { began: Instant::now(), addresses: buckets(OF_ADDRESS), tokens: buckets(OF_TOKEN) }
    }
}

impl Limits {
    /// Whether somebody at this address may ask once more; `network` stands for its neighbours too.
    pub(super) fn admits_address(&self, network: &str) -> bool {
        self.addresses.take(network, self.tick())
    }

    /// Whether the credential of this id may be used once more.
    pub(super) fn admits_token(&self, id: &str) -> bool {
        self.tokens.take(id, self.tick())
    }

    fn tick(&self) -> Tick {
        Tick(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl Buckets {
    fn take(&self, key: &str, now: Tick) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = left.get_mut(key) {
            return bucket.take(self.rate, now);
        }
        if left.len() >= MOST {
            left.retain(|_, bucket| !bucket.is_full(self.rate, now));
        }
        // So many at once are no roll-out: who is new waits.
        if left.len() >= MOST {
            return false;
        }
        left.entry(key.to_owned()).or_insert_with(|| Bucket::full(self.rate, now)).take(self.rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets() -> Buckets {
        Buckets { rate: Rate { per_second: 1, burst: 2 }, left: Mutex::default() }
    }

    #[test]
    fn each_has_its_own_bucket() {
        let buckets = buckets();

        let taken = ["a", "a", "a", "b"].map(|key| buckets.take(key, Tick(0)));

        assert_eq!(taken, [true, true, false, true]);
        assert!(buckets.take("a", Tick(1_000)));
    }

    #[test]
    fn those_with_full_buckets_are_forgotten_and_no_others() {
        let buckets = buckets();
        for number in 0..MOST {
            assert!(buckets.take(&number.to_string(), Tick(0)));
        }

        assert!(!buckets.take("new", Tick(0)), "nobody is forgotten who has just asked");
        assert!(buckets.take("new", Tick(1_000)));
        assert_eq!(buckets.left.lock().unwrap().len(), 1);
    }
}
