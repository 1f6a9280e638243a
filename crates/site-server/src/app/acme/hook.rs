//! The administrator's program that changes DNS: `PROGRAM present|cleanup DOMAIN VALUE`, no shell between, bounded in time.
//!
//! The record is `_acme-challenge.DOMAIN`, of type TXT. The program ends with 0 once the record can be seen from outside. There may be
//! two values at one name at a time, for `example.com` and `*.example.com`. What it says may hold secrets of its own, so it is for the
//! log of the site server that ran it, and for nobody who asks over the API. It ends with the site server.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::order::dns_value;
use super::{Challenge, Failed};
use crate::site::Site;

/// How long it may take: new records are not everywhere at once.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How much of what it says is logged, in bytes.
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

/// A program that did not do what it was asked for.
#[derive(Debug)]
struct InVain {
    what: String,
    /// What it said itself.
    words: String,
}

/// Has the record of a challenge added or removed.
pub(super) async fn run(site: &Site, challenge: &Challenge, action: Action) -> Result<(), Failed> {
    let name = challenge.hook.clone().unwrap_or_default();
    let Some(program) = site.acme_hooks.get(&name) else {
        return Err(Failed::Said(format!("site.toml of site server {} has no `{name}` in acme_hooks", site.name)));
    };
    let action = match action {
        Action::Present => "present",
        Action::Cleanup => "cleanup",
    };
    let arguments = [action.to_owned(), challenge.name.clone(), dns_value(challenge)];
    let Err(InVain { what, words }) = carry_out(program, &arguments, PATIENCE).await else { return Ok(()) };
    warn!(hook = name, action, name = challenge.name, what, words, "A hook did not change DNS");
    let place = format!("its words are in the log of site server {}", site.name);
    Err(Failed::Said(format!("hook \"{name}\" {action} {}: {what}; {place}", challenge.name)))
}

/// A running program, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, or ends it.
async fn carry_out(program: &Path, arguments: &[String], patience: Duration) -> Result<(), InVain> {
    let in_vain = |what: String| InVain { what, words: String::new() };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| in_vain(format!("it cannot be started: {error}")))?;
    let words = child.stderr.take().map(listen);
    let (mut running, deadline) = (Running(child), Instant::now() + patience);
    let status = loop {
        match running.0.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => sleep(LOOK).await,
            Ok(None) => return Err(in_vain(format!("it did not end within {} s", patience.as_secs()))),
            Err(error) => return Err(in_vain(error.to_string())),
        }
    };
    if status.success() {
        return Ok(());
    }
    let words = match words {
        Some(words) => timeout(LAST_WORDS, words).await.ok().and_then(Result::ok).unwrap_or_default(),
        None => String::new(),
    };
    Err(InVain { what: format!("it ended with {status}"), words: words.trim().to_owned() })
}

/// Takes in everything that a program says, since one that is not listened to would stop, and keeps the beginning.
///
/// In a thread of its own that nobody waits for: children of the program may hold the other end for as long as they like.
fn listen(mut from: impl Read + Send + 'static) -> oneshot::Receiver<String> {
    let (kept, words) = oneshot::channel();
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

    #[tokio::test]
    async fn it_is_told_what_to_do_and_no_shell_reads_it() {
        let (dir, path) = program("printf '%s|' \"$@\" > \"$(dirname \"$0\")/said\"");
        let arguments = ["present", "example.com", "$(id);x"].map(str::to_owned);

        carry_out(&path, &arguments, PATIENCE).await.unwrap();

        assert_eq!(fs::read_to_string(dir.path().join("said")).unwrap(), "present|example.com|$(id);x|");
    }

    #[tokio::test]
    async fn what_it_says_is_apart_from_how_it_ended_and_no_more_than_a_few_words() {
        let (_dir, path) = program("echo no such zone >&2; head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 3");

        let in_vain = carry_out(&path, &[], PATIENCE).await.unwrap_err();

        assert_eq!(in_vain.what, "it ended with exit status: 3");
        assert!(in_vain.words.starts_with("no such zone") && in_vain.words.len() <= WORDS, "{in_vain:?}");
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_ended() {
        let (_dir, path) = program("exec sleep 1000");

        let in_vain = carry_out(&path, &[], Duration::ZERO).await.unwrap_err();

        assert!(in_vain.what.starts_with("it did not end"), "{in_vain:?}");
    }

    #[tokio::test]
    async fn it_ends_with_the_task_that_waits_for_it() {
        let (dir, path) = program("echo $$ > \"$(dirname \"$0\")/id\"; exec sleep 1000");
        let file = dir.path().join("id");
        let waiting = tokio::spawn(async move { carry_out(&path, &[], PATIENCE).await });
        let id = loop {
            match fs::read_to_string(&file).ok().filter(|id| id.ends_with('\n')) {
                Some(id) => break id.trim().to_owned(),
                None => tokio::task::yield_now().await,
            }
        };

        waiting.abort();

        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(!Path::new("/proc").join(id).exists());
    }
}
