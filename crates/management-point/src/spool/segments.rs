//! The files of a spool.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};

use super::{Pending, Place, record};

/// A segment is followed by another one from this size on, in bytes.
const LARGE: u64 = 8 << 20;

/// The segments of a folder, and which messages are where.
pub(super) struct Segments {
    folder: PathBuf,
    /// How many messages of each segment are still kept.
    left: BTreeMap<u64, Segment>,
    /// The one that is written to.
    current: Option<u64>,
    next: u64,
    pub(super) next_message: u64,
}

struct Segment {
    file: Arc<File>,
    length: u64,
    messages: usize,
}

/// Where something was appended.
pub(super) struct Appended {
    pub(super) segment: u64,
    pub(super) file: Arc<File>,
    pub(super) at: u64,
}

impl Segments {
    pub(super) fn open(folder: &Path) -> io::Result<(Self, Pending)> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut segments = Self { folder: folder.to_owned(), left: BTreeMap::new(), current: None, next: 1, next_message: 1 };
        let mut pending = Pending::default();
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".segment")).and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        for number in numbers {
            segments.read(number, &mut pending)?;
        }
        if !pending.places.is_empty() {
            info!(messages = pending.places.len(), "Messages of devices wait to be passed on to the site");
        }
        Ok((segments, pending))
    }

    /// Reads a segment that another run has left.
    fn read(&mut self, number: u64, pending: &mut Pending) -> io::Result<()> {
        let path = self.path(number);
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(&path)?);
        let bytes = std::fs::read(&path)?;
        let (mut at, mut messages) = (0, 0);
        while let Some((message, length)) = record::first(&bytes[at..]) {
            let key = Arc::new((message.client, message.message.id));
            if !pending.known.contains(&key) {
                let length = u32::try_from(length - record::HEAD).unwrap_or_default();
                let (upload, file) = (message.message.upload, Arc::clone(&file));
                pending.insert(self.next_message, Place { key, upload, segment: number, file, at: at as u64, length });
                self.next_message += 1;
                messages += 1;
            }
            at += length;
        }
        if at < bytes.len() {
            warn!(segment = number, bytes = bytes.len() - at, "A torn tail of messages that were never acknowledged is cut off");
            file.set_len(at as u64)?;
            file.sync_data()?;
        }
        self.next = number + 1;
        if messages == 0 {
            return std::fs::remove_file(path);
        }
        pending.used += at as u64;
        self.left.insert(number, Segment { file, length: at as u64, messages });
        Ok(())
    }

    /// Appends `bytes` of so many messages, and syncs them. After an error nothing of it is there.
    pub(super) fn append(&mut self, bytes: &[u8], messages: usize) -> io::Result<Appended> {
        let current = self.current.filter(|current| self.left.get(current).is_some_and(|segment| segment.length < LARGE));
        let number = match current {
            Some(number) => number,
            None => self.begin()?,
        };
        let segment = self.left.get_mut(&number).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let at = segment.length;
        let file = Arc::clone(&segment.file);
        if let Err(error) = file.write_all_at(bytes, at).and_then(|()| file.sync_data()) {
            // What a later record would follow is not known any more: that one goes into another file.
            let _ = file.set_len(at);
            self.current = None;
            self.remove_empty(number);
            return Err(error);
        }
        segment.length += bytes.len() as u64;
        segment.messages += messages;
        Ok(Appended { segment: number, file, at })
    }

    fn begin(&mut self) -> io::Result<u64> {
        let number = self.next;
        let path = self.path(number);
        let file = Arc::new(OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?);
        self.next += 1;
        self.left.insert(number, Segment { file, length: 0, messages: 0 });
        File::open(&self.folder)?.sync_all()?;
        self.current = Some(number);
        Ok(number)
    }

    /// One message of a segment is not needed any more. Gives the bytes that are free by that.
    pub(super) fn release(&mut self, number: u64) -> u64 {
        let Some(segment) = self.left.get_mut(&number) else { return 0 };
        segment.messages = segment.messages.saturating_sub(1);
        self.remove_empty(number)
    }

    /// Removes a segment in which nothing is left. A crash before that is on disk does no harm: it is read and sent once more.
    fn remove_empty(&mut self, number: u64) -> u64 {
        let Some(segment) = self.left.get(&number).filter(|segment| segment.messages == 0) else { return 0 };
        let length = segment.length;
        if let Err(error) = std::fs::remove_file(self.path(number)) {
            warn!(segment = number, %error, "Messages that were passed on cannot be removed; they are sent again after a start");
        }
        self.left.remove(&number);
        if self.current == Some(number) {
            self.current = None;
        }
        length
    }

    /// Whether the disk takes anything.
    pub(super) fn probe(&self) -> io::Result<()> {
        let path = self.folder.join("probe");
        let probe = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let written = probe.write_all_at(&[0; 64 << 10], 0).and_then(|()| probe.sync_data());
        std::fs::remove_file(path).and(written)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:012}.segment"))
    }
}
