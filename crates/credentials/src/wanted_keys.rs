//! Issuers whose tokens name a key that is not known: the site asks them for their keys.
//!
//! A stranger can write any name of a key, on any number of tokens. So what is kept says nothing of it: the names of issuers that are
//! configured anyway, a bounded number of them, each for a minute after it was named last.
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cmg_core::time::WallTime;

/// How long an issuer is remembered after it was named last, in seconds: a client that is refused tries again.
const LASTS: u64 = 60;

/// Most issuers, and the longest name of one in bytes: members tell the site about all of them at once.
const MOST: usize = 64;
const LONGEST: usize = 256;

/// Issuers whose tokens name a key that is not known.
#[derive(Default)]
pub(crate) struct WantedKeys(Mutex<BTreeMap<String, WallTime>>);

impl WantedKeys {
    /// Notes that a token of `issuer`, which is configured, named a key that is not known.
    pub(crate) fn note(&self, issuer: &str, now: WallTime) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = seen.get_mut(issuer) {
            *at = now;
        } else if seen.len() < MOST && issuer.len() <= LONGEST {
            seen.insert(issuer.to_owned(), now);
        }
    }

    /// The issuers, by name.
    pub(crate) fn issuers(&self, now: WallTime) -> Vec<String> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| now.0 < at.0.saturating_add(LASTS));
        seen.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_remembered_for_a_minute_after_it_was_named_last() {
        let wanted = WantedKeys::default();

        wanted.note("https://a", WallTime(100));
        wanted.note("https://a", WallTime(130));

        assert_eq!(wanted.issuers(WallTime(189)), ["https://a"]);
        assert!(wanted.issuers(WallTime(190)).is_empty());
    }

    #[test]
    fn few_issuers_of_bounded_length_are_kept() {
        let wanted = WantedKeys::default();

        wanted.note(&"x".repeat(LONGEST + 1), WallTime(0));
        (0..MOST + 9).for_each(|number| wanted.note(&number.to_string(), WallTime(0)));

        assert_eq!(wanted.issuers(WallTime(0)).len(), MOST);
    }
}
