//! The folder of an enrolled program: closed to everybody else, and no file in it is ever half written.
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cmg_api::TunnelEndFile;
use thiserror::Error;

pub(crate) const ROLE_KEY: &str = "role.key";
pub(crate) const ROLE_CHAIN: &str = "role.pem";
pub(crate) const AUTHORITY: &str = "authority.pem";
pub(crate) const SEALING_KEY: &str = "sealing.key";

/// The end of a file's name while it is being written.
pub(crate) const BESIDE: &str = ".part";

/// Largest file that is read here. Parts have their own limit.
const LARGEST: u64 = 16 << 20;

/// Why the folder, or a file in it, cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
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
    #[error("{path} cannot be used: {what}; put it back from a copy, or empty the folder and enrol again with a new code")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The folder `[site] data`.
#[derive(Clone, Debug)]
pub struct DataFolder {
    path: PathBuf,
}

impl DataFolder {
    /// Opens the folder, which is made with mode 0700 where it is missing.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let folder = Self { path: path.to_owned() };
        folder.make(path)?;
        let mode = path.metadata().map_err(|source| folder.refused("", source))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(DataError::Open { path: path.to_owned(), mode });
        }
        Ok(folder)
    }

    /// Where the folder is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of the role certificate, as a configuration names them.
    pub fn tunnel_end(&self) -> TunnelEndFile {
        TunnelEndFile {
            certificate: self.path.join(ROLE_CHAIN),
            key: self.path.join(ROLE_KEY),
            authority: self.path.join(AUTHORITY),
            revoked_members: Vec::new(),
        }
    }

    /// A folder within.
    pub(crate) fn within(&self, name: &str) -> Result<Self, DataError> {
        Self::open(&self.path.join(name))
    }

    /// Reads a file; none: there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, DataError> {
        self.read_at_most(name, LARGEST)
    }

    /// The same with another limit in bytes.
    pub(crate) fn read_at_most(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, DataError> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.refused(name, source)),
        };
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| self.refused(name, source))?;
        if bytes.len() as u64 > limit {
            return Err(self.damaged(name, format!("it is larger than {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    /// Reads a file of text that must be there.
    pub(crate) fn text(&self, name: &str) -> Result<String, DataError> {
        let bytes = self.read(name)?.ok_or_else(|| self.damaged(name, "it is missing"))?;
        String::from_utf8(bytes).map_err(|_| self.damaged(name, "it is no text"))
    }

    /// Writes a file with mode 0600: beside it first, onto the disk, then in its place, so that whoever reads it finds the old one or the
    /// new one.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let beside = format!("{name}{BESIDE}");
        self.write_in_place(&beside, bytes)?;
        self.rename(&beside, name)
    }

    fn write_in_place(&self, name: &str, bytes: &[u8]) -> Result<(), DataError> {
        let written = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path.join(name))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        written().map_err(|source| self.refused(name, source))
    }

    /// Gives a file another name, for good.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), DataError> {
        let renamed = || {
            std::fs::rename(self.path.join(from), self.path.join(to))?;
            File::open(&self.path)?.sync_all()
        };
        renamed().map_err(|source| self.refused(to, source))
    }

    /// Removes a file, for good; that there is none is as good.
    pub(crate) fn remove(&self, name: &str) -> Result<(), DataError> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.refused(name, source)),
            _ => Ok(()),
        }
    }

    pub(crate) fn refused(&self, name: &str, source: io::Error) -> DataError {
        DataError::System { path: self.path.join(name), source }
    }

    pub(crate) fn damaged(&self, name: &str, what: impl Into<String>) -> DataError {
        DataError::Damaged { path: self.path.join(name), what: what.into() }
    }

    fn make(&self, path: &Path) -> Result<(), DataError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| self.refused("", source))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use tempfile::TempDir;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_folder_is_made_for_its_owner_alone_and_so_are_its_files() {
        let dir = TempDir::new().unwrap();
        let folder = DataFolder::open(&dir.path().join("a/b")).unwrap();

        folder.write("x", b"1").unwrap();
        folder.write("x", b"2").unwrap();

        assert_eq!((mode(folder.path()), mode(&folder.path().join("x"))), (0o700, 0o600));
        assert_eq!(folder.read("x").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(folder.read("y").unwrap(), None);
    }

    #[test]
    fn a_folder_that_others_can_reach_is_refused() {
        let dir = TempDir::new().unwrap();
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();

        assert!(matches!(DataFolder::open(dir.path()), Err(DataError::Open { mode: 0o750, .. })));
    }
}
