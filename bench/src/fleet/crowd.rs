//! All processes of a fleet, as their parent sees them.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::plan::{Plan, Tally};
use crate::Result;
use crate::process::Process;

/// Most clients of a process: it may open 20,000 files, and a client that changes its service has two connections for a moment.
const MOST: usize = 15_000;

/// The running processes. They end with it.
pub(super) struct Crowd {
    _processes: Vec<(Process, ChildStdin)>,
    /// The latest tally of each.
    tallies: Arc<Mutex<Vec<Tally>>>,
    pub(super) clients: usize,
}

impl Crowd {
    /// Starts `clients` after `plan`, dealt out evenly among as many processes as it takes, and at least `processes`.
    pub(super) fn start(plan: &Plan, clients: usize, processes: usize) -> Result<Self> {
        let processes = clients.div_ceil(MOST).max(processes).max(1);
        let tallies = Arc::new(Mutex::new(vec![Tally::default(); processes]));
        let mut started = Vec::new();
        let mut first = 0;
        for place in 0..processes {
            let count = (clients - first).div_ceil(processes - place);
            let plan = Plan { first, count, ..plan.clone() };
            started.push(start(&plan, place, &tallies)?);
            first += count;
        }
        Ok(Self { _processes: started, tallies, clients })
    }

    /// What all have experienced so far.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::default();
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|tally| all.merge(tally));
        all
    }

    /// Waits until something holds of the tally; how long that took, or nothing after `within`.
    pub(super) async fn until(&self, within: Duration, holds: impl Fn(&Tally) -> bool) -> Option<Duration> {
        let began = Instant::now();
        while !holds(&self.tally()) {
            if began.elapsed() > within {
                return None;
            }
            sleep(Duration::from_millis(250)).await;
        }
        Some(began.elapsed())
    }
}

fn start(plan: &Plan, place: usize, tallies: &Arc<Mutex<Vec<Tally>>>) -> Result<(Process, ChildStdin)> {
    let mut command = Command::new("sh");
    // As many open files as the machine permits, and no longer than this process.
    command.args(["-c", r#"ulimit -n "$(ulimit -Hn)"; exec setpriv --pdeathsig TERM "$0" "$@""#]);
    command.arg(std::env::current_exe()?).arg("fleet-process");
    let (process, mut input, output) = Process::start_talking(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
    writeln!(input, "{}", serde_json::to_string(plan)?)?;
    let tallies = Arc::clone(tallies);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
            if let Ok(tally) = serde_json::from_str(&line) {
                tallies.lock().unwrap_or_else(PoisonError::into_inner)[place] = tally;
            }
        }
    });
    Ok((process, input))
}
