//! Where a quickstart keeps its files.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cmg_lab::LabError;

use super::screen::note;

/// The folder of the laboratory.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    temporary: bool,
}

impl Folder {
    /// The folder that was asked for, or a new one that only its owner may enter.
    pub(super) fn new(asked: Option<&Path>) -> Result<Self, LabError> {
        let temporary = asked.is_none();
        let path = asked.map_or_else(|| std::env::temp_dir().join(format!("cmg-quickstart-{}", std::process::id())), Path::to_owned);
        let made = DirBuilder::new().mode(0o700).recursive(!temporary).create(&path);
        made.map_err(|source| LabError::File { path: path.clone(), source })?;
        Ok(Self { path, temporary })
    }

    /// Only a failed run leaves its folder, for its logs, if there are any yet.
    pub(super) fn remove_if_of_no_use(self, worked: bool) {
        let of_use = !worked && self.path.join("log").exists();
        if self.temporary && !of_use && std::fs::remove_dir_all(&self.path).is_err() {
            note(&format!("{} could not be removed", self.path.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_asked_for_stays() {
        let path = std::env::temp_dir().join(format!("cmg-quickstart-test-{}", std::process::id()));

        Folder::new(Some(&path)).unwrap().remove_if_of_no_use(true);

        assert!(path.exists());
        std::fs::remove_dir(path).unwrap();
    }
}
