//! A child process that does not outlive its handle.

use std::process::{Child, ChildStdin, ChildStdout, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Result, cpu};

/// How long a process may take to end after SIGTERM before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends the process, and what it started, when dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_args().last().map(|last| last.to_string_lossy().into_owned());
        let child = command.spawn().map_err(|error| format!("cannot start {}: {error}", name.unwrap_or_default()))?;
        Ok(Self(child))
    }

    /// Starts a process whose standard input and output are pipes.
    pub(crate) fn start_talking(command: &mut Command) -> Result<(Self, ChildStdin, ChildStdout)> {
        let mut process = Self::start(command)?;
        let input = process.0.stdin.take().ok_or("no pipe to the process")?;
        let output = process.0.stdout.take().ok_or("no pipe from the process")?;
        Ok((process, input, output))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Says how it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.0.try_wait().ok()??;
        Some(status.to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let below = cpu::tree(self.id());
        signal("-TERM", &below[..1]);
        let deadline = Instant::now() + PATIENCE;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                signal("-KILL", &below);
                drop(self.0.wait());
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(u32::to_string);
    // A process that is gone already is what was wanted.
    drop(Command::new("kill").arg(name).args(pids).stderr(std::process::Stdio::null()).status());
}
