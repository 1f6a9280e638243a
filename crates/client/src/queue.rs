//! Messages on their way to the site: on disk before anybody counts on them, sent until the site says that it has them.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use cmg_api::device::{Kept, LARGEST_MESSAGES, MOST_MESSAGES, Message, MessageKind, Messages};
use serde_json::Value;
use thiserror::Error;
use tracing::warn;

use crate::clock;
use crate::disk::{Disk, DiskError};

/// Most messages that wait.
const MOST: usize = 1_000;

/// Why a message is not taken.
#[derive(Debug, Error)]
pub enum NotQueued {
    /// So many wait already.
    #[error("{MOST} messages wait already, and the site takes none")]
    Full,
    /// It is larger than the site takes.
    #[error("it has {0} bytes, and the site takes no more than {LARGEST_MESSAGES}")]
    TooLarge(usize),
    /// It cannot be kept.
    #[error("{0}")]
    Disk(#[from] DiskError),
}

/// The queue.
pub struct Queue {
    disk: Disk,
    next: u64,
}

impl Queue {
    /// What waited before is still there.
    pub fn open(disk: Disk) -> Result<Self, DiskError> {
        let last = disk.names()?.iter().filter_map(|name| name.split('-').next()?.parse().ok()).max();
        Ok(Self { disk, next: last.map_or(0, |last: u64| last + 1) })
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.disk.names().map_or(0, |names| names.len())
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a message. A heartbeat or an inventory replaces one that waits: the site wants to know how it is, not how it was.
    pub fn add(&mut self, kind: MessageKind, body: Value) -> Result<(), NotQueued> {
        let names = self.disk.names()?;
        let end = format!("-{}.json", word(kind));
        let replaced: Vec<_> = names.iter().filter(|name| kind != MessageKind::Status && name.ends_with(&end)).collect();
        if names.len() - replaced.len() >= MOST {
            return Err(NotQueued::Full);
        }
        let message = Message { id: id(), kind, at: clock::now().0, body, upload: None };
        let size = serde_json::to_vec(&message).map_or(usize::MAX, |bytes| bytes.len());
        if size > LARGEST_MESSAGES - 64 {
            return Err(NotQueued::TooLarge(size));
        }
        self.disk.write_json(&format!("{:016}{end}", self.next), &message)?;
        self.next += 1;
        for name in replaced {
            self.disk.remove(name)?;
        }
        Ok(())
    }

    /// The messages to send next, oldest first, as much as the site takes at once. What cannot be read is put aside, and told.
    pub fn batch(&self) -> Result<Messages, DiskError> {
        let (mut messages, mut size) = (Vec::new(), 64);
        for name in self.disk.names()? {
            let message = match self.disk.read_json::<Message>(&name) {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(error) => {
                    warn!(%error, "A message that waited cannot be read, and is removed");
                    self.disk.remove(&name)?;
                    continue;
                }
            };
            size += serde_json::to_vec(&message).map_or(0, |bytes| bytes.len() + 1);
            if messages.len() == MOST_MESSAGES || size > LARGEST_MESSAGES {
                break;
            }
            messages.push(message);
        }
        Ok(Messages { messages })
    }

    /// Forgets what the site has, or will never take.
    pub fn settle(&self, kept: &Kept) -> Result<(), DiskError> {
        for refused in &kept.refused {
            warn!(id = refused.id, why = refused.why, "The site does not take a message");
        }
        for name in self.disk.names()? {
            let Ok(Some(message)) = self.disk.read_json::<Message>(&name) else { continue };
            let is_settled = kept.kept.contains(&message.id) || kept.refused.iter().any(|refused| refused.id == message.id);
            if is_settled {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn word(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Heartbeat => "heartbeat",
        MessageKind::Inventory => "inventory",
        MessageKind::Status => "status",
        MessageKind::Foreign => "foreign",
    }
}

/// An id that no other message has.
fn id() -> String {
    let mut bytes = [0; 16];
    if SystemRandom::new().fill(&mut bytes).is_err() {
        bytes = (u128::from(cmg_process::dice::draw()) << 64 | u128::from(cmg_process::dice::draw())).to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use cmg_api::device::RefusedMessage;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    fn queue(dir: &TempDir) -> Queue {
        Queue::open(Disk::open(&dir.path().join("messages")).unwrap()).unwrap()
    }

    fn texts(queue: &Queue) -> Vec<String> {
        queue.batch().unwrap().messages.iter().map(|message| message.body["text"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn messages_wait_in_order_over_a_restart_until_they_are_settled() {
        let dir = TempDir::new().unwrap();
        for text in ["a", "b", "c"] {
            queue(&dir).add(MessageKind::Status, json!({ "text": text })).unwrap();
        }

        let again = queue(&dir);
        let ids: Vec<_> = again.batch().unwrap().messages.into_iter().map(|message| message.id).collect();
        let refused = vec![RefusedMessage { id: ids[1].clone(), why: "no".to_owned() }];
        again.settle(&Kept { kept: vec![ids[0].clone()], refused }).unwrap();

        assert_eq!((texts(&again), queue(&dir).batch().unwrap().messages[0].id.clone()), (vec!["c".to_owned()], ids[2].clone()));
    }

    #[test]
    fn a_heartbeat_replaces_one_that_waits() {
        let dir = TempDir::new().unwrap();
        let mut queue = queue(&dir);
        for text in ["old", "new"] {
            queue.add(MessageKind::Heartbeat, json!({ "text": text })).unwrap();
        }

        assert_eq!(texts(&queue), ["new"]);
    }

    #[test]
    fn a_batch_has_no_more_than_the_site_takes_at_once() {
        let dir = TempDir::new().unwrap();
        let mut queue = queue(&dir);
        for _ in 0..3 {
            queue.add(MessageKind::Status, json!({ "text": "x".repeat(500_000) })).unwrap();
        }

        assert_eq!(texts(&queue).len(), 2);
        let too_large = queue.add(MessageKind::Status, json!({ "text": "x".repeat(LARGEST_MESSAGES) }));
        assert!(matches!(too_large, Err(NotQueued::TooLarge(_))));
    }

    #[test]
    fn a_full_queue_takes_nothing_more_but_heartbeats() {
        let dir = TempDir::new().unwrap();
        let mut queue = queue(&dir);
        queue.add(MessageKind::Heartbeat, json!({})).unwrap();
        for number in 1..MOST {
            std::fs::write(queue.disk.path(&format!("{number:016}-status.json")), b"{}").unwrap();
        }

        assert!(matches!(queue.add(MessageKind::Status, json!({})), Err(NotQueued::Full)));
        queue.add(MessageKind::Heartbeat, json!({})).unwrap();
    }
}
