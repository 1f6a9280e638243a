//! Whoever keeps a snapshot: what it has, whom it asks and when, who withholds what there is. Fed and polled.
//!
//! Every source is asked the same question, "anything newer than n?", and holds it until there is. The highest answer wins, so a source
//! that withholds is outvoted by any other; and because the site signs "newest is n at time t" every few seconds, it is noticed too.
//! Generations never go backwards. What is not sound is refused by whoever verifies and reads it; the machine is told.
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use core::time::Duration;

use crate::snapshot::Generation;
use crate::time::{Tick, WallTime};

/// How long a source may offer less than the newest generation that is known: the others are quicker by a turn or two.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long a source may withhold before whoever wants to goes without it: a restart of a slow one is shorter.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Age of the youngest statement from which nothing counts as fresh. The site makes one every few seconds.
pub const STALE_AFTER: Duration = Duration::from_secs(30);

/// Shortest time between two questions to a source that has nothing new: it should have held the first.
const PAUSE: Duration = Duration::from_millis(250);

/// First wait after a failure; doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Longest wait after failures.
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For what the site says.
    pub wall: WallTime,
    /// For deadlines.
    pub tick: Tick,
}

/// What a source has answered, verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// The newest generation there is, and when the site said so.
    pub freshness: Option<(Generation, WallTime)>,
    /// The generation whose manifest came along.
    pub offered: Option<Generation>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<S> {
    /// Ask the source for what is newer than `after`; tell [`Subscription::answered`] or [`Subscription::failed`].
    Ask {
        /// Whom.
        source: S,
        /// What is known.
        after: Generation,
    },
    /// Get what is missing of a generation whose manifest has come; tell [`Subscription::fetched`].
    Fetch {
        /// Who has it.
        source: S,
        /// Which.
        generation: Generation,
    },
    /// The source has shown less than there is, for longer than [`GRACE`]; one that does not answer at all shows nothing.
    Withholds {
        /// Who.
        source: S,
        /// What there is.
        newest: Generation,
    },
    /// The source offers again what there is.
    Follows {
        /// Who.
        source: S,
    },
    /// Nobody has brought a statement younger than [`STALE_AFTER`].
    Stale,
    /// Somebody has again.
    Fresh,
}

/// What one who keeps a snapshot knows.
#[derive(Clone, Debug)]
pub struct Subscription<S> {
    /// The newest manifest that has come, whether it could be put in force or not.
    known: Generation,
    /// The newest generation there is, and since when that is known.
    newest: (Generation, Tick),
    /// When the site made the youngest statement.
    youngest: WallTime,
    is_stale: bool,
    sources: BTreeMap<S, Source>,
    fetch: Fetch<S>,
}

#[derive(Clone, Debug)]
struct Source {
    since: Tick,
    /// It has this, as far as it has shown.
    offers: Generation,
    /// The question that it holds, and since when.
    asked: Option<(Generation, Tick)>,
    ask_at: Tick,
    failures: u32,
    /// Since when it withholds.
    withholds: Option<Tick>,
}

#[derive(Clone, Debug)]
struct Fetch<S> {
    /// What is to be put in force.
    wanted: Option<Generation>,
    /// Who has failed last, or has offered it.
    from: Option<S>,
    under_way: bool,
    at: Tick,
    failures: u32,
}

impl<S: Ord + Clone> Subscription<S> {
    /// Begins with the generation `known`, the last good one.
    pub fn new(known: Generation, now: Now) -> Self {
        Self {
            known,
            newest: (known, now.tick),
            youngest: now.wall,
            is_stale: false,
            sources: BTreeMap::new(),
            fetch: Fetch { wanted: None, from: None, under_way: false, at: now.tick, failures: 0 },
        }
    }

    /// A source is there to be asked.
    pub fn came(&mut self, source: S, now: Tick) {
        let new = Source { since: now, offers: Generation::default(), asked: None, ask_at: now, failures: 0, withholds: None };
        self.sources.entry(source).or_insert(new);
    }

    /// A source is gone.
    pub fn gone(&mut self, source: &S) {
        self.sources.remove(source);
    }

    /// The sources that are there.
    pub fn sources(&self) -> impl Iterator<Item = &S> {
        self.sources.keys()
    }

    /// A source has answered; gives whether the manifest that came along is newer than all before.
    pub fn answered(&mut self, source: &S, news: News, now: Now) -> bool {
        if let Some((newest, at)) = news.freshness {
            self.learn(newest, now.tick);
            self.youngest = self.youngest.max(at.min(now.wall));
        }
        let is_new = news.offered.is_some_and(|offered| offered > self.known);
        if let Some(offered) = news.offered.filter(|_| is_new) {
            self.learn(offered, now.tick);
            self.known = offered;
            self.want(offered, source, now.tick);
        }
        if let Some(known) = self.sources.get_mut(source) {
            known.answered(news, is_new, now.tick);
        }
        is_new
    }

    /// A source has not answered as it should.
    pub fn failed(&mut self, source: &S, now: Tick) {
        if let Some(source) = self.sources.get_mut(source) {
            source.asked = None;
            source.ask_at = now.after(wait(source.failures));
            source.failures += 1;
        }
    }

    /// What was missing of `generation` has come, or has not; gives whether it is to be put in force.
    pub fn fetched(&mut self, generation: Generation, whole: bool, now: Tick) -> bool {
        self.fetch.under_way = false;
        if self.fetch.wanted != Some(generation) {
            return false;
        }
        if whole {
            self.fetch.wanted = None;
        } else {
            self.fetch.at = now.after(wait(self.fetch.failures));
            self.fetch.failures += 1;
        }
        whole
    }

    /// What to do next; none: nothing before [`Subscription::timeout`], unless it is told something.
    pub fn poll(&mut self, now: Now) -> Option<Command<S>> {
        self.poll_freshness(now)
            .or_else(|| self.poll_withholding(now.tick))
            .or_else(|| self.poll_fetch(now.tick))
            .or_else(|| self.poll_ask(now.tick))
    }

    /// When there may be something to do without being told anything.
    pub fn timeout(&self, now: Now) -> Tick {
        let left = STALE_AFTER.saturating_sub(self.age(now.wall));
        let stale = if self.is_stale { None } else { Some(now.tick.after(left)) };
        let may_fetch = self.fetch.wanted.is_some() && !self.fetch.under_way && !self.sources.is_empty();
        let fetch = if may_fetch { Some(self.fetch.at) } else { None };
        let asks = self.sources.values().filter(|source| source.asked.is_none()).map(|source| source.ask_at);
        let graces = self.sources.values().filter(|source| source.withholds.is_none() && source.lags(self.newest.0));
        let graces = graces.map(|source| source.since.max(self.newest.1).after(GRACE));
        let patience = self.sources.values().filter_map(|source| Some(source.withholds?.after(PATIENCE))).filter(|end| *end > now.tick);
        stale.into_iter().chain(fetch).chain(asks).chain(graces).chain(patience).min().unwrap_or(now.tick.after(STALE_AFTER))
    }

    /// How old the youngest statement of the site is.
    pub fn age(&self, now: WallTime) -> Duration {
        Duration::from_secs(now.0.saturating_sub(self.youngest.0))
    }

    /// The newest generation there is, as far as is known.
    pub fn newest(&self) -> Generation {
        self.newest.0
    }

    /// Sources that withhold something.
    pub fn withholding(&self) -> impl Iterator<Item = &S> {
        self.sources.iter().filter(|(_, source)| source.withholds.is_some()).map(|(name, _)| name)
    }

    /// Sources that have withheld something for longer than [`PATIENCE`].
    pub fn long_withholding(&self, now: Tick) -> impl Iterator<Item = &S> {
        let is_long = move |source: &Source| source.withholds.is_some_and(|since| since.after(PATIENCE) <= now);
        self.sources.iter().filter(move |(_, source)| is_long(source)).map(|(name, _)| name)
    }

    fn learn(&mut self, generation: Generation, now: Tick) {
        if generation > self.newest.0 {
            self.newest = (generation, now);
        }
    }

    fn want(&mut self, generation: Generation, from: &S, now: Tick) {
        let under_way = self.fetch.under_way;
        self.fetch = Fetch { wanted: Some(generation), from: Some(from.clone()), under_way, at: now, failures: 0 };
    }

    fn poll_freshness(&mut self, now: Now) -> Option<Command<S>> {
        let is_stale = self.age(now.wall) >= STALE_AFTER;
        if core::mem::replace(&mut self.is_stale, is_stale) == is_stale {
            return None;
        }
        Some(if is_stale { Command::Stale } else { Command::Fresh })
    }

    fn poll_withholding(&mut self, now: Tick) -> Option<Command<S>> {
        let (newest, since) = self.newest;
        for (name, source) in &mut self.sources {
            if source.withholds.is_some() && source.offers >= newest {
                source.withholds = None;
                return Some(Command::Follows { source: name.clone() });
            }
            let lags_since = source.since.max(since);
            if source.withholds.is_none() && source.lags(newest) && now >= lags_since.after(GRACE) {
                source.withholds = Some(lags_since);
                return Some(Command::Withholds { source: name.clone(), newest });
            }
        }
        None
    }

    /// Fetches from whoever has offered it; after a failure from the next one.
    fn poll_fetch(&mut self, now: Tick) -> Option<Command<S>> {
        let generation = self.fetch.wanted?;
        if self.fetch.under_way || now < self.fetch.at {
            return None;
        }
        let from = self.fetch.from.as_ref().filter(|from| self.fetch.failures == 0 && self.sources.contains_key(from));
        let after_last = || self.sources.keys().find(|name| Some(*name) > self.fetch.from.as_ref());
        let source = from.or_else(after_last).or_else(|| self.sources.keys().next())?.clone();
        self.fetch.from = Some(source.clone());
        self.fetch.under_way = true;
        Some(Command::Fetch { source, generation })
    }

    fn poll_ask(&mut self, now: Tick) -> Option<Command<S>> {
        let after = self.known;
        let (name, source) = self.sources.iter_mut().find(|(_, source)| source.asked.is_none() && source.ask_at <= now)?;
        source.asked = Some((after, now));
        Some(Command::Ask { source: name.clone(), after })
    }
}

impl Source {
    fn answered(&mut self, news: News, is_new: bool, now: Tick) {
        let (after, since) = self.asked.take().unwrap_or((Generation::default(), now));
        // Who brings nothing has at most what it was asked for, whatever the site says about the newest.
        let vouched = news.freshness.map(|(newest, _)| newest.min(after));
        self.offers = self.offers.max(news.offered.or(vouched).unwrap_or_default());
        self.ask_at = if is_new { now } else { now.max(since.after(PAUSE)) };
        self.failures = 0;
    }

    /// Whether it has shown less than `newest`. A source that holds a question after the newest has nothing to show.
    fn lags(&self, newest: Generation) -> bool {
        self.offers < newest && self.asked.is_none_or(|(after, _)| after < newest)
    }
}

fn wait(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.min(8)).min(LONGEST_WAIT)
}
