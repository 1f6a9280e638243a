//! Whom a search tries, the best first.
use alloc::vec::Vec;

use super::search::{self, Candidate};
use super::{Place, Roaming};
use crate::boundary::Standing;
use crate::dice::Dice;
use crate::ids::ManagementPointId;

impl Roaming {
    /// Whom to try, the best first.
    pub(super) fn candidates(&self, dice: Dice<'_>) -> Vec<Candidate> {
        let current = match &self.place {
            Place::Diverted(service) | Place::Internet(service) => Some(service),
            Place::Unknown | Place::Intranet(_) | Place::Portal | Place::Offline => None,
        };
        if self.always_internet {
            return search::services(self.choice.order(current, |_| true, self.now, dice), false);
        }
        let standing = self.site.boundaries.at(&self.addresses);
        let points = search::management_points(self.points_in_order(&standing, dice));
        if !standing.prefers_cloud() {
            let services = search::services(self.choice.order(current, |_| true, self.now, dice), false);
            return [points, services].concat();
        }
        let names: Vec<&str> = self.site.services.iter().map(|(service, _)| service.as_str()).collect();
        let allowed = standing.services(&names);
        let preferred = search::services(self.choice.order(current, |name| allowed.contains(&name), self.now, dice), true);
        let others = search::services(self.choice.order(current, |name| !allowed.contains(&name), self.now, dice), false);
        [preferred, points, others].concat()
    }

    /// Management points by rank, those of one rank at random, the current one before its equals, those that are avoided last.
    fn points_in_order(&self, standing: &Standing<'_>, dice: Dice<'_>) -> Vec<ManagementPointId> {
        let names: Vec<&str> = self.site.management_points.iter().map(ManagementPointId::as_str).collect();
        let mut order: Vec<_> = standing
            .management_points(&names)
            .into_iter()
            .map(|ranked| {
                let point = ManagementPointId::new(ranked.name);
                let avoided = self.points.get(&point).is_some_and(|record| record.avoided_until(self.now).is_some());
                let is_current = self.place == Place::Intranet(point.clone());
                ((avoided, ranked.rank, !is_current, dice()), point)
            })
            .collect();
        order.sort_by_key(|(key, _)| *key);
        order.into_iter().map(|(_, point)| point).collect()
    }
}
