//! One line per request, without making a request wait.
//!
//! A line is made in a buffer of its own thread and copied under a short lock into the pending lines. One background
//! thread writes these to the sink as whole lines, when there are enough of them or the first has waited long
//! enough. When the sink blocks, pending lines fill up to a bound, and what comes after is dropped and counted: a
//! full disk or a stuck pipe costs log lines and never a request.

use std::cell::RefCell;
use std::io::Write;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// So many pending bytes are written at once: a hundred lines a system call, and still small in any cache.
const ENOUGH: usize = 32 * 1024;

/// Pending bytes beyond which lines are dropped: some seconds of a busy gateway, and a bound on memory.
const BOUND: usize = 1024 * 1024;

/// No line waits longer for others: short for a person who watches, long for a processor.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Lines for one sink. Clones write to the same one; when the last is dropped, what is pending is still written.
#[derive(Clone)]
pub struct AccessLog {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the writer: enough lines, the first line after a pause, or the end.
    work: Condvar,
    /// Wakes who waits in [`AccessLog::flush`].
    written: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<u8>,
    pending_lines: u64,
    /// Lines the writer has taken and not finished.
    writing: bool,
    /// The writer sleeps without an alarm, so the next line must wake it.
    asleep: bool,
    /// Somebody waits in `flush`.
    hurry: bool,
    closed: bool,
    lost: u64,
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl AccessLog {
    /// Starts the thread that writes to `sink`. Fails if the system has no thread to give.
    pub fn start(sink: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_writer = Arc::clone(&shared);
        thread::Builder::new().name("access-log".to_owned()).spawn(move || of_writer.write_all(sink))?;
        Ok(Self { owner: Arc::new(Owner { shared }) })
    }

    /// Appends what `make` writes: one line, with its end. `make` must not log a line itself.
    pub fn line(&self, make: impl FnOnce(&mut Vec<u8>)) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            make(line);
            self.owner.shared.append(line);
        });
    }

    /// How many lines never reached the sink, because it blocked or failed.
    pub fn lost(&self) -> u64 {
        self.owner.shared.lock().lost
    }

    /// Waits until everything so far has been handed to the sink; false if that took longer than `longest`.
    /// Blocks the thread: call it when no request is being served.
    pub fn flush(&self, longest: Duration) -> bool {
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        state.hurry = true;
        shared.work.notify_one();
        let busy = |state: &mut State| !state.pending.is_empty() || state.writing;
        let result = shared.written.wait_timeout_while(state, longest, busy);
        !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        let before = state.pending.len();
        if before + line.len() > BOUND {
            state.lost += 1;
            return;
        }
        state.pending.extend_from_slice(line);
        state.pending_lines += 1;
        let is_enough = before < ENOUGH && state.pending.len() >= ENOUGH;
        let wake = is_enough || mem::take(&mut state.asleep);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    /// The writer's life.
    fn write_all(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        let mut is_torn = false;
        while let Some(count) = self.take(&mut lines) {
            let result = write(&lines, &mut is_torn, &mut sink);
            lines.clear();
            lines.shrink_to(2 * ENOUGH);
            let mut state = self.lock();
            state.writing = false;
            if result.is_err() {
                state.lost += count;
            }
            drop(state);
            self.written.notify_all();
        }
    }

    /// Waits for lines worth writing, moves them into `lines` (which is empty) and says how many; none at the end.
    fn take(&self, lines: &mut Vec<u8>) -> Option<u64> {
        let mut state = self.lock();
        let mut since = Instant::now();
        loop {
            let waited = since.elapsed();
            let is_due = state.pending.len() >= ENOUGH || waited >= LONGEST_WAIT || state.hurry || state.closed;
            if is_due && !state.pending.is_empty() {
                mem::swap(&mut state.pending, lines);
                state.writing = true;
                return Some(mem::take(&mut state.pending_lines));
            }
            state.hurry = false;
            if state.closed {
                return None;
            }
            if is_due {
                state.asleep = true;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.asleep = false;
                since = Instant::now();
            } else {
                let left = LONGEST_WAIT.saturating_sub(waited);
                let woken = self.work.wait_timeout(state, left);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// A thread that panicked while it held the lock left whole lines behind, so the state is used on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whole lines. After a failure in mid-line the next attempt begins on a line of its own.
fn write(lines: &[u8], is_torn: &mut bool, sink: &mut impl Write) -> std::io::Result<()> {
    if mem::take(is_torn) {
        sink.write_all(b"\n").inspect_err(|_| *is_torn = true)?;
    }
    let result = sink.write_all(lines).and_then(|()| sink.flush());
    *is_torn = result.is_err();
    result
}

#[cfg(test)]
mod tests;
