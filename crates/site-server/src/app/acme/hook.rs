//! The administrator's program that changes DNS: `PROGRAM present|cleanup DOMAIN VALUE`, no shell between, bounded in time.
//!
//! The record is `_acme-challenge.DOMAIN`, of type TXT. The program ends with 0 once the record can be seen from outside. There may be
//! two values at one name at a time, for `example.com` and `*.example.com`.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::order::dns_value;
use super::{Challenge, Failed};
use crate::site::Site;

/// How long it may take: new records are not everywhere at once.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How much of what it says is told, in bytes.
const WORDS: usize = 500;

/// How long what it said is waited for after its end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What it is asked to do.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// Adds the record.
    Present,
    /// Removes it.
    Cleanup,
}

/// Has the record of a challenge added or removed.
pub(super) async fn run(site: &Site, challenge: &Challenge, action: Action) -> Result<(), Failed> {
    let name = challenge.hook.clone().unwrap_or_default();
    let Some(program) = site.acme_hooks.get(&name).cloned() else {
        return Err(Failed::Said(format!("site.toml of site server {} has no `{name}` in acme_hooks", site.name)));
    };
    let action = match action {
        Action::Present => "present",
        Action::Cleanup => "cleanup",
    };
    let arguments = [action.to_owned(), challenge.name.clone(), dns_value(challenge)];
    let ended = tokio::task::spawn_blocking(move || carry_out(&program, &arguments, PATIENCE)).await;
    let ended = ended.unwrap_or_else(|error| Err(error.to_string()));
    ended.map_err(|error| Failed::Said(format!("hook \"{name}\" {action} {}: {error}", challenge.name)))
}

/// Runs a program to its end, or ends it.
fn carry_out(program: &Path, arguments: &[String], patience: Duration) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("it cannot be started: {error}"))?;
    let words = child.stderr.take().map(listen);
    let deadline = Instant::now() + patience;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Ok(status),
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
            Ok(None) => break Err(format!("it did not end within {} s", patience.as_secs())),
            Err(error) => break Err(error.to_string()),
        }
    };
    let status = ended.inspect_err(|_| {
        let _ = child.kill();
        let _ = child.wait();
    })?;
    if status.success() {
        return Ok(());
    }
    let words = words.and_then(|words| words.recv_timeout(LAST_WORDS).ok()).unwrap_or_default();
    Err(format!("it ended with {status}: {}", words.trim()))
}

/// Takes in everything that a program says, since one that is not listened to would stop, and keeps the beginning.
///
/// In a thread of its own that nobody waits for: children of the program may hold the other end for as long as they like.
fn listen(mut from: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (kept, words) = mpsc::channel();
    thread::spawn(move || {
        let mut beginning = vec![0; WORDS];
        let mut filled = 0;
        while let Ok(read @ 1..) = from.read(&mut beginning[filled..]) {
            filled += read;
        }
        let _ = kept.send(String::from_utf8_lossy(&beginning[..filled]).into_owned());
        let _ = io::copy(&mut from, &mut io::sink());
    });
    words
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    fn program(script: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hook");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        (dir, path)
    }

    #[test]
    fn it_is_told_what_to_do_and_no_shell_reads_it() {
        let (dir, path) = program("printf '%s|' \"$@\" > \"$(dirname \"$0\")/said\"");
        let arguments = ["present", "example.com", "$(id);x"].map(str::to_owned);

        carry_out(&path, &arguments, PATIENCE).unwrap();

        assert_eq!(fs::read_to_string(dir.path().join("said")).unwrap(), "present|example.com|$(id);x|");
    }

    #[test]
    fn why_it_failed_is_told_in_its_own_words_and_no_more_than_a_few() {
        let (_dir, path) = program("echo no such zone >&2; head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");

        let error = carry_out(&path, &[], PATIENCE).unwrap_err();

        assert!(error.contains("exit status: 3: no such zone") && error.len() < 2 * WORDS, "{error}");
    }

    #[test]
    fn one_that_does_not_end_is_ended() {
        let (_dir, path) = program("exec sleep 1000");

        let error = carry_out(&path, &[], Duration::ZERO).unwrap_err();

        assert!(error.starts_with("it did not end"), "{error}");
    }
}
