//! Files that hold credentials, wherever they come from: the disk, or a snapshot of the site, which is a signed folder.
//!
//! On the disk, secrets must be closed to everybody but their owner.
use std::fs::File;
use std::io::Read;
use std::path::Path;

use cmg_core::problem::Problem;

/// Largest file read. Revocation lists of big authorities reach tens of megabytes.
const LARGEST: u64 = 128 << 20;

/// Where the files that a configuration names come from.
pub trait Files: Send + Sync {
    /// Reads the file called `path`; the configuration key `key` names it in a problem.
    fn read(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem>;

    /// Reads a secret, which nobody but its owner may read.
    fn read_secret(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        contents(key, path, open(key, path)?)
    }

    fn read_secret(&self, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
        let file = open(key, path)?;
        demand_closed(key, path, &file)?;
        contents(key, path, file)
    }
}

fn open(key: &str, path: &Path) -> Result<File, Problem> {
    File::open(path)
        .map_err(|error| Problem::new(key, format!("{} cannot be read: {error}", path.display()), "name a file that this user can read"))
}

fn contents(key: &str, path: &Path, file: File) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    match read {
        Err(error) => {
            let what = format!("{} cannot be read: {error}", path.display());
            Err(Problem::new(key, what, "name a file that this user can read"))
        }
        Ok(length) if length as u64 > LARGEST => {
            let what = format!("{} is larger than {LARGEST} bytes", path.display());
            Err(Problem::new(key, what, "name a smaller file"))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Asks the opened file, not the path, so that nothing can be swapped in between.
#[cfg(unix)]
fn demand_closed(key: &str, path: &Path, file: &File) -> Result<(), Problem> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file
        .metadata()
        .map_err(|error| Problem::new(key, format!("{} has no readable mode: {error}", path.display()), "name a regular file"))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    let what = format!("{path} has mode {mode:04o}, so others than its owner can use it; wanted is 0600");
    Err(Problem::new(key, what, format!("run `chmod 600 {path}`")))
}

/// Elsewhere access lists decide, which the installer sets.
#[cfg(not(unix))]
fn demand_closed(_key: &str, _path: &Path, _file: &File) -> Result<(), Problem> {
    Ok(())
}
