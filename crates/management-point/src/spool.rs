//! The spool: messages of devices, on disk before they are acknowledged and until the site has kept them.
//!
//! Messages are appended to segments, files that are only ever appended to. One thread writes; whatever has come while it wrote goes to disk
//! with the next sync, so that one sync serves many. A record is its length, a checksum and the message in JSON. At a start all segments are
//! read again; a tail that was torn by a crash, and so never acknowledged, is cut off. Segments go as a whole once the site has kept all that
//! is in them: what a crash leaves is sent to the site again, which keeps each message once.

mod record;
mod segments;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cmg_api::device::{MOST_PASSED_ON, PassedOnMessage};
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};
use tracing::error;

use self::segments::Segments;
use self::writer::{Order, Writer};

/// Orders that wait for the writer; whoever comes beyond is told to come again.
const ORDERS: usize = 1_024;

/// Most messages that are kept at once: each costs some 200 bytes of memory.
const MOST: usize = 500_000;

/// The largest batch that is passed on, in bytes, but for one message that is larger.
const BATCH: usize = 2 << 20;

/// Why messages are not kept.
#[derive(Debug, Error)]
pub(crate) enum NotKept {
    /// The disk, or what may be used of it, is full.
    #[error("there is no room on disk")]
    Full,
    /// The disk refuses.
    #[error("the disk refuses")]
    Disk,
    /// Too much is waiting to be written.
    #[error("too much waits to be written")]
    Busy,
}

/// Messages on disk. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Spool {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

struct Shared {
    pending: Mutex<Pending>,
    /// Something has come.
    more: Notify,
    /// Why nothing is kept at this moment.
    trouble: watch::Sender<Option<String>>,
}

/// What is kept and not passed on, the oldest first.
#[derive(Default)]
struct Pending {
    places: BTreeMap<u64, Place>,
    known: BTreeSet<Arc<Key>>,
    /// Bytes of all segments.
    used: u64,
}

/// Whose message, and its id.
type Key = (String, String);

/// Where a message is.
#[derive(Clone)]
struct Place {
    key: Arc<Key>,
    upload: Option<String>,
    segment: u64,
    file: Arc<File>,
    at: u64,
    length: u32,
}

impl Spool {
    /// Opens the spool in `folder`, which is made where it is missing, and begins to write; `limit` is in bytes.
    pub(crate) fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let (segments, pending) = Segments::open(folder)?;
        let shared = Arc::new(Shared { pending: Mutex::new(pending), more: Notify::new(), trouble: watch::Sender::new(None) });
        let (orders, receiver) = sync_channel(ORDERS);
        let writer = Writer::new(segments, Arc::clone(&shared), limit);
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { orders, shared })
    }

    /// Keeps messages; they are on disk when this is done. One that is kept already is kept.
    pub(crate) async fn keep(&self, messages: Vec<PassedOnMessage>) -> Result<(), NotKept> {
        let (done, answer) = oneshot::channel();
        self.orders.try_send(Order::Keep { messages, done }).map_err(|_| NotKept::Busy)?;
        answer.await.unwrap_or(Err(NotKept::Disk))
    }

    /// Waits until there is something, and gives the oldest of it with their numbers: at most `most`.
    pub(crate) async fn oldest(&self, most: usize) -> Vec<(u64, PassedOnMessage)> {
        loop {
            let more = self.shared.more.notified();
            let places = self.shared.pending().oldest(most.min(MOST_PASSED_ON));
            if !places.is_empty() {
                let read = tokio::task::spawn_blocking(move || places.into_iter().filter_map(read).collect::<Vec<_>>()).await;
                return read.unwrap_or_default();
            }
            more.await;
        }
    }

    /// Forgets messages that the site has kept, or never will.
    pub(crate) async fn forget(&self, numbers: Vec<u64>) {
        let (orders, order) = (self.orders.clone(), Order::Forget(numbers));
        // The writer may be busy; what is not forgotten would be sent again and again.
        let _ = tokio::task::spawn_blocking(move || orders.send(order)).await;
    }

    /// Whether a message is kept already.
    pub(crate) fn has(&self, client: &str, id: &str) -> bool {
        self.shared.pending().known.contains(&(client.to_owned(), id.to_owned()))
    }

    /// Uploads that messages refer to.
    pub(crate) fn uploads(&self) -> BTreeSet<String> {
        self.shared.pending().places.values().filter_map(|place| place.upload.clone()).collect()
    }

    /// Why nothing is kept at this moment, whenever that changes.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared.trouble.subscribe()
    }

    /// How many messages wait to be passed on.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.pending().places.len()
    }
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    fn insert(&mut self, number: u64, place: Place) {
        self.known.insert(Arc::clone(&place.key));
        self.places.insert(number, place);
    }

    fn remove(&mut self, number: u64) -> Option<Place> {
        let place = self.places.remove(&number)?;
        self.known.remove(&place.key);
        Some(place)
    }

    /// The oldest that go together. One with an upload goes alone.
    fn oldest(&self, most: usize) -> Vec<(u64, Place)> {
        let mut bytes = 0;
        let mut batch = Vec::new();
        for (number, place) in self.places.iter().take(most) {
            bytes += place.length as usize;
            if !batch.is_empty() && (bytes > BATCH || place.upload.is_some()) {
                break;
            }
            batch.push((*number, place.clone()));
            if place.upload.is_some() {
                break;
            }
        }
        batch
    }
}

fn read((number, place): (u64, Place)) -> Option<(u64, PassedOnMessage)> {
    match record::read(&place.file, place.at, place.length) {
        Ok(message) => Some((number, message)),
        Err(problem) => {
            error!(segment = place.segment, at = place.at, %problem, "A message on disk cannot be read at the moment");
            None
        }
    }
}

#[cfg(test)]
mod tests;
