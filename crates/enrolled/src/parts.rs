//! Parts of snapshots on disk, each under the name of its SHA-256, which is looked at when it is written and whenever it is read.
use std::collections::BTreeSet;
use std::io;

use cmg_api::bytes::Sha256;
use cmg_api::control::LARGEST_PART;
use thiserror::Error;

use crate::data::{BESIDE, DataError, DataFolder};
use crate::identity::sha256;

/// Why a part cannot be had.
#[derive(Debug, Error)]
pub enum PartError {
    /// It is not here.
    #[error("the part {0} is not on this machine")]
    Missing(Sha256),
    /// Its bytes are not those that its name says.
    #[error("the part {0} is damaged")]
    Damaged(Sha256),
    /// The disk refused.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// The folder `parts`.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: DataFolder,
}

impl Parts {
    /// Opens the folder within `data`, which is made where it is missing.
    pub fn open(data: &DataFolder) -> Result<Self, DataError> {
        Ok(Self { folder: data.within("parts")? })
    }

    /// Reads a part.
    pub fn read(&self, digest: &Sha256) -> Result<Vec<u8>, PartError> {
        let bytes = self.folder.read_at_most(&digest.to_string(), LARGEST_PART as u64)?.ok_or(PartError::Missing(*digest))?;
        if sha256(&bytes) == *digest { Ok(bytes) } else { Err(PartError::Damaged(*digest)) }
    }

    /// Keeps a part, if it is the one that `digest` names.
    pub fn write(&self, digest: &Sha256, bytes: &[u8]) -> Result<(), PartError> {
        if sha256(bytes) != *digest {
            return Err(PartError::Damaged(*digest));
        }
        Ok(self.folder.write(&digest.to_string(), bytes)?)
    }

    /// Whether the part is here and whole.
    pub fn has(&self, digest: &Sha256) -> bool {
        self.read(digest).is_ok()
    }

    /// Removes every other part, and what is left of writing one.
    pub fn keep_only(&self, wanted: &BTreeSet<Sha256>) -> Result<(), DataError> {
        let removed = || {
            for entry in std::fs::read_dir(self.folder.path())? {
                let name = entry?.file_name();
                let digest = name.to_str().and_then(|name| name.strip_suffix(BESIDE).unwrap_or(name).parse().ok());
                if digest.is_none_or(|digest| !wanted.contains(&digest)) {
                    std::fs::remove_file(self.folder.path().join(name))?;
                }
            }
            io::Result::Ok(())
        };
        removed().map_err(|source| self.folder.refused("", source))
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn parts() -> (TempDir, Parts) {
        let dir = TempDir::new().unwrap();
        let parts = Parts::open(&DataFolder::open(&dir.path().join("data")).unwrap()).unwrap();
        (dir, parts)
    }

    #[test]
    fn a_part_reads_back() {
        let (_dir, parts) = parts();

        parts.write(&sha256(b"one"), b"one").unwrap();

        assert_eq!(parts.read(&sha256(b"one")).unwrap(), b"one");
        assert!(matches!(parts.read(&sha256(b"two")), Err(PartError::Missing(_))));
    }

    #[test]
    fn what_is_not_what_its_name_says_is_not_kept_and_not_read() {
        let (_dir, parts) = parts();
        let digest = sha256(b"one");

        assert!(matches!(parts.write(&digest, b"two"), Err(PartError::Damaged(_))));
        std::fs::write(parts.folder.path().join(digest.to_string()), b"two").unwrap();

        assert!(matches!(parts.read(&digest), Err(PartError::Damaged(_))));
        assert!(!parts.has(&digest));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_removed() {
        let (_dir, parts) = parts();
        for bytes in [b"one", b"two"] {
            parts.write(&sha256(bytes), bytes).unwrap();
        }
        std::fs::write(parts.folder.path().join("rubbish"), b"").unwrap();

        parts.keep_only(&BTreeSet::from([sha256(b"two")])).unwrap();

        let left: Vec<_> = std::fs::read_dir(parts.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [sha256(b"two").to_string().as_str()]);
    }
}
