//! How long a verification stays true, so that what was verified once costs two comparisons afterwards.
use std::sync::Arc;

use cmg_core::time::WallTime;

/// A credential that was verified, and when that verification counts.
#[derive(Debug)]
pub struct Verified<T> {
    /// What the credential says.
    pub facts: Arc<T>,
    /// First second at which it counts.
    pub good_from: WallTime,
    /// Last second at which it counts: the earliest end of any certificate, list or claim it rests on.
    pub good_until: WallTime,
}

impl<T> Verified<T> {
    pub(crate) fn new(facts: T, span: Span) -> Self {
        Self { facts: Arc::new(facts), good_from: span.from, good_until: span.until }
    }

    /// Whether it counts at `now`.
    pub fn is_good(&self, now: WallTime) -> bool {
        self.good_from <= now && now <= self.good_until
    }
}

impl<T> Clone for Verified<T> {
    fn clone(&self) -> Self {
        Self { facts: Arc::clone(&self.facts), good_from: self.good_from, good_until: self.good_until }
    }
}

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: WallTime,
    pub(crate) until: WallTime,
}

impl Span {
    /// Whether `now` is in it.
    pub(crate) fn holds(self, now: WallTime) -> bool {
        self.from <= now && now <= self.until
    }

    /// The part that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { from: self.from.max(other.from), until: self.until.min(other.until) }
    }

    /// The same, but no longer than `until`.
    pub(crate) fn at_most(self, until: WallTime) -> Self {
        Self { until: self.until.min(until), ..self }
    }
}
