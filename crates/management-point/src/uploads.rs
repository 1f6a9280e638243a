//! Large messages on their way in: files that grow fragment by fragment, each of one device.
//!
//! An upload has the id that its session was given and grows until it is whole; then a message may refer to it, and it stays until the site
//! has kept that message. Its file is called by its id and its client, so that a start finds what there was, and a device goes on where it
//! was. Everything is bounded: the bytes of all, the uploads of one device at once, its bytes in a day, and the age of what nobody uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cmg_api::device::LARGEST_UPLOAD;
use cmg_process::dice;
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tracing::warn;

/// Uploads of one device at once; the one that was used longest ago gives way.
const OF_DEVICE: usize = 4;

/// Uploads at once.
const MOST: usize = 10_000;

/// How long an upload is kept that nobody uses, or that no message refers to.
const UNUSED: Duration = Duration::from_secs(24 * 3_600);

/// Bytes that one device may send in a day.
const OF_A_DAY: u64 = 4 * LARGEST_UPLOAD;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Why an upload does not go on.
#[derive(Debug, Error)]
pub(crate) enum UploadRefused {
    /// There is none such of this device.
    #[error("there is no such upload of this device: begin a new one")]
    Unknown,
    /// It cannot be so large.
    #[error("an upload has at most {LARGEST_UPLOAD} bytes")]
    TooLarge,
    /// The device has sent enough today.
    #[error("this device has sent {OF_A_DAY} bytes in a day: go on tomorrow")]
    TooMuch,
    /// There is no room.
    #[error("there is no room for uploads at this moment: go on later")]
    Full,
    /// A fragment does not follow what is there.
    #[error("{0} bytes are there: go on from there")]
    Gap(u64),
    /// What was said of its length is not true.
    #[error("the upload has another length than it was said to have")]
    Length,
    /// Something of this upload is under way.
    #[error("a fragment of this upload is under way: go on when it is done")]
    Busy,
    /// The disk refuses.
    #[error("the disk refuses")]
    Disk(#[from] io::Error),
}

/// All uploads.
pub(crate) struct Uploads {
    folder: PathBuf,
    limit: u64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    all: BTreeMap<String, Entry>,
    used: u64,
    /// What each device has sent since when.
    sent: BTreeMap<String, (Instant, u64)>,
}

struct Entry {
    client: Arc<str>,
    used_at: Instant,
    /// Whether a message refers to it.
    is_claimed: bool,
    upload: Arc<tokio::sync::Mutex<Upload>>,
}

/// One upload.
pub(crate) struct Upload {
    file: Arc<File>,
    /// Bytes that are there.
    received: u64,
    total: Option<u64>,
    is_whole: bool,
}

/// An upload at which nobody else is.
pub(crate) type Held = OwnedMutexGuard<Upload>;

impl Uploads {
    /// Opens the uploads in `folder`, which is made where it is missing. `claimed`: to which messages refer. `limit` is in bytes.
    pub(crate) fn open(folder: &Path, claimed: &BTreeSet<String>, limit: u64) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut known = Known::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let Some((id, client, is_whole)) = path.file_name().and_then(|name| name.to_str()).and_then(named) else { continue };
            let file = Arc::new(OpenOptions::new().read(true).write(true).open(&path)?);
            let received = file.metadata()?.len();
            known.used += received;
            let total = is_whole.then_some(received);
            known.insert(id, client, claimed.contains(id), Upload { file, received, total, is_whole });
        }
        Ok(Self { folder: folder.to_owned(), limit, known: Mutex::new(known) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an upload, and gives its id.
    pub(crate) fn begin(&self, client: &str) -> Result<String, UploadRefused> {
        let mut known = self.known();
        self.sweep(&mut known);
        let mut own: Vec<_> = known.all.iter().filter(|(_, one)| &*one.client == client && !one.is_claimed).collect();
        own.sort_by_key(|(_, one)| one.used_at);
        if own.len() >= OF_DEVICE {
            let oldest = own[0].0.clone();
            self.remove(&mut known, &oldest);
        }
        if known.all.len() >= MOST || known.used >= self.limit {
            return Err(UploadRefused::Full);
        }
        let id = format!("{:016x}{:016x}", dice::draw(), dice::draw());
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.path(&id, client, false))?;
        known.insert(&id, client, false, Upload { file: Arc::new(file), received: 0, total: None, is_whole: false });
        Ok(id)
    }

    /// An upload of this device, for one who goes on with it.
    pub(crate) fn take(&self, client: &str, id: &str) -> Result<Held, UploadRefused> {
        let mut known = self.known();
        let one = known.all.get_mut(id).filter(|one| &*one.client == client).ok_or(UploadRefused::Unknown)?;
        one.used_at = Instant::now();
        Arc::clone(&one.upload).try_lock_owned().map_err(|_| UploadRefused::Busy)
    }

    /// Whether so many bytes more may come of this device; they count from here on.
    pub(crate) fn admit(&self, client: &str, bytes: u64) -> Result<(), UploadRefused> {
        let mut known = self.known();
        if known.used + bytes > self.limit {
            return Err(UploadRefused::Full);
        }
        let now = Instant::now();
        known.sent.retain(|_, (since, _)| now.duration_since(*since) < DAY);
        let (_, sent) = known.sent.entry(client.to_owned()).or_insert((now, 0));
        if *sent + bytes > OF_A_DAY {
            return Err(UploadRefused::TooMuch);
        }
        *sent += bytes;
        known.used += bytes;
        Ok(())
    }

    /// Gives back what was admitted and did not come.
    pub(crate) fn give_back(&self, client: &str, bytes: u64) {
        let mut known = self.known();
        known.used = known.used.saturating_sub(bytes);
        if let Some((_, sent)) = known.sent.get_mut(client) {
            *sent = sent.saturating_sub(bytes);
        }
    }

    /// Ends an upload that is whole: it is on disk when this is done.
    pub(crate) fn finish(&self, client: &str, id: &str, upload: &mut Upload) -> Result<(), UploadRefused> {
        if upload.is_whole {
            return Ok(());
        }
        if upload.total.is_some_and(|total| total != upload.received) {
            return Err(UploadRefused::Gap(upload.received));
        }
        upload.file.sync_data()?;
        std::fs::rename(self.path(id, client, false), self.path(id, client, true))?;
        File::open(&self.folder)?.sync_all()?;
        upload.is_whole = true;
        Ok(())
    }

    /// Forgets an upload of this device to which no message refers.
    pub(crate) fn cancel(&self, client: &str, id: &str) -> Result<(), UploadRefused> {
        let mut known = self.known();
        let is_own = known.all.get(id).is_some_and(|one| &*one.client == client && !one.is_claimed);
        if !is_own {
            return Err(UploadRefused::Unknown);
        }
        self.remove(&mut known, id);
        Ok(())
    }

    /// A message refers to it from here on. Gives its file; none: this device has no such upload, or it is not whole.
    pub(crate) fn claim(&self, client: &str, id: &str) -> Option<Arc<File>> {
        let mut known = self.known();
        let one = known.all.get_mut(id).filter(|one| &*one.client == client)?;
        let file = one.upload.try_lock().ok().filter(|upload| upload.is_whole).map(|upload| Arc::clone(&upload.file))?;
        one.is_claimed = true;
        Some(file)
    }

    /// The message that refers to it was not kept.
    pub(crate) fn disclaim(&self, id: &str) {
        if let Some(one) = self.known().all.get_mut(id) {
            one.is_claimed = false;
        }
    }

    /// The bytes of an upload to which a message refers; none: it is gone.
    pub(crate) fn read(&self, id: &str) -> Option<io::Result<Vec<u8>>> {
        let known = self.known();
        let one = known.all.get(id)?;
        let path = self.path(id, &one.client, true);
        drop(known);
        Some(std::fs::read(path))
    }

    /// The site has kept it.
    pub(crate) fn forget(&self, id: &str) {
        self.remove(&mut self.known(), id);
    }

    fn remove(&self, known: &mut Known, id: &str) {
        let Some(one) = known.all.remove(id) else { return };
        // Whoever is writing to it writes to a file without a name.
        let mut bytes = 0;
        for is_whole in [false, true] {
            let path = self.path(id, &one.client, is_whole);
            if let Ok(found) = path.metadata() {
                bytes += found.len();
                if let Err(error) = std::fs::remove_file(path) {
                    warn!(upload = id, %error, "An upload cannot be removed");
                }
            }
        }
        known.used = known.used.saturating_sub(bytes);
    }

    fn sweep(&self, known: &mut Known) {
        let now = Instant::now();
        let is_old = |one: &Entry| !one.is_claimed && now.duration_since(one.used_at) > UNUSED;
        let old: Vec<String> = known.all.iter().filter(|(_, one)| is_old(one)).map(|(id, _)| id.clone()).collect();
        for id in old {
            self.remove(known, &id);
        }
    }

    fn path(&self, id: &str, client: &str, is_whole: bool) -> PathBuf {
        self.folder.join(format!("{id}.{client}.{}", if is_whole { "whole" } else { "part" }))
    }
}

impl Known {
    fn insert(&mut self, id: &str, client: &str, is_claimed: bool, upload: Upload) {
        let upload = Arc::new(tokio::sync::Mutex::new(upload));
        self.all.insert(id.to_owned(), Entry { client: client.into(), used_at: Instant::now(), is_claimed, upload });
    }
}

impl Upload {
    /// Bytes that are there.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// A fragment comes that begins at `first`, of an upload of `total` bytes. Gives how many of its bytes are there already.
    pub(crate) fn expect(&mut self, first: u64, total: u64) -> Result<u64, UploadRefused> {
        if total > LARGEST_UPLOAD {
            return Err(UploadRefused::TooLarge);
        }
        if self.total.is_some_and(|known| known != total) {
            return Err(UploadRefused::Length);
        }
        if first > self.received {
            return Err(UploadRefused::Gap(self.received));
        }
        self.total = Some(total);
        Ok(self.received - first)
    }

    /// Appends bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.received)?;
        self.received += bytes.len() as u64;
        Ok(())
    }
}

/// Id, client, and whether it is whole, by the name of its file.
fn named(name: &str) -> Option<(&str, &str, bool)> {
    let (name, is_whole) = match name.strip_suffix(".whole") {
        Some(name) => (name, true),
        None => (name.strip_suffix(".part")?, false),
    };
    let (id, client) = name.split_once('.')?;
    Some((id, client, is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Uploads) {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(folder.path(), &BTreeSet::new(), 1_000).unwrap();
        (folder, uploads)
    }

    fn append(uploads: &Uploads, client: &str, id: &str, first: u64, bytes: &[u8], total: u64) -> Result<(), UploadRefused> {
        let mut held = uploads.take(client, id)?;
        let there = usize::try_from(held.expect(first, total)?).unwrap().min(bytes.len());
        uploads.admit(client, (bytes.len() - there) as u64)?;
        Ok(held.append(&bytes[there..])?)
    }

    #[test]
    fn an_upload_goes_on_where_it_was_after_a_start_and_a_repeated_fragment_is_harmless() {
        let (folder, uploads) = folder();
        let id = uploads.begin("pc1").unwrap();
        append(&uploads, "pc1", &id, 0, b"hello ", 11).unwrap();
        drop(uploads);
        let uploads = Uploads::open(folder.path(), &BTreeSet::new(), 1_000).unwrap();

        append(&uploads, "pc1", &id, 0, b"hello ", 11).unwrap();
        assert!(matches!(append(&uploads, "pc1", &id, 8, b"rld", 11), Err(UploadRefused::Gap(6))));
        assert!(matches!(uploads.finish("pc1", &id, &mut uploads.take("pc1", &id).unwrap()), Err(UploadRefused::Gap(6))));
        append(&uploads, "pc1", &id, 4, b"o world", 11).unwrap();
        uploads.finish("pc1", &id, &mut uploads.take("pc1", &id).unwrap()).unwrap();

        assert!(uploads.claim("pc1", &id).is_some());
        assert_eq!(uploads.read(&id).unwrap().unwrap(), b"hello world");
        assert!(uploads.cancel("pc1", &id).is_err(), "a message refers to it");
        uploads.forget(&id);
        assert_eq!((std::fs::read_dir(folder.path()).unwrap().count(), uploads.known().used), (0, 0));
    }

    #[test]
    fn an_upload_is_its_devices_own() {
        let (_folder, uploads) = folder();
        let id = uploads.begin("pc1").unwrap();

        assert!(matches!(uploads.take("pc2", &id).map(drop), Err(UploadRefused::Unknown)));
        assert!(uploads.cancel("pc2", &id).is_err() && uploads.claim("pc2", &id).is_none());
        assert!(uploads.claim("pc1", &id).is_none(), "it is not whole");
        let held = uploads.take("pc1", &id).unwrap();
        assert!(matches!(uploads.take("pc1", &id).map(drop), Err(UploadRefused::Busy)));
        drop(held);
    }

    #[test]
    fn uploads_are_bounded_in_number_and_bytes() {
        let (folder, uploads) = folder();
        let first = uploads.begin("pc1").unwrap();
        for _ in 0..OF_DEVICE {
            uploads.begin("pc1").unwrap();
        }
        assert!(matches!(uploads.take("pc1", &first).map(drop), Err(UploadRefused::Unknown)), "the oldest gave way");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), OF_DEVICE);

        let id = uploads.begin("pc2").unwrap();
        assert!(matches!(append(&uploads, "pc2", &id, 0, b"x", LARGEST_UPLOAD + 1), Err(UploadRefused::TooLarge)));
        append(&uploads, "pc2", &id, 0, &[0; 900], 2_000).unwrap();
        assert!(matches!(append(&uploads, "pc2", &id, 900, &[0; 101], 2_000), Err(UploadRefused::Full)));
        assert!(matches!(append(&uploads, "pc2", &id, 900, b"x", 3_000), Err(UploadRefused::Length)));
        uploads.cancel("pc2", &id).unwrap();
        let id = uploads.begin("pc2").unwrap();
        append(&uploads, "pc2", &id, 0, &[0; 900], 900).unwrap();
    }
}
