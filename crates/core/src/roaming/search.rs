//! One search: candidates in the order of preference, probed side by side.
//!
//! Management points are probed a few at a time. Services are probed one after the other at short distances: most often the first one
//! drawn answers and the others are never troubled. The first in the order that proves itself wins, once each one before it has failed
//! or had its time ([`PATIENCE`]). A management point that needs longer still takes over when it comes.
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::{Cause, Place, Route};
use crate::choice::Trouble;
use crate::ids::{ManagementPointId, ServiceId};
use crate::time::Tick;

/// How long a probe may take.
pub(super) const PROBE_WITHIN: Duration = Duration::from_secs(3);
/// How long one that is preferred is waited for when another has proven itself.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// Distance between the probes of services.
const STAGGER: Duration = Duration::from_millis(300);
/// Most probes of a kind side by side.
const SIDE_BY_SIDE: usize = 4;

/// Names a probe: no two have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeId(pub(super) u64);

/// Whom a probe or request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A management point of the intranet, directly.
    ManagementPoint(ManagementPointId),
    /// A service, and a management point behind it.
    Service(ServiceId),
    /// The service's host by `http` without TLS, which answers nothing of the kind: only a captive portal does. It never proves itself.
    Portal(ServiceId),
}

impl Target {
    /// Whether this is where requests go.
    pub(super) fn is_used(&self, route: &Route) -> bool {
        match (self, route) {
            (Self::ManagementPoint(target), Route::ManagementPoint(used)) => target == used,
            (Self::Service(target), Route::Service(used)) => target == used,
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManagementPoint(point) => write!(f, "management point {point}"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Portal(service) => write!(f, "a captive portal in front of {service}"),
        }
    }
}

/// What came of one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whom.
    pub target: Target,
    /// When the probe began; none: it was not necessary.
    pub began: Option<Tick>,
    /// When it ended, and how; none: it goes on, or was not necessary in the end.
    pub ended: Option<(Tick, Result<(), Trouble>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Candidate {
    target: Target,
    /// Where the client is if this one is used.
    place: Place,
    /// Services of a later tier are tried when all of the earlier ones have failed.
    tier: usize,
    probe: Option<ProbeId>,
    began: Option<Tick>,
    ended: Option<(Tick, Result<(), Trouble>)>,
}

impl Candidate {
    fn new(target: Target, place: Place, tier: usize) -> Self {
        Self { target, place, tier, probe: None, began: None, ended: None }
    }

    fn is_point(&self) -> bool {
        matches!(self.target, Target::ManagementPoint(_))
    }

    fn is_proven(&self) -> bool {
        matches!(self.ended, Some((_, Ok(()))))
    }

    fn is_under_way(&self) -> bool {
        self.began.is_some() && self.ended.is_none()
    }
}

/// Candidates for management points.
pub(super) fn management_points(points: Vec<ManagementPointId>) -> Vec<Candidate> {
    points.into_iter().map(|point| Candidate::new(Target::ManagementPoint(point.clone()), Place::Intranet(point), 0)).collect()
}

/// Candidates for services in their tiers. `diverted`: the boundary group prefers them to the intranet.
pub(super) fn services(tiers: Vec<Vec<ServiceId>>, diverted: bool) -> Vec<Candidate> {
    // Services that are preferred to management points are in tiers before those that are not.
    let first = if diverted { 0 } else { 3 };
    let place = |service: &ServiceId| if diverted { Place::Diverted(service.clone()) } else { Place::Internet(service.clone()) };
    let tier = |(tier, services): (usize, Vec<ServiceId>)| {
        services.into_iter().map(move |service| Candidate::new(Target::Service(service.clone()), place(&service), first + tier))
    };
    tiers.into_iter().enumerate().flat_map(tier).collect()
}

/// What a search has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes on, or is over and has been acted upon.
    Pending,
    /// This is where the client is.
    Found(Place),
    /// Nobody works; is it a captive portal? See [`Search::ask_for_portal`].
    AskForPortal,
    /// Nobody works.
    Nobody { portal: bool },
}

#[derive(Clone, Debug)]
pub(super) struct Search {
    cause: Cause,
    began: Tick,
    candidates: Vec<Candidate>,
    /// How many of the candidates, from the first on, may still decide: all, or those before the one that was found.
    open: usize,
    has_found: bool,
    asked_for_portal: bool,
    is_over: bool,
}

impl Search {
    pub(super) fn new(cause: Cause, began: Tick, candidates: Vec<Candidate>) -> Self {
        Self { cause, began, open: candidates.len(), candidates, has_found: false, asked_for_portal: false, is_over: false }
    }

    /// A search that has nobody to try.
    pub(super) fn over(cause: Cause, began: Tick) -> Self {
        Self { is_over: true, ..Self::new(cause, began, Vec::new()) }
    }

    pub(super) fn cause(&self) -> Cause {
        self.cause
    }

    pub(super) fn began(&self) -> Tick {
        self.began
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.is_over
    }

    /// Nothing that comes is of interest any more.
    pub(super) fn stop(&mut self) {
        self.is_over = true;
        self.open = 0;
    }

    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let attempt = |candidate: &Candidate| Attempt { target: candidate.target.clone(), began: candidate.began, ended: candidate.ended };
        self.candidates.iter().map(attempt).collect()
    }

    /// A probe has ended. Gives whom it was for, if that is of interest.
    pub(super) fn answered(&mut self, probe: ProbeId, outcome: Result<(), Trouble>, now: Tick) -> Option<Target> {
        let is_it = |candidate: &&mut Candidate| candidate.probe == Some(probe) && candidate.is_under_way();
        let candidate = self.candidates[..self.open].iter_mut().find(is_it)?;
        let is_portal = matches!(candidate.target, Target::Portal(_));
        candidate.ended = Some((now, if is_portal { outcome.and(Err(Trouble::Broken)) } else { outcome }));
        Some(candidate.target.clone())
    }

    /// Ends the probes whose time is over, and gives whom they were for.
    pub(super) fn expire(&mut self, now: Tick) -> Vec<Target> {
        let mut expired = Vec::new();
        for candidate in &mut self.candidates[..self.open] {
            if candidate.is_under_way() && candidate.began.is_some_and(|began| began.after(PROBE_WITHIN) <= now) {
                candidate.ended = Some((now, Err(Trouble::Broken)));
                expired.push(candidate.target.clone());
            }
        }
        expired
    }

    /// Looks at what is there. A decision is given once; a better one may follow it.
    pub(super) fn decide(&mut self, now: Tick) -> Decision {
        if self.is_over {
            return Decision::Pending;
        }
        let proven = self.open().find(|candidate| candidate.is_proven()).map(|candidate| candidate.place.clone());
        if let Some(place) = proven {
            let is_ripe = self.decides_at().is_none_or(|at| at <= now);
            return if is_ripe { self.found(place) } else { Decision::Pending };
        }
        if self.open().any(|candidate| candidate.ended.is_none()) {
            return Decision::Pending;
        }
        if self.has_found {
            self.stop();
            return Decision::Pending;
        }
        if !core::mem::replace(&mut self.asked_for_portal, true) {
            return Decision::AskForPortal;
        }
        let portal = self.open().any(|candidate| matches!(candidate.ended, Some((_, Err(Trouble::Portal)))));
        self.stop();
        Decision::Nobody { portal }
    }

    /// Adds the probe that tells a captive portal from no network at all; without a service there is none.
    pub(super) fn ask_for_portal(&mut self, service: Option<ServiceId>) {
        if let Some(service) = service {
            self.candidates.push(Candidate::new(Target::Portal(service), Place::Portal, usize::MAX));
            self.open = self.candidates.len();
        }
    }

    /// Probes to begin, numbered from `next` on.
    pub(super) fn next_probes(&mut self, now: Tick, next: &mut u64) -> Vec<(ProbeId, Target)> {
        let mut begun = Vec::new();
        while let Some(place) = self.due(now) {
            let candidate = &mut self.candidates[place];
            candidate.began = Some(now);
            candidate.probe = Some(ProbeId(*next));
            begun.push((ProbeId(*next), candidate.target.clone()));
            *next += 1;
        }
        begun
    }

    /// When something is due without an answer.
    pub(super) fn wake_at(&self) -> Option<Tick> {
        if self.is_over {
            return None;
        }
        let under_way = self.candidates[..self.open].iter().filter(|candidate| candidate.is_under_way());
        let ends = under_way.filter_map(|candidate| candidate.began).map(|began| began.after(PROBE_WITHIN));
        ends.chain(self.decides_at()).chain(self.next_service().map(|(_, at)| at)).min()
    }

    /// The candidates that may still decide: after something was found, the management points before it. What is in use is kept while
    /// it works, so a service that comes late has no claim; the intranet has.
    fn open(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates[..self.open].iter().filter(|candidate| !self.has_found || candidate.is_point())
    }

    /// When the first that has proven itself wins, although others before it have not ended; none if none has, or none is before it.
    fn decides_at(&self) -> Option<Tick> {
        let proven = self.open().position(Candidate::is_proven)?;
        self.open().take(proven).filter(|candidate| candidate.ended.is_none()).map(|candidate| self.patience(candidate)).max()
    }

    /// Until when one that has not ended is waited for when a later one has proven itself.
    fn patience(&self, candidate: &Candidate) -> Tick {
        match candidate.began {
            // All management points together: at home, many addresses that answer nothing are as good as one.
            Some(began) if !candidate.is_point() => began.after(PATIENCE),
            _ => self.began.after(PATIENCE),
        }
    }

    fn found(&mut self, place: Place) -> Decision {
        let at = self.candidates.iter().position(|candidate| candidate.place == place).unwrap_or_default();
        let late = self.candidates[..at].iter().rposition(|candidate| candidate.is_point() && candidate.ended.is_none());
        self.has_found = true;
        self.open = late.map_or(0, |late| late + 1);
        self.is_over = late.is_none();
        Decision::Found(place)
    }

    /// The next candidate whose probe is due.
    fn due(&self, now: Tick) -> Option<usize> {
        if self.is_over {
            return None;
        }
        self.due_point().or_else(|| self.due_service(now))
    }

    fn due_point(&self) -> Option<usize> {
        let open = &self.candidates[..self.open];
        let under_way = open.iter().filter(|candidate| candidate.is_point() && candidate.is_under_way()).count();
        let waiting = open.iter().position(|candidate| candidate.is_point() && candidate.began.is_none());
        waiting.filter(|_| under_way < SIDE_BY_SIDE)
    }

    fn due_service(&self, now: Tick) -> Option<usize> {
        let (place, at) = self.next_service()?;
        (at <= now).then_some(place)
    }

    /// The service that is probed next, and when, if nothing else happens.
    fn next_service(&self) -> Option<(usize, Tick)> {
        if self.has_found {
            return None;
        }
        let waits = |candidate: &Candidate| !candidate.is_point() && candidate.began.is_none();
        let place = self.candidates.iter().position(waits)?;
        let tier = self.candidates[place].tier;
        let earlier = || self.candidates[..place].iter().filter(|candidate| !candidate.is_point());
        if earlier().any(Candidate::is_proven) {
            return None;
        }
        let mut under_way = earlier().filter(|candidate| candidate.is_under_way()).peekable();
        if under_way.peek().is_none() {
            return Some((place, self.began));
        }
        let last = under_way.clone().filter_map(|candidate| candidate.began).max()?;
        let may_join = under_way.clone().all(|candidate| candidate.tier == tier) && under_way.count() < SIDE_BY_SIDE;
        may_join.then(|| (place, last.after(STAGGER)))
    }
}
