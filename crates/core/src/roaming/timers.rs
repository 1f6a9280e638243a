//! What a client waits for, in one table.
use core::time::Duration;

use super::Cause;
use crate::time::Tick;

/// How long a network must be quiet before it is looked at: a change of network is several changes of addresses and routes.
pub const SETTLE: Duration = Duration::from_millis(250);
/// How long a network that does not become quiet is waited for. It doubles, up to eight times, while changes go on, so that a search
/// can end between them.
pub const SETTLE_AT_MOST: Duration = Duration::from_secs(1);
/// Quiet after which a change of the network is the first again.
const CALM: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(super) struct Timers {
    /// The network becomes quiet: since when it changes, and until when it is waited for.
    settle: Option<(Tick, Tick)>,
    /// Times that the network was waited for in a row, and its last change.
    flaps: (u32, Tick),
    /// A search that was put off, and why it is made.
    pub(super) again: Option<(Tick, Cause)>,
    /// The search that is made although nothing has happened.
    pub(super) evaluate: Tick,
    /// When an error of a management point last caused a search.
    pub(super) checked: Option<Tick>,
}

impl Timers {
    /// A search is due at once.
    pub(super) fn new(now: Tick, cause: Cause) -> Self {
        Self { settle: None, flaps: (0, now), again: Some((now, cause)), evaluate: Tick(u64::MAX), checked: None }
    }

    /// When the next of them is due.
    pub(super) fn next(&self) -> Tick {
        let settle = self.settle.map_or(self.evaluate, |(_, until)| until);
        self.next_search().0.min(settle)
    }

    /// The search that is made if nothing else happens.
    pub(super) fn next_search(&self) -> (Tick, Cause) {
        let daily = (self.evaluate, Cause::Daily);
        self.again.filter(|(at, _)| *at <= self.evaluate).unwrap_or(daily)
    }

    /// The network changes: it is looked at once it is quiet, or has not been for too long.
    pub(super) fn unsettle(&mut self, now: Tick) {
        let (flaps, last) = self.flaps;
        let flaps = if now.since(last) < CALM { flaps } else { 0 };
        self.flaps = (flaps, now);
        let began = self.settle.map_or(now, |(began, _)| began);
        let at_most = began.after(SETTLE_AT_MOST * (1 << flaps.min(3)));
        self.settle = Some((began, now.after(SETTLE).min(at_most)));
    }

    /// The network is looked at without waiting.
    pub(super) fn settle_now(&mut self, now: Tick) {
        self.settle = Some((now, now));
    }

    /// Whether the network is to be looked at.
    pub(super) fn settles(&mut self, now: Tick) -> bool {
        let is_due = self.settle.take_if(|(_, until)| *until <= now).is_some();
        self.flaps.0 = self.flaps.0.saturating_add(u32::from(is_due));
        is_due
    }

    /// The cause of a search that is due, if it was put off till then.
    pub(super) fn again(&self, now: Tick) -> Option<Cause> {
        self.again.filter(|(at, _)| *at <= now).map(|(_, cause)| cause)
    }

    /// Puts a search off until then; one that comes earlier anyway stands.
    pub(super) fn put_off(&mut self, until: Tick, cause: Cause) {
        if self.again.is_none_or(|(earlier, _)| until < earlier) {
            self.again = Some((until, cause));
        }
    }
}
