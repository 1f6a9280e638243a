//! What a load has to have met, judged by what the clients saw and by what the ledger counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::client::Ending;
use super::load::Outcome;
use super::site::Site;

/// A dead, frozen or unplugged peer is noticed within this time.
pub(super) const NOTICED: Duration = Duration::from_secs(5);
/// Noticed, and the traffic moved.
pub(super) const MOVED: Duration = Duration::from_secs(6);

/// Judges outcomes; what it complains about names the requests.
pub(super) struct Verdict<'s> {
    site: &'s Site,
    outcomes: Vec<Outcome>,
}

impl<'s> Verdict<'s> {
    /// To be made when nothing can arrive any more.
    pub(super) fn new(site: &'s Site, outcomes: Vec<Outcome>) -> Self {
        Self { site, outcomes }
    }

    /// Leaves out what came to one gateway.
    pub(super) fn without_port(mut self, port: u16) -> Self {
        self.outcomes.retain(|outcome| outcome.port != port);
        self
    }

    /// No request that may be asked twice has failed, unless its answer was cut.
    pub(super) fn no_replayable_request_failed(&self) -> &Self {
        self.none("replayable and failed", |outcome| {
            outcome.is_replayable() && !matches!(outcome.ending, Ending::Answered(200) | Ending::Cut)
        })
    }

    /// Whatever failed was told so: 502 or 503.
    pub(super) fn every_failure_was_answered(&self) -> &Self {
        self.none("failed without an answer", |outcome| !matches!(outcome.ending, Ending::Answered(200 | 502 | 503) | Ending::Cut))
    }

    /// What may not be asked twice arrived once at most, and exactly once where the client was told of success; what may be
    /// asked twice was carried twice at most.
    pub(super) fn nothing_else_was_repeated(&self) -> &Self {
        self.none("arrived too often, or not at all", |outcome| {
            let arrivals = self.site.ledger.arrivals(outcome.id);
            let most = if outcome.is_replayable() { 2 } else { 1 };
            arrivals > most || (outcome.ending == Ending::Answered(200) && arrivals == 0)
        })
    }

    /// Nobody waited longer for an answer.
    pub(super) fn nobody_waited_longer_than(&self, longest: Duration) -> &Self {
        self.none("late", |outcome| outcome.took > longest)
    }

    /// No more requests than this were left without an answer.
    pub(super) fn unanswered_at_most(&self, most: usize) -> &Self {
        let unanswered = self.outcomes.iter().filter(|outcome| matches!(outcome.ending, Ending::Broken(_) | Ending::NotConnected)).count();
        assert!(unanswered <= most, "{unanswered} requests without an answer of {}", self.tally());
        self
    }

    fn none(&self, complaint: &str, is_wrong: impl Fn(&Outcome) -> bool) -> &Self {
        let wrong: Vec<_> = self.outcomes.iter().filter(|outcome| is_wrong(outcome)).collect();
        let shown: Vec<_> = wrong.iter().take(5).map(|outcome| (outcome, self.site.ledger.arrivals(outcome.id))).collect();
        assert!(wrong.is_empty(), "{} requests {complaint}, such as {shown:#?}\nof {}", wrong.len(), self.tally());
        self
    }

    fn tally(&self) -> String {
        let mut tally = BTreeMap::<String, usize>::new();
        for outcome in &self.outcomes {
            let what = if outcome.is_replayable() { "replayable" } else { "POST" };
            *tally.entry(format!("{what} {:?}", outcome.ending)).or_default() += 1;
        }
        format!("{tally:?}")
    }
}
