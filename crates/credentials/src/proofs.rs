//! Proofs of possession as requests bring them: each is verified, and counts once.
use std::sync::{Mutex, MutexGuard, PoisonError};

use cmg_core::refusal::Refusal;
use cmg_core::replay::{Proof, Replays, Use};
use cmg_core::time::WallTime;

use crate::dpop::{Claimed, ProofFacts, Request};
use crate::text::sha256;

/// The proofs that one place has seen.
pub struct Proofs {
    /// Seconds.
    leeway: u64,
    seen: Mutex<Replays>,
}

impl Proofs {
    /// Proofs may be `leeway` seconds old, or from clocks that are so many seconds ahead.
    pub fn new(leeway: u64) -> Self {
        Self::remembering(Replays::default(), leeway)
    }

    /// The same, with what `seen` has room for.
    pub fn remembering(seen: Replays, leeway: u64) -> Self {
        Self { leeway, seen: Mutex::new(seen) }
    }

    /// Verifies the proof that came with a request whose token is bound to the key `jkt`, and counts it. A proof by another key, or one
    /// that could not be remembered, costs nobody a signature.
    pub fn count(&self, proof: &[u8], request: Request<'_>, jkt: &str, by: Use, now: WallTime) -> Result<ProofFacts, Refusal> {
        let text = std::str::from_utf8(proof).map_err(|_| Refusal::ProofMalformed)?;
        let claimed = Claimed::read(text, request, now, self.leeway)?;
        if claimed.facts().jkt != jkt {
            return Err(Refusal::ProofKey);
        }
        let named = self.named(claimed.facts());
        self.seen().demand_room(&named, now)?;
        let facts = claimed.proven()?;
        self.seen().count(&named, by, now)?;
        Ok(facts)
    }

    fn seen(&self) -> MutexGuard<'_, Replays> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, facts: &ProofFacts) -> Proof {
        Proof { key: half(&facts.jkt), id: half(&facts.jti), until: WallTime(facts.iat.0.saturating_add(self.leeway)) }
    }
}

/// Half of a digest tells proofs apart: whoever finds two alike refuses one of their own.
fn half(text: &str) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&sha256(text.as_bytes())[..16]);
    out
}
