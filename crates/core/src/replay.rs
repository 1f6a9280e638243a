//! Proofs of possession that were seen: each counts once.
//!
//! A proof counts for a short time, so it need be remembered no longer than that: what has run out is forgotten a slot of time at once.
//! What is remembered is bounded, in all and for each key. Where there is no room a proof is refused, never let through unremembered.
use alloc::collections::BTreeMap;

use crate::ids::RequestId;
use crate::refusal::Refusal;
use crate::time::WallTime;

/// Seconds whose proofs are forgotten together.
const SLOT: u64 = 30;

/// Most proofs remembered: half a million are some 7,000 a second, and at most 70 MiB.
pub const MOST: usize = 512 * 1024;
/// Most proofs remembered of one key: more than 30 a second. It leaves room for the others, whoever asks without a pause.
pub const MOST_OF_A_KEY: u32 = 4 * 1024;

/// Names a proof, by digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The key that made it.
    pub key: [u8; 16],
    /// The id that the key gave it.
    pub id: [u8; 16],
    /// Last second at which it counts.
    pub until: WallTime,
}

/// The request that a proof came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its id.
    pub request: RequestId,
    /// Whether it may come once more under the same id, since it was lost on its way and does nothing twice.
    pub may_repeat: bool,
}

/// The proofs seen.
#[derive(Debug)]
pub struct Replays {
    slots: BTreeMap<u64, Slot>,
    count: usize,
    /// Slots before this one are forgotten, and stay so if the clock steps back.
    first: u64,
    most: usize,
    most_of_a_key: u32,
}

#[derive(Debug, Default)]
struct Slot {
    /// By key and id: the request that may repeat it.
    proofs: BTreeMap<([u8; 16], [u8; 16]), Option<RequestId>>,
    of_key: BTreeMap<[u8; 16], u32>,
}

impl Default for Replays {
    fn default() -> Self {
        Self::bounded(MOST, MOST_OF_A_KEY)
    }
}

impl Replays {
    /// Remembers `most` proofs in all, and so many of each key.
    pub fn bounded(most: usize, most_of_a_key: u32) -> Self {
        Self { slots: BTreeMap::new(), count: 0, first: 0, most, most_of_a_key }
    }

    /// Whether a proof could be counted at `now`: asked before its signature is verified, so that nobody pays for what cannot count. One
    /// that was seen before is left to [`Self::count`].
    pub fn demand_room(&mut self, proof: &Proof, now: WallTime) -> Result<(), Refusal> {
        self.forget(now);
        let slot = proof.until.0 / SLOT;
        if slot < self.first {
            return Err(Refusal::ProofTime);
        }
        if self.slots.get(&slot).is_some_and(|slot| slot.proofs.contains_key(&(proof.key, proof.id))) {
            return Ok(());
        }
        let of_key: u32 = self.slots.values().filter_map(|slot| slot.of_key.get(&proof.key)).sum();
        if of_key >= self.most_of_a_key {
            return Err(Refusal::ProofTooMany);
        }
        if self.count >= self.most { Err(Refusal::Overloaded) } else { Ok(()) }
    }

    /// Counts a proof that is good at `now`, or refuses it.
    pub fn count(&mut self, proof: &Proof, by: Use, now: WallTime) -> Result<(), Refusal> {
        self.demand_room(proof, now)?;
        let slot = self.slots.entry(proof.until.0 / SLOT).or_default();
        let name = (proof.key, proof.id);
        if let Some(left) = slot.proofs.get_mut(&name) {
            // Once more, and then never.
            return if left.take() == Some(by.request) && by.may_repeat { Ok(()) } else { Err(Refusal::ProofReplayed) };
        }
        slot.proofs.insert(name, by.may_repeat.then_some(by.request));
        *slot.of_key.entry(proof.key).or_default() += 1;
        self.count += 1;
        Ok(())
    }

    fn forget(&mut self, now: WallTime) {
        self.first = self.first.max(now.0 / SLOT);
        while let Some(slot) = self.slots.first_entry().filter(|slot| *slot.key() < self.first) {
            self.count -= slot.remove().proofs.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const NOW: WallTime = WallTime(3_000);

    fn proof(key: u8, id: u8) -> Proof {
        Proof { key: [key; 16], id: [id; 16], until: WallTime(NOW.0 + 60) }
    }

    fn of(request: u128) -> Use {
        Use { request: RequestId(request), may_repeat: false }
    }

    fn repeatable(request: u128) -> Use {
        Use { request: RequestId(request), may_repeat: true }
    }

    #[test]
    fn a_proof_counts_once() {
        let mut replays = Replays::default();

        assert_eq!(replays.count(&proof(1, 1), of(1), NOW), Ok(()));
        assert_eq!(replays.count(&proof(1, 1), of(2), NOW), Err(Refusal::ProofReplayed));
        assert_eq!(replays.count(&proof(1, 1), of(1), NOW), Err(Refusal::ProofReplayed), "the same request may not repeat it");
        assert_eq!(replays.count(&proof(1, 2), of(3), NOW), Ok(()));
        assert_eq!(replays.count(&proof(2, 1), of(4), NOW), Ok(()), "another key gives ids of its own");
    }

    #[test]
    fn a_request_that_does_nothing_twice_may_come_once_more_under_its_own_id() {
        let mut replays = Replays::default();
        let mut count = |id, by| replays.count(&proof(1, id), by, NOW);

        assert_eq!([count(1, repeatable(1)), count(1, repeatable(1))], [Ok(()), Ok(())]);
        assert_eq!(count(1, repeatable(1)), Err(Refusal::ProofReplayed), "and then never");
        assert_eq!([count(2, repeatable(2)), count(2, repeatable(3))], [Ok(()), Err(Refusal::ProofReplayed)], "another id");
        assert_eq!(count(2, repeatable(2)), Err(Refusal::ProofReplayed), "whoever tries another spends it");
        assert_eq!([count(3, repeatable(4)), count(3, of(4))], [Ok(()), Err(Refusal::ProofReplayed)], "another method");
    }

    #[test]
    fn a_proof_is_remembered_as_long_as_it_counts_and_no_longer() {
        let mut replays = Replays::default();
        replays.count(&proof(1, 1), of(1), NOW).unwrap();

        assert_eq!(replays.count(&proof(1, 1), of(2), WallTime(NOW.0 + 60)), Err(Refusal::ProofReplayed));
        let later = WallTime(NOW.0 + 60 + SLOT);
        replays.count(&Proof { until: WallTime(later.0 + 60), ..proof(1, 2) }, of(3), later).unwrap();
        assert_eq!(replays.count, 1);
    }

    #[test]
    fn a_clock_that_steps_back_brings_nothing_back() {
        let mut replays = Replays::default();
        replays.count(&proof(1, 1), of(1), NOW).unwrap();
        replays.count(&Proof { until: WallTime(9_000), ..proof(1, 2) }, of(2), WallTime(9_000)).unwrap();

        assert_eq!(replays.count(&proof(1, 1), of(3), NOW), Err(Refusal::ProofTime));
    }

    #[test]
    fn one_key_leaves_room_for_the_others() {
        let mut replays = Replays::bounded(10, 3);
        let mut count = |key, id| replays.count(&proof(key, id), of(1), NOW);

        assert!((0..3).all(|id| count(1, id).is_ok()));
        assert_eq!(count(1, 3), Err(Refusal::ProofTooMany));
        assert_eq!(count(2, 3), Ok(()));
    }

    #[test]
    fn whether_there_is_room_is_asked_without_taking_any() {
        let mut replays = Replays::bounded(10, 1);
        assert_eq!([(); 3].map(|()| replays.demand_room(&proof(1, 1), NOW)), [Ok(()); 3]);
        replays.count(&proof(1, 1), of(1), NOW).unwrap();

        assert_eq!(replays.demand_room(&proof(1, 2), NOW), Err(Refusal::ProofTooMany));
        assert_eq!(replays.demand_room(&proof(1, 1), NOW), Ok(()), "what was seen is another matter");
        assert_eq!(replays.demand_room(&Proof { until: WallTime(NOW.0 - SLOT), ..proof(2, 1) }, NOW), Err(Refusal::ProofTime));
    }

    #[test]
    fn where_there_is_no_room_no_proof_counts() {
        let mut replays = Replays::bounded(2, 3);
        let mut count = |key| replays.count(&proof(key, 1), of(1), NOW);

        assert_eq!([count(1), count(2), count(3)], [Ok(()), Ok(()), Err(Refusal::Overloaded)]);
        assert_eq!(count(1), Err(Refusal::ProofReplayed));
    }

    /// A request at some time: key and id of its proof, when that was made, the request's own id, and whether it may repeat.
    type Step = (u64, u8, u8, u64, u128, bool);

    proptest! {
        /// Beside a list of everything that was ever let in: whatever the order and the clock, what counts a second time is the one
        /// repetition of a request that may repeat, and the bounds hold.
        #[test]
        fn nothing_counts_again_in_any_order(steps in vec((0_u64..400, 0_u8..3, 0_u8..3, 0_u64..121, 0_u128..3, any::<bool>()), 1..60)) {
            let mut replays = Replays::bounded(6, 3);
            let mut let_in: Vec<(Proof, Use)> = Vec::new();
            for (at, key, id, ahead, request, may_repeat) in steps as Vec<Step> {
                let now = WallTime(3_000 + at);
                let proof = Proof { key: [key; 16], id: [id; 16], until: WallTime(now.0 + ahead) };
                let by = Use { request: RequestId(request), may_repeat };
                if replays.count(&proof, by, now).is_err() {
                    continue;
                }
                let before: Vec<_> = let_in.iter().filter(|(known, _)| *known == proof).collect();
                prop_assert!(before.len() < 2);
                prop_assert!(before.iter().all(|(_, first)| *first == by && may_repeat));
                prop_assert!(replays.count <= 6);
                let_in.push((proof, by));
            }
        }
    }
}
