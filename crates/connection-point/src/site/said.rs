//! What gateways have said about themselves, as they have signed it.
//!
//! A gateway renews its word every 15 s, at one connection point. What is not renewed is old: another connection point has the newer word,
//! or nobody has. Nothing is read here; the site verifies it.
use std::collections::BTreeMap;
use std::time::Duration;

use cmg_api::control::Signed;
use tokio::time::Instant;

/// How long a word is passed on.
const RENEWED: Duration = Duration::from_secs(45);

/// Gateway instances whose word is kept. More come from gateways that lie.
const MOST: usize = 256;

/// The last word of each gateway instance, and when it came.
#[derive(Default)]
pub(crate) struct Said(BTreeMap<String, (Signed, Instant)>);

impl Said {
    /// Keeps what an instance says at `now`.
    pub(crate) fn keep(&mut self, name: &str, status: Signed, now: Instant) {
        if self.0.len() >= MOST {
            self.0.retain(|_, (_, came)| now < *came + RENEWED);
        }
        if self.0.len() < MOST || self.0.contains_key(name) {
            self.0.insert(name.to_owned(), (status, now));
        }
    }

    /// What counts at `now`.
    pub(crate) fn at(&self, now: Instant) -> impl Iterator<Item = (&String, &Signed)> {
        self.0.iter().filter(move |(_, (_, came))| now < *came + RENEWED).map(|(name, (status, _))| (name, status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Signed {
        Signed { payload: text.to_owned(), chain: Vec::new(), signature: Default::default() }
    }

    #[test]
    fn a_word_that_is_not_renewed_is_not_repeated() {
        let (mut said, start) = (Said::default(), Instant::now());
        said.keep("gw-1", word("old"), start);
        said.keep("gw-2", word("old"), start);
        said.keep("gw-2", word("new"), start + RENEWED / 2);

        let at = |now| said.at(now).map(|(name, word)| (name.as_str(), word.payload.as_str())).collect::<Vec<_>>();
        assert_eq!(at(start + RENEWED / 2), [("gw-1", "old"), ("gw-2", "new")]);
        assert_eq!(at(start + RENEWED), [("gw-2", "new")]);
    }

    #[test]
    fn room_is_for_so_many_and_words_that_are_old_give_it_up() {
        let (mut said, start) = (Said::default(), Instant::now());
        for number in 0..=MOST {
            said.keep(&format!("gw-{number}"), word(""), start);
        }
        assert_eq!(said.at(start).count(), MOST);

        said.keep("late", word(""), start + RENEWED);
        assert_eq!(said.at(start + RENEWED).count(), 1);
    }
}
