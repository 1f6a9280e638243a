//! Where processes run and what they cost: pinning, processor time, and how much others disturbed.
//!
//! Processor time comes from `/proc/<pid>/task/*/schedstat` (nanoseconds, every thread), because `stat` counts in
//! hundredths of a second. On a kernel without `IRQ_TIME_ACCOUNTING` it contains the work of loopback's receiving side that falls
//! to the sender. A thread that ends during a measurement takes its time with it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// The processor of the load generator and the origin.
pub(crate) const GENERATOR: usize = 0;
/// The processor of the system under test, all its processes.
pub(crate) const SYSTEM: usize = 1;

/// `/proc/stat` counts in these (USER_HZ, 100 on every Linux of today).
const TICK: Duration = Duration::from_millis(10);

/// Moves the calling process, which must not have started threads yet, to one processor.
pub(crate) fn pin_this_process(cpu: usize) -> Result<()> {
    quietly("taskset", &["-cp", &cpu.to_string(), &std::process::id().to_string()])
}

/// While it lives, this process and what it starts go before whatever else the machine runs, where that is permitted.
/// Anybody but root measures with more noise, which `others` shows.
pub(crate) struct Priority;

impl Priority {
    /// A process's own priority counts only within its session, where the kernel groups by session.
    const SESSION: &str = "/proc/self/autogroup";

    pub(crate) fn raise() -> Self {
        drop(quietly("renice", &["-n", "-19", "-p", &std::process::id().to_string()]));
        drop(fs::write(Self::SESSION, "-19"));
        Self
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        drop(fs::write(Self::SESSION, "0"));
    }
}

fn quietly(program: &str, arguments: &[&str]) -> Result<()> {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed").into()) }
}

/// A command that runs `program` on one processor, with as many open files as the machine permits, and no longer than
/// this process. It inherits this process's priority.
pub(crate) fn pinned(cpu: usize, program: &std::path::Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", r#"ulimit -n "$(ulimit -Hn)"; exec setpriv --pdeathsig TERM taskset -c "$0" "$@""#])
        .arg(cpu.to_string())
        .arg(program);
    command
}

/// A process and all below it.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
        pids.extend(tree(child));
    }
    pids
}

/// Processor time of a process and all below it, user and system.
pub(crate) fn time(pid: u32) -> Duration {
    let of_task = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        run_time(&text)
    };
    let of_process = |pid| {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        tasks.map(of_task).sum::<Duration>()
    };
    tree(pid).into_iter().map(of_process).sum()
}

/// The first field of a `schedstat` file: nanoseconds on a processor.
fn run_time(schedstat: &str) -> Duration {
    let nanoseconds = schedstat.split_ascii_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

/// How long one processor has been busy since the machine started, by `/proc/stat`.
fn busy(stat: &str, cpu: usize) -> Duration {
    let name = format!("cpu{cpu}");
    let Some(line) = stat.lines().find(|line| line.split(' ').next() == Some(&name)) else { return Duration::ZERO };
    let ticks: Vec<u32> = line.split(' ').skip(1).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else { return Duration::ZERO };
    TICK * (user + nice + system + irq + softirq)
}

fn system_busy() -> Duration {
    busy(&fs::read_to_string("/proc/stat").unwrap_or_default(), SYSTEM)
}

/// A measurement under way.
pub(crate) struct Meter {
    pids: Vec<u32>,
    started: Instant,
    times: Vec<Duration>,
    busy: Duration,
}

/// What a measurement found.
pub(crate) struct Usage {
    pub(crate) wall: Duration,
    /// Processor time of each watched process tree, in the order given.
    pub(crate) parts: Vec<Duration>,
    /// Share of the system's processor that other processes took, 0 to 1.
    pub(crate) others: f64,
}

impl Meter {
    pub(crate) fn start(pids: Vec<u32>) -> Self {
        let times = pids.iter().copied().map(time).collect();
        Self { pids, started: Instant::now(), times, busy: system_busy() }
    }

    pub(crate) fn stop(self) -> Usage {
        let wall = self.started.elapsed();
        let parts: Vec<_> = self.pids.iter().zip(&self.times).map(|(pid, before)| time(*pid).saturating_sub(*before)).collect();
        let others = (system_busy() - self.busy).saturating_sub(parts.iter().sum());
        Usage { wall, parts, others: others.as_secs_f64() / wall.as_secs_f64() }
    }
}

impl Usage {
    /// Processor time of all parts.
    pub(crate) fn total(&self) -> Duration {
        self.parts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_time_is_the_first_field() {
        assert_eq!(run_time("123456789 4242 17\n"), Duration::from_nanos(123_456_789));
    }

    #[test]
    fn a_vanished_thread_counts_nothing() {
        assert_eq!(run_time(""), Duration::ZERO);
    }

    #[test]
    fn one_processor_is_read_from_its_own_line() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 100 20 3 5000 7 0 11 2 0 0\ncpu11 1 1 1 1 1 1 1 1 0 0\n";

        assert_eq!(busy(stat, 1), Duration::from_millis(1_340));
    }

    #[test]
    fn this_process_has_run() {
        assert!(time(std::process::id()) > Duration::ZERO);
    }
}
