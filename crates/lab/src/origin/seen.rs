//! What an origin has seen, for tests that ask "did it arrive, and how exactly?".

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// How many requests are remembered; older ones are forgotten.
const KEPT: usize = 1000;

/// One request that reached the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Number of the request at this origin, from 0.
    pub number: u64,
    /// Request method.
    pub method: String,
    /// Request target, byte for byte.
    pub target: Vec<u8>,
    /// Header fields in order, names as they were spelled.
    pub fields: Vec<(String, Vec<u8>)>,
    /// How the exchange went so far.
    pub progress: Progress,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The head is here, the answer is not complete.
    Begun,
    /// The answer was written completely.
    Answered,
    /// The other side went away, or broke the protocol, before the answer was complete.
    Broken,
}

impl Seen {
    /// The first field of that name, in whatever case it is spelled.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_slice())
    }
}

/// The memory of an origin.
#[derive(Default)]
pub(super) struct Memory {
    requests: Mutex<VecDeque<Seen>>,
    count: AtomicU64,
    changes: watch::Sender<()>,
}

impl Memory {
    pub(super) fn begin(&self, method: &str, target: &[u8], fields: &[(String, Vec<u8>)]) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let seen = Seen { number, method: method.to_owned(), target: target.to_vec(), fields: fields.to_vec(), progress: Progress::Begun };
        self.change(|requests| {
            requests.truncate(KEPT - 1);
            requests.push_front(seen);
        });
        number
    }

    pub(super) fn end(&self, number: u64, progress: Progress) {
        self.change(|requests| {
            if let Some(seen) = requests.iter_mut().find(|seen| seen.number == number) {
                seen.progress = progress;
            }
        });
    }

    /// All that is remembered, oldest first.
    pub(super) fn requests(&self) -> Vec<Seen> {
        self.lock().iter().rev().cloned().collect()
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut VecDeque<Seen>)) {
        change(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Seen>> {
        self.requests.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
