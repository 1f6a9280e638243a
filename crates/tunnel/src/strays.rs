//! Lanes that reach a connection point when their exchange is not under way: it has not begun yet, or is over.
//!
//! A lane is another connection than its session's, so either may be quicker. One whose exchange has not begun waits for it. One whose
//! exchange is over is let go at once: its sender may have sent the whole body, and the next one behind it on the same lane.
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::driver::EXCHANGES_LIMIT;
use crate::lane::Lane;

/// How long either is waited for. A session that is silent for as long is dead.
const LONGEST: Duration = Duration::from_secs(10);

/// What is waited for on one session.
#[derive(Default)]
pub(crate) struct Strays {
    /// The lanes of a session are few, so those that wait for their requests are few too.
    early: Vec<Early>,
    /// Exchanges that ended while the body of their request was still to come, the oldest first.
    over: VecDeque<Over>,
}

struct Early {
    since: Instant,
    exchange: u32,
    lane: Box<Lane>,
}

struct Over {
    since: Instant,
    exchange: u32,
}

impl Strays {
    /// Keeps a lane for an exchange that is not under way; gives it back where the exchange is over.
    pub(crate) fn keep(&mut self, exchange: u32, lane: Box<Lane>) -> Option<Box<Lane>> {
        if let Some(place) = self.over.iter().position(|over| over.exchange == exchange) {
            self.over.remove(place);
            return Some(lane);
        }
        self.early.push(Early { since: Instant::now(), exchange, lane });
        None
    }

    /// The lane that has come before its exchange.
    pub(crate) fn take(&mut self, exchange: u32) -> Option<Box<Lane>> {
        let place = self.early.iter().position(|early| early.exchange == exchange)?;
        Some(self.early.swap_remove(place).lane)
    }

    /// An exchange has ended, and a lane may still come for it. Gives the one that has come.
    pub(crate) fn ended(&mut self, exchange: u32) -> Option<Box<Lane>> {
        let come = self.take(exchange);
        if come.is_none() {
            if self.over.len() >= EXCHANGES_LIMIT {
                self.over.pop_front();
            }
            self.over.push_back(Over { since: Instant::now(), exchange });
        }
        come
    }

    /// Gives the lanes that have waited in vain.
    pub(crate) fn expired(&mut self) -> impl Iterator<Item = Box<Lane>> {
        while self.over.front().is_some_and(|over| over.since.elapsed() >= LONGEST) {
            self.over.pop_front();
        }
        self.early.extract_if(.., |early| early.since.elapsed() >= LONGEST).map(|early| early.lane)
    }
}
