//! The one that writes a spool.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use cmg_api::device::PassedOnMessage;
use tokio::sync::oneshot;
use tracing::{error, info};

use super::segments::Segments;
use super::{Key, MOST, NotKept, Place, Shared, record};

/// Bytes of one sync at most, but for one order that is larger.
const AT_ONCE: usize = 8 << 20;

/// How often it is looked whether a disk that refused takes something again.
const PROBED: Duration = Duration::from_secs(2);

/// What the writer is to do.
pub(super) enum Order {
    Keep { messages: Vec<PassedOnMessage>, done: Done },
    Forget(Vec<u64>),
}

type Done = oneshot::Sender<Result<(), NotKept>>;

pub(super) struct Writer {
    segments: Segments,
    shared: Arc<Shared>,
    limit: u64,
}

/// What is written with one sync.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Places relative to the beginning of the batch.
    places: Vec<(Arc<Key>, Option<String>, u64, u32)>,
    keys: BTreeSet<Arc<Key>>,
    waiting: Vec<Done>,
}

impl Writer {
    pub(super) fn new(segments: Segments, shared: Arc<Shared>, limit: u64) -> Self {
        Self { segments, shared, limit }
    }

    /// Writes until nobody can give orders any more.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        loop {
            let first = match orders.recv_timeout(PROBED) {
                Ok(order) => order,
                Err(RecvTimeoutError::Timeout) => {
                    self.probe();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Batch::default();
            self.take(first, &mut batch);
            while batch.bytes.len() < AT_ONCE
                && let Ok(order) = orders.try_recv()
            {
                self.take(order, &mut batch);
            }
            self.write(batch);
        }
    }

    fn take(&mut self, order: Order, batch: &mut Batch) {
        match order {
            Order::Keep { messages, done } => self.add(messages, done, batch),
            Order::Forget(numbers) => self.forget(&numbers),
        }
    }

    fn add(&self, messages: Vec<PassedOnMessage>, done: Done, batch: &mut Batch) {
        let pending = self.shared.pending();
        let is_full =
            pending.places.len() + batch.places.len() + messages.len() > MOST || pending.used + (batch.bytes.len() as u64) >= self.limit;
        if is_full {
            drop(pending);
            self.refuse("the limit of the spool is reached, since the site does not take what is there".to_owned());
            let _ = done.send(Err(NotKept::Full));
            return;
        }
        for message in messages {
            let key = Arc::new((message.client.clone(), message.message.id.clone()));
            if pending.known.contains(&key) || !batch.keys.insert(Arc::clone(&key)) {
                continue;
            }
            let at = batch.bytes.len() as u64;
            // A message was measured before it came here.
            if let Some(length) = record::write(&message, &mut batch.bytes) {
                batch.places.push((key, message.message.upload, at, length));
            }
        }
        batch.waiting.push(done);
    }

    fn write(&mut self, batch: Batch) {
        let written = if batch.places.is_empty() { Ok(None) } else { self.segments.append(&batch.bytes, batch.places.len()).map(Some) };
        match written {
            Ok(appended) => {
                if let Some(appended) = appended {
                    let mut pending = self.shared.pending();
                    for (key, upload, at, length) in batch.places {
                        let (segment, file) = (appended.segment, Arc::clone(&appended.file));
                        pending.insert(self.segments.next_message, Place { key, upload, segment, file, at: appended.at + at, length });
                        self.segments.next_message += 1;
                    }
                    pending.used += batch.bytes.len() as u64;
                    drop(pending);
                    self.shared.more.notify_one();
                    self.accept();
                }
                batch.waiting.into_iter().for_each(|done| _ = done.send(Ok(())));
            }
            Err(problem) => {
                self.refuse(format!("messages cannot be written to disk: {problem}"));
                let is_full = matches!(problem.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let why = || if is_full { NotKept::Full } else { NotKept::Disk };
                batch.waiting.into_iter().for_each(|done| _ = done.send(Err(why())));
            }
        }
    }

    fn forget(&mut self, numbers: &[u64]) {
        let mut pending = self.shared.pending();
        for number in numbers {
            if let Some(place) = pending.remove(*number) {
                pending.used = pending.used.saturating_sub(self.segments.release(place.segment));
            }
        }
    }

    fn refuse(&self, why: String) {
        let is_news = self.shared.trouble.send_if_modified(|trouble| {
            let is_news = trouble.is_none();
            *trouble = Some(why.clone());
            is_news
        });
        if is_news {
            error!(why, "Messages of devices are refused until there is room again");
        }
    }

    fn accept(&self) {
        if self.shared.trouble.send_if_modified(|trouble| trouble.take().is_some()) {
            info!("Messages of devices are kept again");
        }
    }

    /// Whether what was refused would be kept: whoever looks whether this program is ready sends nothing until it says so.
    fn probe(&self) {
        if self.shared.trouble.borrow().is_none() {
            return;
        }
        let (messages, used) = {
            let pending = self.shared.pending();
            (pending.places.len(), pending.used)
        };
        if messages < MOST && used < self.limit && self.segments.probe().is_ok() {
            self.accept();
        }
    }
}
