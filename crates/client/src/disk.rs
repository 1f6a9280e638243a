//! The client's folder: closed to everybody else, and no file in it is ever half written.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Largest file that is read here, in bytes: a policy with its signature in JSON.
const LARGEST: u64 = 32 << 20;

/// The end of a file's name while it is being written.
const BESIDE: &str = ".part";

/// Why the folder, or a file in it, cannot be used.
#[derive(Debug, Error)]
pub enum DiskError {
    /// There is no room.
    #[error("{path} cannot be written, because the disk is full: make room; what was there before stays")]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{path} cannot be used: {source}")]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than its owner can reach it.
    #[error("{path} has mode {mode:04o}, so others than its owner can reach it; run `chmod 700 {path}`")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file is not what this program wrote.
    #[error("{path} cannot be read: {what}; run `cmg client repair`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The folder that `data` names.
#[derive(Clone, Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Opens the folder, which is made with mode 0700 where it is missing.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let disk = Self { path: path.to_owned() };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path).and_then(|()| path.metadata());
        let mode = made.map_err(|source| disk.refused("", source))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(DiskError::Open { path: path.to_owned(), mode });
        }
        Ok(disk)
    }

    /// A folder within.
    pub fn within(&self, name: &str) -> Result<Self, DiskError> {
        Self::open(&self.path.join(name))
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads a file; none: there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let file = match File::open(self.path(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.refused(name, source)),
        };
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|source| self.refused(name, source))?;
        match bytes.len() as u64 {
            0..=LARGEST => Ok(Some(bytes)),
            _ => Err(self.damaged(name, format!("it is larger than {LARGEST} bytes"))),
        }
    }

    /// Reads a file of JSON; none: there is none.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DiskError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| self.damaged(name, error.to_string()))
    }

    /// Writes a file with mode 0600: beside it first, onto the disk, then in its place, so that whoever reads it finds the old one or the
    /// new one.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DiskError> {
        let beside = self.path(&format!("{name}{BESIDE}"));
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&beside, self.path(name))?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|source| {
            // What is half written only takes the room that is missing.
            let _ = fs::remove_file(&beside);
            self.refused(name, source)
        })
    }

    /// Writes a file of JSON.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), DiskError> {
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| self.refused(name, error.into()))?;
        self.write(name, &bytes)
    }

    /// Removes a file; that there is none is as good.
    pub fn remove(&self, name: &str) -> Result<(), DiskError> {
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.refused(name, error)),
            _ => Ok(()),
        }
    }

    /// The names of its files in order, without those that were being written.
    pub fn names(&self) -> Result<Vec<String>, DiskError> {
        let entries = fs::read_dir(&self.path).map_err(|source| self.refused("", source))?;
        let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.retain(|name| !name.ends_with(BESIDE));
        names.sort();
        Ok(names)
    }

    pub(crate) fn damaged(&self, name: &str, what: impl Into<String>) -> DiskError {
        DiskError::Damaged { path: self.path(name), what: what.into() }
    }

    fn refused(&self, name: &str, source: io::Error) -> DiskError {
        let path = self.path(name);
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full { path },
            _ => DiskError::System { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_folder_and_its_files_are_their_owners_alone() {
        let dir = TempDir::new().unwrap();
        let disk = Disk::open(&dir.path().join("a/b")).unwrap();

        disk.write("x", b"1").unwrap();
        disk.write("x", b"2").unwrap();

        let mode = |name: &str| disk.path(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(""), mode("x")), (0o700, 0o600));
        assert_eq!(disk.read("x").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!((disk.read("y").unwrap(), disk.names().unwrap()), (None, vec!["x".to_owned()]));
    }

    #[test]
    fn a_folder_that_others_can_reach_is_refused() {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();

        assert!(matches!(Disk::open(dir.path()), Err(DiskError::Open { mode: 0o750, .. })));
    }

    #[test]
    fn a_full_disk_is_told_and_what_was_there_stays() {
        let dir = TempDir::new().unwrap();
        let disk = Disk::open(&dir.path().join("a")).unwrap();
        disk.write("x", b"before").unwrap();
        // Every write to this device ends as on a full disk.
        std::os::unix::fs::symlink("/dev/full", disk.path("x.part")).unwrap();

        let refused = disk.write("x", b"after");

        assert!(matches!(refused, Err(DiskError::Full { .. })), "{refused:?}");
        assert_eq!(disk.read("x").unwrap().as_deref(), Some(&b"before"[..]));
    }
}
