//! Writing the files of a laboratory: folders are made as needed, keys are for their owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::LabError;

/// Writes a file that anybody may read.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), LabError> {
    write_with_mode(path, content.as_ref(), 0o644)
}

/// Writes a file that only its owner may read: keys and tokens.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) -> Result<(), LabError> {
    write_with_mode(path, content.as_ref(), 0o600)
}

fn write_with_mode(path: &Path, content: &[u8], mode: u32) -> Result<(), LabError> {
    try_write(path, content, mode).map_err(|source| LabError::File { path: path.to_owned(), source })
}

fn try_write(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    // The mode above counts for new files only; an older file keeps its own.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(content)
}
