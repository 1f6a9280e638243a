//! The access log against sinks that are quick, stuck, failing and shared.

use std::io;
use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// A sink whose contents can be seen.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<u8>>>);

impl Seen {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that blocks until its gate is dropped, and says when it was reached.
struct Stuck {
    reached: mpsc::Sender<()>,
    gate: mpsc::Receiver<()>,
    seen: Seen,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.reached.send(());
        let _ = self.gate.recv();
        self.seen.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sink that takes some bytes and then fails once.
struct FullOnce {
    left: usize,
    failed: bool,
    seen: Seen,
}

impl Write for FullOnce {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return self.seen.write(bytes);
        }
        if self.left == 0 {
            self.failed = true;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        self.seen.write(&bytes[..taken])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say(log: &AccessLog, words: &str) {
    log.line(|out| {
        out.extend_from_slice(words.as_bytes());
        out.push(b'\n');
    });
}

#[test]
fn a_line_is_written_without_being_asked_for() {
    let (reached, written) = mpsc::channel();
    let (_, gate) = mpsc::channel();
    let log = AccessLog::start(Stuck { reached, gate, seen: Seen::default() }).unwrap();

    say(&log, "one");

    assert_eq!(written.recv_timeout(LONG), Ok(()));
}

#[test]
fn a_line_wakes_the_writer_from_a_long_pause() {
    let (reached, written) = mpsc::channel();
    let (_, gate) = mpsc::channel();
    let log = AccessLog::start(Stuck { reached, gate, seen: Seen::default() }).unwrap();
    while !log.owner.shared.lock().asleep {
        thread::yield_now();
    }

    say(&log, "one");

    assert_eq!(written.recv_timeout(LONG), Ok(()));
}

#[test]
fn flush_waits_until_all_is_written() {
    let seen = Seen::default();
    let log = AccessLog::start(seen.clone()).unwrap();

    say(&log, "one");
    say(&log, "two");

    assert!(log.flush(LONG));
    assert_eq!(seen.text(), "one\ntwo\n");
}

#[test]
fn flush_without_lines_returns() {
    assert!(AccessLog::start(Seen::default()).unwrap().flush(LONG));
}

#[test]
fn what_is_pending_at_the_end_is_written() {
    let (reached, written) = mpsc::channel();
    let (_, gate) = mpsc::channel();
    let seen = Seen::default();
    let log = AccessLog::start(Stuck { reached, gate, seen: seen.clone() }).unwrap();

    say(&log, "last words");
    drop(log);

    // The sink is dropped, and with it the sender, when the thread has ended.
    while written.recv_timeout(LONG).is_ok() {}
    assert_eq!(seen.text(), "last words\n");
}

#[test]
fn lines_of_many_threads_are_never_mixed() {
    let seen = Seen::default();
    let log = AccessLog::start(seen.clone()).unwrap();

    thread::scope(|threads| {
        for name in ["a", "b", "c", "d"] {
            let log = log.clone();
            threads.spawn(move || (0..500).for_each(|n| say(&log, &format!("{}{n}", name.repeat(40)))));
        }
    });

    assert!(log.flush(LONG));
    assert_eq!(log.lost(), 0);
    let text = seen.text();
    assert_eq!(text.lines().count(), 2_000);
    for line in text.lines() {
        let (name, number) = line.split_at(40);
        assert!(name.bytes().all(|byte| byte == name.as_bytes()[0]), "{line}");
        assert!(number.parse::<u32>().is_ok(), "{line}");
    }
}

#[test]
fn a_stuck_sink_costs_lines_and_no_waiting() {
    let (reached, stuck) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let seen = Seen::default();
    let log = AccessLog::start(Stuck { reached, gate, seen: seen.clone() }).unwrap();
    say(&log, "first");
    assert_eq!(stuck.recv_timeout(LONG), Ok(()));

    let line = "x".repeat(1023);
    (0..2_000).for_each(|_| say(&log, &line));

    assert_eq!(log.lost(), 2_000 - 1_024);
    drop(open);
    assert!(log.flush(LONG));
    assert_eq!(seen.text().lines().count(), 1 + 1_024);
}

#[test]
fn a_flush_that_cannot_succeed_gives_up() {
    let (reached, stuck) = mpsc::channel();
    let (_open, gate) = mpsc::channel::<()>();
    let log = AccessLog::start(Stuck { reached, gate, seen: Seen::default() }).unwrap();
    say(&log, "first");
    assert_eq!(stuck.recv_timeout(LONG), Ok(()));

    assert!(!log.flush(Duration::from_millis(1)));
}

#[test]
fn a_failing_sink_costs_its_lines_and_the_next_begins_a_line() {
    let seen = Seen::default();
    let log = AccessLog::start(FullOnce { left: 2, failed: false, seen: seen.clone() }).unwrap();

    say(&log, "lost");
    assert!(log.flush(LONG));
    say(&log, "found");
    assert!(log.flush(LONG));

    assert_eq!(log.lost(), 1);
    assert_eq!(seen.text(), "lo\nfound\n");
}
