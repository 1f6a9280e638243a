//! The session of whoever signed in, in a file that nobody else reads.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cmg_process::secret_file;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A session. Its token goes to its own server and to no other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Where it was begun.
    pub(crate) server: String,
    /// The roots by which that server was believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The account.
    pub(crate) name: String,
    /// The secret.
    pub(crate) token: String,
    /// When it ends at the latest, in seconds since 1970.
    pub(crate) expires_at: i64,
}

/// The session that is kept at `path`, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Session>, Failure> {
    if !path.exists() {
        return Ok(None);
    }
    let secret = secret_file("session", path)?;
    let session = secret.expose_line().and_then(|line| serde_json::from_str(line).ok());
    match session {
        Some(session) => Ok(Some(session)),
        None => Err(Failure::file("session", format!("{} is no session", path.display()), "remove the file and sign in again")),
    }
}

/// Keeps a session at `path`.
pub(crate) fn write(path: &Path, session: &Session) -> Result<(), Failure> {
    let text = serde_json::to_string(session).map_err(|error| Failure::failed("the session cannot be written", &error))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .and_then(|()| {
            let new = path.with_extension("new");
            remove_file(&new)?;
            new_secret(&new, &text)?;
            fs::rename(&new, path)
        })
        .map_err(|error| Failure::failed(format_args!("the session cannot be kept in {}", path.display()), &error))
}

/// Forgets the session at `path`.
pub(crate) fn forget(path: &Path) -> Result<(), Failure> {
    remove_file(path).map_err(|error| Failure::failed(format_args!("{} cannot be removed", path.display()), &error))
}

/// Writes a new file that nobody but its owner reads. One that exists is not touched.
pub(crate) fn new_secret(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let end = if text.ends_with('\n') { "" } else { "\n" };
    file.write_all(format!("{text}{end}").as_bytes())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
