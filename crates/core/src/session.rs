//! When a peer in the tunnel counts as dead: heartbeats, fed and polled.
//!
//! The same machine runs at both ends. Every received byte proves life; a ping goes out after [`PING_AFTER`] of silence from the
//! peer, and after [`DEAD_AFTER`] of silence the session is over. Together they keep the promise that a dead, frozen or unplugged
//! peer is noticed in 5 s.
use core::time::Duration;

use crate::time::Tick;

/// Silence after which a ping is sent.
pub const PING_AFTER: Duration = Duration::from_millis(1_000);

/// Silence after which the peer is dead. Three pings go unanswered before, so two lost packets on a bad line kill nobody.
pub const DEAD_AFTER: Duration = Duration::from_millis(4_000);

/// A jump of the monotonic clock between two polls that means we were the one asleep: suspended, or frozen.
const ASLEEP: Duration = Duration::from_millis(2_500);

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before the given time.
    WaitUntil(Tick),
    /// Send a ping, then poll again.
    Ping,
    /// Give the session up.
    Dead,
}

/// One end's view of the other's life.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    heard: Tick,
    pinged: Tick,
    polled: Tick,
}

impl Heartbeat {
    /// The peer was alive at `now`.
    pub fn new(now: Tick) -> Self {
        Self { heard: now, pinged: now, polled: now }
    }

    /// Bytes came in. The answer of [`Heartbeat::poll`] may move later.
    pub fn heard(&mut self, now: Tick) {
        self.heard = self.heard.max(now);
    }

    /// What to do at `now`. May change after [`Heartbeat::heard`] and with time.
    pub fn poll(&mut self, now: Tick) -> Beat {
        let slept = now.since(self.polled) >= ASLEEP;
        self.polled = now;
        if slept {
            // Silence while this end slept says nothing about the peer: give it one ping's time to speak.
            self.heard = self.heard.max(Tick(now.0.saturating_sub((DEAD_AFTER - PING_AFTER).as_millis() as u64)));
        }
        if now.since(self.heard) >= DEAD_AFTER {
            return Beat::Dead;
        }
        let due = self.heard.max(self.pinged).after(PING_AFTER);
        if due <= now {
            self.pinged = now;
            return Beat::Ping;
        }
        Beat::WaitUntil(due.min(self.heard.after(DEAD_AFTER)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls every 100 ms from `from` to `to` and gives what was said, without the waits.
    fn run(heartbeat: &mut Heartbeat, from: u64, to: u64) -> std::vec::Vec<(u64, Beat)> {
        (from..=to).step_by(100).map(|at| (at, heartbeat.poll(Tick(at)))).filter(|(_, beat)| !matches!(beat, Beat::WaitUntil(_))).collect()
    }

    #[test]
    fn a_silent_peer_is_pinged_each_second_and_dead_within_five() {
        let mut heartbeat = Heartbeat::new(Tick(0));

        let said = run(&mut heartbeat, 0, 4_000);

        assert_eq!(said, [(1_000, Beat::Ping), (2_000, Beat::Ping), (3_000, Beat::Ping), (4_000, Beat::Dead)]);
    }

    #[test]
    fn a_peer_that_speaks_is_never_pinged() {
        let mut heartbeat = Heartbeat::new(Tick(0));
        for at in (0..20_000).step_by(900) {
            heartbeat.heard(Tick(at));

            assert!(matches!(heartbeat.poll(Tick(at + 800)), Beat::WaitUntil(_)));
        }
    }

    #[test]
    fn after_its_own_sleep_an_end_gives_the_peer_time_to_speak() {
        let mut heartbeat = Heartbeat::new(Tick(0));
        heartbeat.poll(Tick(0));

        assert_eq!(heartbeat.poll(Tick(60_000)), Beat::Ping);
        heartbeat.heard(Tick(60_050));
        assert!(matches!(heartbeat.poll(Tick(60_500)), Beat::WaitUntil(_)));
    }

    #[test]
    fn after_its_own_sleep_a_dead_peer_is_still_found() {
        let mut heartbeat = Heartbeat::new(Tick(0));
        heartbeat.poll(Tick(0));

        let said = run(&mut heartbeat, 60_000, 61_100);

        assert_eq!(said.get(1), Some(&(61_000, Beat::Dead)));
    }
}
