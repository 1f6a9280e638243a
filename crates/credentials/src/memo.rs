//! A bounded memory of what was verified.
//!
//! Two generations: new entries go into the young one; when that is full it becomes the old one, and what was old is forgotten.
//! What is still in use moves back to the young one when it is asked for. So the bound holds, forgetting costs nothing, and no
//! credential that is in use falls out while fewer than half the bound are.
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::validity::Verified;

/// Names a credential: SHA-256 of all that its verification depends on.
pub(crate) type Digest = [u8; 32];

/// Entries kept in all.
pub(crate) const CAPACITY: usize = 4096;
/// So that cores do not wait for each other.
const SHARDS: usize = 16;
const YOUNG: usize = CAPACITY / SHARDS / 2;

/// Verified credentials by their digests.
pub(crate) struct Memo<T> {
    shards: [Mutex<Generations<T>>; SHARDS],
}

struct Generations<T> {
    young: HashMap<Digest, Verified<T>>,
    old: HashMap<Digest, Verified<T>>,
}

impl<T> Memo<T> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::new(Generations { young: HashMap::new(), old: HashMap::new() })) }
    }

    pub(crate) fn find(&self, digest: &Digest) -> Option<Verified<T>> {
        self.shard(digest, |shard| {
            if let Some(found) = shard.young.get(digest) {
                return Some(found.clone());
            }
            let found = shard.old.remove(digest)?;
            shard.insert(*digest, found.clone());
            Some(found)
        })
    }

    pub(crate) fn keep(&self, digest: Digest, verified: Verified<T>) {
        self.shard(&digest, |shard| shard.insert(digest, verified));
    }

    fn shard<R>(&self, digest: &Digest, work: impl FnOnce(&mut Generations<T>) -> R) -> R {
        let shard = &self.shards[usize::from(digest[0]) % SHARDS];
        work(&mut shard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let count = |shard: &Mutex<Generations<T>>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        self.shards.iter().map(count).sum()
    }
}

impl<T> Generations<T> {
    fn insert(&mut self, digest: Digest, verified: Verified<T>) {
        if self.young.len() >= YOUNG {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validity::Span;
    use cmg_core::time::WallTime;

    fn entry(number: u32) -> (Digest, Verified<u32>) {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&number.to_le_bytes());
        (digest, Verified::new(number, Span { from: WallTime(0), until: WallTime(1) }))
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let memo = Memo::new();

        for number in 0..20_000 {
            let (digest, verified) = entry(number);
            memo.keep(digest, verified);
        }

        assert!(memo.len() <= CAPACITY, "{}", memo.len());
    }

    #[test]
    fn what_is_asked_for_again_and_again_stays() {
        let memo = Memo::new();
        let (wanted, verified) = entry(0);
        memo.keep(wanted, verified);

        for number in 1..20_000 {
            let (digest, verified) = entry(number);
            memo.keep(digest, verified);
            assert!(memo.find(&wanted).is_some(), "{number}");
        }
    }
}
