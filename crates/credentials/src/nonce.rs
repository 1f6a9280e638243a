//! Nonces for proofs of possession: what a client can know only from this instance, and only lately.
//!
//! Nothing is kept: a nonce is a digest of the present slot of time under a key that is made at the start and leaves with the process.
//! So a proof counts at no other instance, and at none that began after it was made.
use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand::SystemRandom;
use cmg_core::time::WallTime;

/// Seconds for which a nonce is the present one. It counts as long again, so that a client learns the next one in time.
const SLOT: u64 = 300;

/// Bytes of a digest that make a nonce.
const BYTES: usize = 16;

/// Makes the nonces of this instance.
pub struct Nonces(hmac::Key);

/// One nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 2 * BYTES]);

impl Default for Nonces {
    /// Nonces that nobody has seen before.
    fn default() -> Self {
        Self(hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).expect("there are random numbers, which TLS begins with too"))
    }
}

impl Nonces {
    /// The present nonce and the one before; both count.
    pub fn at(&self, now: WallTime) -> [Nonce; 2] {
        let slot = now.0 / SLOT;
        [self.of(slot), self.of(slot.saturating_sub(1))]
    }

    fn of(&self, slot: u64) -> Nonce {
        let digest = hmac::sign(&self.0, &slot.to_be_bytes());
        let mut text = [0; 2 * BYTES];
        for (digits, byte) in text.chunks_exact_mut(2).zip(digest.as_ref()) {
            digits.copy_from_slice(&[byte >> 4, byte & 0xf].map(|digit| b"0123456789abcdef"[usize::from(digit)]));
        }
        Nonce(text)
    }
}

impl Nonce {
    /// The nonce, as it stands in a field and in a proof.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_for_its_slot_and_the_next() {
        let nonces = Nonces::default();
        let [first, _] = nonces.at(WallTime(SLOT));

        assert_eq!(nonces.at(WallTime(2 * SLOT - 1))[0], first);
        assert_eq!(nonces.at(WallTime(2 * SLOT))[1], first);
        assert!(!nonces.at(WallTime(3 * SLOT)).contains(&first));
        assert!(first.as_str().len() == 32 && first.as_str().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn no_two_instances_have_a_nonce_in_common() {
        assert_ne!(Nonces::default().at(WallTime(SLOT)), Nonces::default().at(WallTime(SLOT)));
    }
}
