//! Ending in order: what the operating system asks for, and a count of what is still being done.
//!
//! The first SIGTERM or SIGINT asks for a drain, the second for an end; SIGHUP asks for the changed configuration.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::{Notify, watch};

/// What the operating system, and so the administrator, asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Take nothing new, finish what is there, end.
    Drain,
    /// End without waiting.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The signals of this process, from the moment this is made.
pub struct Signals {
    source: Source,
    has_drained: bool,
}

/// Whether the program is draining, and how much it is still doing. Clones are the same one.
#[derive(Clone, Default)]
pub struct Drain {
    shared: Arc<Shared>,
}

/// Something in flight, such as a request; it counts until this is dropped.
pub struct InFlight {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    begun: watch::Sender<bool>,
    in_flight: AtomicUsize,
    idle: Notify,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT and SIGHUP. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self { source: Source::new()?, has_drained: false })
    }

    /// The next thing asked for. Nothing is lost if this future is dropped.
    pub async fn next(&mut self) -> Signal {
        let signal = self.source.next().await;
        self.meaning(signal)
    }

    /// Waits until the process is told to end at once. That its configuration has changed is passed over: it is used no more.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }

    fn meaning(&mut self, signal: Received) -> Signal {
        match signal {
            Received::HangUp => Signal::Reload,
            Received::End if self.has_drained => Signal::Stop,
            Received::End => {
                self.has_drained = true;
                Signal::Drain
            }
        }
    }
}

impl Drain {
    /// Asks everybody to finish; again does nothing.
    pub fn begin(&self) {
        self.shared.begun.send_replace(true);
    }

    /// Whether the drain has begun.
    pub fn has_begun(&self) -> bool {
        *self.shared.begun.borrow()
    }

    /// Returns as soon as the drain begins.
    pub async fn draining(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.shared.begun.subscribe().wait_for(|begun| *begun).await;
    }

    /// Counts one more thing in flight.
    pub fn guard(&self) -> InFlight {
        self.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { shared: Arc::clone(&self.shared) }
    }

    /// How many things are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight, at most `longest`; says how much still was.
    pub async fn wait_idle(&self, longest: Duration) -> Result<(), usize> {
        let idle = async {
            loop {
                let next = self.shared.idle.notified();
                tokio::pin!(next);
                next.as_mut().enable();
                if self.in_flight() == 0 {
                    return;
                }
                next.await;
            }
        };
        tokio::time::timeout(longest, idle).await.map_err(|_| self.in_flight())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if self.shared.in_flight.fetch_sub(1, Ordering::Release) == 1 && *self.shared.begun.borrow() {
            self.shared.idle.notify_waiters();
        }
    }
}

/// What was received, before it is known what it means.
#[derive(Clone, Copy)]
enum Received {
    End,
    HangUp,
}

struct Source {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
}

impl Source {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received::End,
            _ = self.interrupt.recv() => Received::End,
            _ = self.hang_up.recv() => Received::HangUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn signals() -> Signals {
        Signals::new().unwrap()
    }

    #[tokio::test]
    async fn the_first_end_drains_and_the_second_stops() {
        let mut signals = signals();

        assert_eq!(signals.meaning(Received::End), Signal::Drain);
        assert_eq!(signals.meaning(Received::End), Signal::Stop);
        assert_eq!(signals.meaning(Received::End), Signal::Stop);
    }

    #[tokio::test]
    async fn a_hang_up_reloads_at_any_time() {
        let mut signals = signals();

        assert_eq!(signals.meaning(Received::HangUp), Signal::Reload);
        assert_eq!(signals.meaning(Received::End), Signal::Drain);
        assert_eq!(signals.meaning(Received::HangUp), Signal::Reload);
    }

    #[tokio::test]
    async fn a_real_hang_up_arrives() {
        let mut signals = signals();

        hang_up();

        assert_eq!(signals.next().await, Signal::Reload);
    }

    #[tokio::test]
    async fn a_hang_up_does_not_cut_a_drain_short() {
        let (mut draining, mut other) = (signals(), signals());
        assert_eq!(draining.meaning(Received::End), Signal::Drain);

        hang_up();
        assert_eq!(other.next().await, Signal::Reload);

        let mut stop = pin!(draining.stop());
        assert!(stop.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    #[tokio::test]
    async fn everybody_learns_of_the_drain() {
        let drain = Drain::default();
        let other = drain.clone();
        assert!(!other.has_begun());

        let waiting = tokio::spawn(async move { other.draining().await });
        drain.begin();

        waiting.await.unwrap();
        drain.draining().await;
        assert!(drain.has_begun());
    }

    #[tokio::test]
    async fn idle_is_when_the_last_guard_is_dropped() {
        let drain = Drain::default();
        let (one, two) = (drain.guard(), drain.guard());
        drain.begin();
        drop(one);
        assert_eq!(drain.in_flight(), 1);

        let waiting = tokio::spawn({
            let drain = drain.clone();
            async move { drain.wait_idle(LONG).await }
        });
        tokio::task::yield_now().await;
        drop(two);

        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn nothing_in_flight_is_idle_at_once() {
        assert_eq!(Drain::default().wait_idle(Duration::ZERO).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_says_what_was_left() {
        let drain = Drain::default();
        let _kept = drain.guard();
        drain.begin();

        assert_eq!(drain.wait_idle(LONG).await, Err(1));
    }

    fn hang_up() {
        let own = std::process::id().to_string();
        let kill = std::process::Command::new("kill").args(["-HUP", &own]).status().unwrap();
        assert!(kill.success());
    }
}
