//! Random numbers for request ids and choices: unique and evenly spread, not secret.
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(seed());
}

/// Each thread begins somewhere else; the standard library seeds from the system's random source.
fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A uniform random number (SplitMix64, Steele, Lea and Flood 2014).
pub fn draw() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}
