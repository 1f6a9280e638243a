//! What is told of the search: lines of the log, and everything at once for whoever asks why.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Attempt, Place, Route, Target};
use crate::choice::{Record, Rules, Trouble};
use crate::time::Tick;

/// Why a search began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The client has just started.
    Started,
    /// The network has changed, or the device slept.
    NetworkChanged,
    /// What was in use failed.
    Failed,
    /// The last search found nobody.
    FoundNobody,
    /// The policy has changed.
    PolicyChanged,
    /// Its time had come.
    Daily,
    /// Somebody asked for it.
    Asked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Started => "the client has started",
            Self::NetworkChanged => "the network has changed",
            Self::Failed => "what was in use failed",
            Self::FoundNobody => "nobody was found before",
            Self::PolicyChanged => "the policy has changed",
            Self::Daily => "it is looked at from time to time",
            Self::Asked => "it was asked for",
        })
    }
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Story {
    /// A search begins.
    Searching(Cause),
    /// The client is somewhere else.
    Moved {
        /// Where it was.
        from: Place,
        /// Where it is.
        to: Place,
    },
    /// It leaves what it used.
    Left {
        /// What that was.
        route: Route,
        /// What was wrong with it; none: the policy does not name it.
        trouble: Option<Trouble>,
        /// How long it waits before it turns to others.
        wait: Duration,
    },
    /// A search has found nobody.
    FoundNobody {
        /// Whether a captive portal was seen.
        portal: bool,
        /// How long it waits before it tries again.
        wait: Duration,
    },
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Searching(cause) => write!(f, "Looking for the site: {cause}"),
            Self::Moved { from, to } => write!(f, "{to}; before: {from}"),
            Self::Left { route, trouble: Some(trouble), wait } => write!(f, "Leaving {route}: {trouble}; others are tried {}", In(*wait)),
            Self::Left { route, trouble: None, wait } => {
                write!(f, "Leaving {route}: the policy does not name it; others are tried {}", In(*wait))
            }
            Self::FoundNobody { portal: true, wait } => write!(f, "A captive portal is in the way; trying again {}", In(*wait)),
            Self::FoundNobody { portal: false, wait } => write!(f, "Nobody can be reached; trying again {}", In(*wait)),
        }
    }
}

/// A time to come, for people.
struct In(Duration);

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in {}.{} s", self.0.as_secs(), self.0.subsec_millis() / 100)
    }
}

/// Where the client is and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Where it is.
    pub place: Place,
    /// Since when.
    pub since: Tick,
    /// Why the last search was made.
    pub cause: Cause,
    /// When it began.
    pub began: Tick,
    /// Whether it is under way.
    pub is_searching: bool,
    /// Whom it tried or would have tried, in the order of preference: the first that has proven itself is used.
    pub attempts: Vec<Attempt>,
    /// What is known of management points and services.
    pub servers: Vec<ServerStanding>,
    /// The boundary groups of the device's addresses, the one that fits best first.
    pub boundary_groups: Vec<String>,
    /// Whether they prefer services on the internet.
    pub prefers_cloud: bool,
    /// Whether internet-based services are used wherever the device is.
    pub always_internet: bool,
    /// When the next search is made, and why.
    pub next: (Tick, Cause),
}

/// What is known of a management point or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerStanding {
    /// Which.
    pub target: Target,
    /// Its weight; none for a management point.
    pub weight: Option<u32>,
    /// Errors that count.
    pub errors: usize,
    /// Until when others are preferred to it.
    pub avoided_until: Option<Tick>,
    /// Until when it is not asked, by its own word.
    pub rests_until: Option<Tick>,
}

impl ServerStanding {
    pub(super) fn new(target: Target, weight: Option<u32>, record: &Record, rules: &Rules, now: Tick) -> Self {
        Self {
            target,
            weight,
            errors: record.errors(rules, now),
            avoided_until: record.avoided_until(now),
            rests_until: record.rests_until(now),
        }
    }
}
