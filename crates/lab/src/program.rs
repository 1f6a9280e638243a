//! A gateway or a connection point as a child process that can be asked, signalled, frozen and killed.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::error::LabError;
use crate::probe::{Probe, probe};
use crate::profile::Role;

/// How long one question to a program may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a program that is not ready yet is asked again.
const PAUSE: Duration = Duration::from_millis(10);
/// How much of the end of a log is shown when a program fails.
const SHOWN_LINES: usize = 5;

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program's name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Its configuration file.
    pub config: PathBuf,
    /// Port of `/livez`, `/readyz` and `/metrics`.
    pub metrics_port: u16,
    /// Where its standard output and error go; appended to.
    pub log: PathBuf,
}

/// A signal to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: finish what is under way and end.
    Terminate,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Freeze,
    /// SIGCONT.
    Resume,
}

/// A running program. Dropping it kills the process.
pub struct Program {
    /// What was started.
    pub plan: Plan,
    pid: u32,
    child: Child,
    end_was_told: bool,
}

impl Program {
    /// Starts `binary run <role> --config FILE` in a process group of its own, so that a terminal's Ctrl-C does not
    /// reach it before it is told to end.
    pub fn start(binary: &Path, plan: Plan) -> Result<Self, LabError> {
        let log = open_log(&plan.log).map_err(|source| LabError::File { path: plan.log.clone(), source })?;
        let started = log.try_clone().and_then(|copy| {
            Command::new(binary)
                .args(["run", plan.role.as_str(), "--config"])
                .arg(&plan.config)
                .stdin(Stdio::null())
                .stdout(copy)
                .stderr(log)
                .process_group(0)
                .kill_on_drop(true)
                .spawn()
        });
        let child = started.map_err(|source| LabError::Start { program: plan.name.clone(), source })?;
        // A child has an id until it has been waited for.
        let pid = child.id().unwrap_or(0);
        Ok(Self { plan, pid, child, end_was_told: false })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks `/livez`, `/readyz` or `/metrics`.
    pub async fn ask(&self, path: &str) -> std::io::Result<Probe> {
        probe(self.plan.metrics_port, path, PATIENCE).await
    }

    /// Waits until `/livez` (or `/readyz`) answers 200. Fails when the program ends first, or after `within`.
    pub async fn wait_for(&mut self, path: &str, within: Duration) -> Result<(), LabError> {
        let deadline = Instant::now() + within;
        loop {
            let problem = match self.ask(path).await {
                Ok(probe) if probe.is_ok() => return Ok(()),
                Ok(probe) => format!("{path} still says {}", probe.body.trim()),
                Err(error) => format!("{path} does not answer: {error}"),
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.not_ready(format!("ended with {status}{}", self.last_words())));
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(problem));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends a signal, unless the program has ended: its number may then be somebody else's.
    pub async fn signal(&self, signal: Signal) -> Result<(), LabError> {
        if self.child.id().is_none() {
            return Ok(());
        }
        let name = match signal {
            Signal::Terminate => "TERM",
            Signal::Reload => "HUP",
            Signal::Kill => "KILL",
            Signal::Freeze => "STOP",
            Signal::Resume => "CONT",
        };
        // The shell's own `kill` is there on every machine and needs no unsafe code here.
        let script = format!("kill -{name} {}", self.pid);
        let sent = Command::new("/bin/sh").args(["-c", &script]).stderr(Stdio::null()).status().await;
        sent.map(drop).map_err(|source| LabError::Start { program: "/bin/sh".to_owned(), source })
    }

    /// Waits for the end of the process.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Name and exit status, once, if the program has ended since the last call.
    pub(crate) fn newly_ended(&mut self) -> Option<(String, ExitStatus)> {
        let status = self.child.try_wait().ok().flatten()?;
        let told = std::mem::replace(&mut self.end_was_told, true);
        (!told).then(|| (self.plan.name.clone(), status))
    }

    /// Asks the program to end and waits; after `within` it is killed. An error says how it ended, if not well.
    pub async fn stop(&mut self, within: Duration) -> Result<(), String> {
        self.signal(Signal::Terminate).await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(within, self.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(status.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => {
                let killed = self.child.kill().await;
                Err(killed.err().map_or_else(|| format!("killed after {within:?}"), |error| error.to_string()))
            }
        }
    }

    fn not_ready(&self, problem: String) -> LabError {
        LabError::NotReady { program: self.plan.name.clone(), problem, log: self.plan.log.clone() }
    }

    /// The end of the log, for a message.
    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.plan.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(SHOWN_LINES).collect();
        lines.iter().rev().fold(String::new(), |text, line| text + "\n    " + line)
    }
}

fn open_log(path: &Path) -> std::io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}
