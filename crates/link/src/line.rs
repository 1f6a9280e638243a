//! One direction of the link: which packets are lost, and when the others arrive. Time and dice are arguments.
//!
//! A packet waits until those before it have left at the line's rate, and then travels for the delay. What would have to wait
//! longer than the queue is deep is dropped, as a router with a plain queue does. Loss is random and strikes on the way, behind
//! the queue: a lost packet has used the line.

use std::time::Duration;

/// What a line is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// Time on the way, one way.
    pub(crate) delay: Duration,
    /// Bits a second.
    pub(crate) rate: f64,
    /// Longest time in the queue.
    pub(crate) queue: Duration,
    /// Share of packets lost, 0 to 1.
    pub(crate) loss: f64,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives at this time.
    Arrives(Duration),
    /// The queue is full.
    Dropped,
    /// It is lost on the way.
    Lost,
}

/// One direction.
pub(crate) struct Line {
    nature: Nature,
    /// When the last packet will have left.
    free_at: Duration,
}

impl Line {
    pub(crate) fn new(nature: Nature) -> Self {
        Self { nature, free_at: Duration::ZERO }
    }

    /// A packet of `bytes` comes at `now`, counted from any fixed moment; `draw` is a random number from 0 to 1, 1 excluded.
    pub(crate) fn take(&mut self, now: Duration, bytes: usize, draw: f64) -> Fate {
        let leaves = self.free_at.max(now);
        if leaves - now > self.nature.queue {
            return Fate::Dropped;
        }
        self.free_at = leaves + Duration::from_secs_f64(bytes as f64 * 8.0 / self.nature.rate);
        if draw < self.nature.loss { Fate::Lost } else { Fate::Arrives(self.free_at + self.nature.delay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A packet of 1000 bytes takes 1 ms to leave.
    fn line() -> Line {
        Line::new(Nature { delay: 25 * MS, rate: 8e6, queue: 10 * MS, loss: 0.5 })
    }

    #[test]
    fn a_lone_packet_takes_its_own_time_and_the_delay() {
        assert_eq!(line().take(7 * MS, 1000, 0.9), Fate::Arrives(33 * MS));
    }

    #[test]
    fn a_packet_waits_for_those_before_it() {
        let mut line = line();
        line.take(Duration::ZERO, 1000, 0.9);

        assert_eq!(line.take(Duration::ZERO, 1000, 0.9), Fate::Arrives(27 * MS));
    }

    #[test]
    fn a_full_queue_drops_and_empties_with_time() {
        let mut line = line();
        let taken = (0..20).filter(|_| line.take(Duration::ZERO, 1000, 0.9) != Fate::Dropped).count();

        assert_eq!(taken, 11);
        assert_ne!(line.take(5 * MS, 1000, 0.9), Fate::Dropped);
    }

    #[test]
    fn a_lost_packet_has_used_the_line() {
        let mut line = line();

        assert_eq!(line.take(Duration::ZERO, 1000, 0.4), Fate::Lost);
        assert_eq!(line.take(Duration::ZERO, 1000, 0.9), Fate::Arrives(27 * MS));
    }
}
