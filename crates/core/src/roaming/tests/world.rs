//! A client and the servers around it, on a clock of their own.
use std::string::{String, ToString};
use std::vec;

use super::super::*;
use crate::boundary::Group;

/// How a server answers: after how long, and what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answers {
    After(u64, Result<(), Trouble>),
    Never,
}

pub(super) const WORKS: Answers = Answers::After(20, Ok(()));
pub(super) const REFUSES: Answers = Answers::After(1, Err(Trouble::Refused));

/// A client, and servers that answer on a clock of their own.
pub(super) struct World {
    pub(super) roaming: Roaming,
    pub(super) now: u64,
    pub(super) answers: BTreeMap<&'static str, Answers>,
    /// Answers that are on their way.
    pub(super) coming: Vec<(u64, ProbeId, Result<(), Trouble>)>,
    pub(super) seed: u64,
    pub(super) used: Route,
    /// Everything that was done.
    pub(super) done: Vec<(u64, Action)>,
}

impl World {
    pub(super) fn new(points: &[&str], services: &[&str], answers: &[(&'static str, Answers)]) -> Self {
        Self::of(site(points, services), answers)
    }

    pub(super) fn of(site: Site, answers: &[(&'static str, Answers)]) -> Self {
        let roaming = Roaming::new(site, vec!["10.9.0.7".parse().unwrap()], false, Tick(0));
        let answers = answers.iter().copied().collect();
        Self { roaming, now: 0, answers, coming: vec![], seed: 1, used: Route::Nothing, done: vec![] }
    }

    pub(super) fn seeded(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(super) fn event(&mut self, event: Event) {
        let mut state = self.seed;
        let mut dice = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ (state >> 33)
        };
        let actions = self.roaming.handle(event, Tick(self.now), &mut dice);
        self.seed = state;
        assert!(self.roaming.wake_at() > Tick(self.now), "woken again at once: {:?}", self.roaming);
        for action in actions {
            match &action {
                Action::Probe(probe, target, within) => self.probed(*probe, target, *within),
                Action::Use(route) => {
                    assert_ne!(*route, self.used, "told to use what is in use");
                    self.used = route.clone();
                }
                Action::Tell(story) => assert!(!story.to_string().is_empty()),
            }
            self.done.push((self.now, action));
        }
        assert_eq!(self.roaming.place().route(), self.used);
        assert!(self.is_seeking_or_working(), "nothing in use and nothing to come: {:?}", self.roaming);
    }

    pub(super) fn is_seeking_or_working(&self) -> bool {
        let Site { management_points, services, .. } = &self.roaming.site;
        let knows_nobody = services.is_empty() && (management_points.is_empty() || self.roaming.always_internet);
        let soon = Tick(self.now + 3_700_000);
        knows_nobody || self.used != Route::Nothing || self.roaming.wake_at() < soon
    }

    pub(super) fn probed(&mut self, probe: ProbeId, target: &Target, within: Duration) {
        let name = match target {
            Target::ManagementPoint(point) => point.to_string(),
            Target::Service(service) => service.to_string(),
            Target::Portal(_) => "portal".to_string(),
        };
        if let Some(Answers::After(wait, outcome)) = self.answers.get(name.as_str()).copied()
            && Duration::from_millis(wait) < within
        {
            self.coming.push((self.now + wait, probe, outcome));
        }
    }

    /// Lets time pass: what comes first happens first.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let wake = self.roaming.wake_at().0;
            let next = self.coming.iter().map(|(at, ..)| *at).min().unwrap_or(u64::MAX);
            if wake.min(next) > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(wake.min(next));
            let arrived = self.coming.iter().position(|(at, ..)| *at <= self.now);
            let event = arrived.map_or(Event::Woken, |place| {
                let (_, probe, outcome) = self.coming.remove(place);
                Event::Answered(probe, outcome)
            });
            self.event(event);
        }
    }

    pub(super) fn set(&mut self, name: &'static str, answers: Answers) -> &mut Self {
        self.answers.insert(name, answers);
        self
    }

    pub(super) fn new_network(&mut self) {
        self.event(Event::NetworkChanged(vec!["10.9.0.7".parse().unwrap()]));
    }

    /// How long it takes from here until the client works through something else.
    pub(super) fn time_to(&mut self, place: &Place) -> u64 {
        let began = self.now;
        while self.roaming.place() != place {
            assert!(self.now < began + 3_600_000, "never at {place}: {:?}", self.roaming);
            self.pass(1);
        }
        self.now - began
    }

    pub(super) fn probes(&self) -> Vec<String> {
        let probe = |action: &Action| match action {
            Action::Probe(_, target, _) => Some(target.to_string()),
            Action::Use(_) | Action::Tell(_) => None,
        };
        self.done.iter().filter_map(|(_, action)| probe(action)).collect()
    }

    /// A request on what is in use, as an agent makes it from time to time.
    pub(super) fn request(&mut self) {
        let (target, name) = match &self.used {
            Route::ManagementPoint(point) => (Target::ManagementPoint(point.clone()), point.to_string()),
            Route::Service(service) => (Target::Service(service.clone()), service.to_string()),
            Route::Nothing => return,
        };
        if self.roaming.rests_until().is_some_and(|until| until > Tick(self.now)) {
            return;
        }
        match self.answers.get(name.as_str()) {
            Some(Answers::After(_, Ok(()))) => self.event(Event::Succeeded(target)),
            Some(Answers::After(_, Err(trouble))) => self.event(Event::Failed(target, *trouble)),
            Some(Answers::Never) | None => self.event(Event::Failed(target, Trouble::Broken)),
        }
    }
}

pub(super) fn site(points: &[&str], services: &[&str]) -> Site {
    Site {
        management_points: points.iter().map(|name| ManagementPointId::new(name)).collect(),
        services: services.iter().map(|name| (ServiceId::new(name), 1)).collect(),
        ..Site::default()
    }
}

pub(super) fn vpn(services: &[&str]) -> Boundaries {
    Boundaries::new(vec![Group {
        name: "vpn".to_string(),
        networks: vec!["10.9.0.0/16".parse().unwrap()],
        site_systems: vec![],
        services: services.iter().map(ToString::to_string).collect(),
        fallback: vec![],
        prefer_cloud: true,
    }])
}

pub(super) fn intranet(name: &str) -> Place {
    Place::Intranet(ManagementPointId::new(name))
}

pub(super) fn internet(name: &str) -> Place {
    Place::Internet(ServiceId::new(name))
}
