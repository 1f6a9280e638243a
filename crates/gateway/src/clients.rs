//! What one client may use at a time, whichever connections it comes on.
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cmg_core::rate::{Bucket, Rate};
use cmg_core::refusal::Refusal;
use cmg_core::time::Tick;

/// Tables, so that clients seldom wait for each other's look-up.
const SHARDS: usize = 16;

/// Entries of a table after which those that are over are taken out.
const SWEEP_AT: usize = 1_024;

/// By what a client is told from another: its proof where it has one, its address where it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    /// Thumbprint of its certificate, or digest of its token's subject.
    Proven([u8; 32]),
    /// Its address; of IPv6 the first 64 bits, which is what one site is given.
    Address([u8; 16]),
}

/// One client's use. It outlives the client's connections, or a new connection would be a new allowance.
pub(crate) struct ClientUse {
    busy: AtomicU32,
    bucket: Mutex<Option<(Bucket, Rate)>>,
}

/// Everybody's use.
pub(crate) struct Clients {
    started: Instant,
    shards: [Mutex<HashMap<ClientKey, Arc<ClientUse>>>; SHARDS],
}

/// One request of a client, counted until this is dropped.
pub(crate) struct Admission(Arc<ClientUse>);

impl Clients {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), shards: Default::default() }
    }

    /// The use of one client; a connection keeps it between requests.
    pub(crate) fn of(&self, key: ClientKey) -> Arc<ClientUse> {
        let (ClientKey::Proven([first, ..]) | ClientKey::Address([.., first])) = key;
        let mut shard = self.shards[usize::from(first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shard.get(&key) {
            return Arc::clone(found);
        }
        if shard.len() >= SWEEP_AT && shard.len().is_power_of_two() {
            let now = self.now();
            shard.retain(|_, kept| Arc::strong_count(kept) > 1 || !kept.is_over(now));
        }
        let fresh = Arc::new(ClientUse { busy: AtomicU32::new(0), bucket: Mutex::new(None) });
        shard.insert(key, Arc::clone(&fresh));
        fresh
    }

    /// Counts one request, or refuses it.
    pub(crate) fn admit(&self, client: &Arc<ClientUse>, rate: Rate, most_busy: u32) -> Result<Admission, Refusal> {
        if rate.per_second > 0 {
            let now = self.now();
            let mut bucket = client.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            let (bucket, at) = bucket.get_or_insert_with(|| (Bucket::full(rate, now), rate));
            *at = rate;
            if !bucket.take(rate, now) {
                return Err(Refusal::TooManyRequests);
            }
        }
        let admission = Admission(Arc::clone(client));
        if client.busy.fetch_add(1, Ordering::Relaxed) >= most_busy && most_busy > 0 {
            return Err(Refusal::TooManyConcurrent);
        }
        Ok(admission)
    }

    /// Whether [`Self::admit`] would refuse a request; counts none.
    pub(crate) fn demand_room(&self, client: &ClientUse, rate: Rate, most_busy: u32) -> Result<(), Refusal> {
        let bucket = client.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.is_some_and(|(mut bucket, _)| !bucket.take(rate, self.now())) {
            return Err(Refusal::TooManyRequests);
        }
        if client.busy.load(Ordering::Relaxed) >= most_busy && most_busy > 0 {
            return Err(Refusal::TooManyConcurrent);
        }
        Ok(())
    }

    fn now(&self) -> Tick {
        Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

impl ClientUse {
    /// Whether nothing would change if it were forgotten.
    fn is_over(&self, now: Tick) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.as_mut().is_none_or(|(bucket, rate)| bucket.is_full(*rate, now))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_RATE: Rate = Rate { per_second: 0, burst: 0 };

    #[test]
    fn concurrent_requests_are_counted_over_all_connections() {
        let clients = Clients::new();
        let key = ClientKey::Proven([7; 32]);
        let (one, other) = (clients.of(key), clients.of(key));

        let first = clients.admit(&one, NO_RATE, 1);

        assert!(first.is_ok());
        assert!(matches!(clients.admit(&other, NO_RATE, 1), Err(Refusal::TooManyConcurrent)));
        drop(first);
        assert!(clients.admit(&other, NO_RATE, 1).is_ok());
    }

    #[test]
    fn a_refused_request_leaves_no_trace() {
        let clients = Clients::new();
        let client = clients.of(ClientKey::Address([1; 16]));
        let held = clients.admit(&client, NO_RATE, 1);
        for _ in 0..3 {
            assert!(clients.admit(&client, NO_RATE, 1).is_err());
        }

        drop(held);

        assert_eq!(client.busy.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_would_be_refused_is_known_before_and_nothing_is_counted_by_that() {
        let clients = Clients::new();
        let rate = Rate { per_second: 1, burst: 1 };
        let client = clients.of(ClientKey::Proven([4; 32]));
        let other = clients.of(ClientKey::Proven([5; 32]));

        assert_eq!([(); 3].map(|()| clients.demand_room(&client, rate, 0)), [Ok(()); 3]);
        let _held = [clients.admit(&client, rate, 0), clients.admit(&other, NO_RATE, 1)].map(|admission| admission.ok());
        assert_eq!(clients.demand_room(&client, rate, 0), Err(Refusal::TooManyRequests));
        assert_eq!(clients.demand_room(&other, NO_RATE, 1), Err(Refusal::TooManyConcurrent));
    }

    #[test]
    fn a_new_connection_is_no_new_allowance() {
        let clients = Clients::new();
        let rate = Rate { per_second: 1, burst: 1 };
        let ask = || clients.admit(&clients.of(ClientKey::Proven([3; 32])), rate, 0).map(drop);

        assert_eq!((ask(), ask()), (Ok(()), Err(Refusal::TooManyRequests)));
    }

    #[test]
    fn clients_that_are_over_are_forgotten() {
        let clients = Clients::new();
        let key = |number: u32| {
            let mut key = [0; 32];
            key[1..5].copy_from_slice(&number.to_be_bytes());
            ClientKey::Proven(key)
        };
        let there = clients.of(key(0));
        let waits = clients.admit(&clients.of(key(1)), Rate { per_second: 1, burst: 9 }, 0);
        (2..=SWEEP_AT as u32).for_each(|number| drop(clients.of(key(number))));

        let kept = clients.shards[0].lock().unwrap_or_else(PoisonError::into_inner).len();

        assert!(waits.is_ok() && there.busy.load(Ordering::Relaxed) == 0);
        assert_eq!(kept, 3, "the one that is there, the one with a bucket that is not full, and the newest");
    }

    #[test]
    fn a_rate_holds_over_connections_too() {
        let clients = Clients::new();
        let key = ClientKey::Proven([9; 32]);
        let rate = Rate { per_second: 1, burst: 2 };
        let (one, other) = (clients.of(key), clients.of(key));

        assert!(clients.admit(&one, rate, 0).is_ok());
        assert!(clients.admit(&other, rate, 0).is_ok());
        assert!(matches!(clients.admit(&one, rate, 0), Err(Refusal::TooManyRequests)));
    }
}
