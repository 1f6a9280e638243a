//! Blocked certificates, tokens and clients in memory, in the form in which they are published.
//!
//! A block list is published in `SHARDS` parts, so that one more block among many changes one small part. Copies share the shards
//! that did not change.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

/// How many parts a block list has, so that 100,000 blocks make parts of about 120 KB.
const SHARDS: usize = 64;

/// One block, as a line of a block list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockLine {
    /// A certificate by its SHA-1 or SHA-256, hexadecimal.
    Thumbprint(String),
    /// A certificate by its serial number, hexadecimal, of one issuer or of any.
    Serial {
        /// The serial number.
        serial: String,
        /// Distinguished name of the issuer.
        issuer: Option<String>,
    },
    /// A token by its id.
    Token(String),
    /// A client by its id.
    Client(String),
}

/// Blocks by the ids that administrators know them by.
#[derive(Clone, Debug)]
pub struct Blocks {
    shards: [Arc<Shard>; SHARDS],
}

type Shard = BTreeMap<String, BlockLine>;

impl Default for Blocks {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Arc::default()) }
    }
}

impl Blocks {
    /// Adds or replaces a block.
    pub fn insert(&mut self, id: &str, line: BlockLine) {
        Arc::make_mut(&mut self.shards[shard_of(id)]).insert(id.to_owned(), line);
    }

    /// Takes a block away.
    pub fn remove(&mut self, id: &str) {
        let shard = &mut self.shards[shard_of(id)];
        if shard.contains_key(id) {
            Arc::make_mut(shard).remove(id);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_empty())
    }

    /// The texts of those shards that hold anything, in a fixed order.
    pub fn lists(&self) -> impl Iterator<Item = String> {
        self.shards.iter().filter(|shard| !shard.is_empty()).map(|shard| text(shard))
    }

    /// Whether both say the same, so that nothing has to be written anew. Compares by identity: a false "no" costs time only.
    pub fn is_same(&self, other: &Self) -> bool {
        self.shards.iter().zip(&other.shards).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// The same shard in every run and on every site server.
fn shard_of(id: &str) -> usize {
    // FNV-1a.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash % SHARDS as u64) as usize
}

fn text(shard: &Shard) -> String {
    let mut text = String::with_capacity(shard.len() * 80);
    for line in shard.values() {
        let written = match line {
            BlockLine::Thumbprint(digits) => writeln!(text, "thumbprint {digits}"),
            BlockLine::Serial { serial, issuer: None } => writeln!(text, "serial {serial}"),
            BlockLine::Serial { serial, issuer: Some(issuer) } => writeln!(text, "serial {serial} {issuer}"),
            BlockLine::Token(id) => writeln!(text, "token {id}"),
            BlockLine::Client(id) => writeln!(text, "client {id}"),
        };
        debug_assert!(written.is_ok(), "a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_block_changes_one_list() {
        let mut blocks = Blocks::default();
        for number in 0..1_000 {
            blocks.insert(&number.to_string(), BlockLine::Token(format!("t{number}")));
        }
        let before: Vec<_> = blocks.lists().collect();

        blocks.insert("one more", BlockLine::Serial { serial: "0A".to_owned(), issuer: Some("CN=CA".to_owned()) });

        let after: Vec<_> = blocks.lists().collect();
        let changed = before.iter().zip(&after).filter(|(one, other)| one != other).count();
        assert_eq!((before.len(), after.len(), changed), (SHARDS, SHARDS, 1));
        assert!(after.concat().contains("serial 0A CN=CA\n"));
    }

    #[test]
    fn what_was_blocked_and_is_not_any_more_is_in_no_list() {
        let mut blocks = Blocks::default();
        blocks.insert("a", BlockLine::Thumbprint("ab".repeat(32)));

        blocks.remove("a");

        assert!(blocks.is_empty());
        assert_eq!(blocks.lists().count(), 0);
    }
}
