//! Secrets are files with tight modes and never print.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cmg_core::problem::Problem;

use crate::file::unreadable;

/// Bytes that may not be seen: printing one gives `[secret]`, and it cannot be copied by accident.
pub struct Secret(Vec<u8>);

/// Reads the secret file that `key` names. Refused if the group or others may read or write it.
pub fn secret_file(key: &str, path: &Path) -> Result<Secret, Problem> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| {
            let mode = mode(&file)?;
            file.read_to_end(&mut bytes).map(|_| mode)
        })
        .map_err(|error| unreadable(key, path, &error))
        .and_then(|mode| tight(key, path, mode))?;
    Ok(Secret(bytes))
}

impl Secret {
    /// The first line as text, without its end: how a password stands in a file. None if it is not UTF-8.
    pub fn expose_line(&self) -> Option<&str> {
        str::from_utf8(&self.0).ok().map(|text| text.lines().next().unwrap_or(""))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[secret]")
    }
}

fn tight(key: &str, path: &Path, mode: u32) -> Result<(), Problem> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let path = path.display();
    let what = format!("{path} has mode {mode:04o}, so others than its owner can reach it; 0600 is wanted");
    Err(Problem::new(key, what, format!("run `chmod 600 {path}`, and replace the secret if it was seen")))
}

/// The permission bits of the opened file itself, so that nobody can exchange it in between.
fn mode(file: &File) -> io::Result<u32> {
    file.metadata().map(|of| of.permissions().mode() & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with_mode(mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "hunter2\r\nsecond line\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_file_of_the_owner_alone_is_read() {
        for mode in [0o600, 0o400] {
            let file = file_with_mode(mode);

            assert_eq!(secret_file("key", file.path()).unwrap().expose_line(), Some("hunter2"));
        }
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601, 0o777] {
            assert!(secret_file("key", file_with_mode(mode).path()).is_err(), "{mode:o}");
        }
    }

    #[test]
    fn the_refusal_says_file_mode_wanted_mode_and_the_way_out() {
        let file = file_with_mode(0o644);
        let path = file.path().display();

        let problem = secret_file("tunnel.key", file.path()).expect_err("others can read it");

        assert_eq!(
            problem.to_string(),
            format!(
                "tunnel.key: {path} has mode 0644, so others than its owner can reach it; 0600 is wanted; \
                 run `chmod 600 {path}`, and replace the secret if it was seen"
            )
        );
    }

    #[test]
    fn a_secret_never_prints() {
        assert_eq!(format!("{:?}", Secret(b"hunter2".to_vec())), "[secret]");
    }

    #[test]
    fn a_file_that_is_absent_is_a_problem_of_its_key() {
        assert_eq!(secret_file("tunnel.key", Path::new("/no/such")).expect_err("absent").key, "tunnel.key");
    }
}
