//! The policy, as the machine that finds the way reads it.

use std::time::Duration;

use cmg_api::policy::{ClientSettingsPolicy, Policy, PolicyBoundaryGroup};
use cmg_core::boundary::{Boundaries, Group};
use cmg_core::choice::Rules;
use cmg_core::ids::{ManagementPointId, ServiceId};
use cmg_core::roaming::Site;

use crate::carrier::FIRST_CONTACT;

/// What is known before there is a policy: one service, the first contact.
pub(crate) fn before_policy() -> Site {
    Site { services: vec![(ServiceId::new(FIRST_CONTACT), 1)], ..Site::default() }
}

/// What a policy says.
pub(crate) fn of(policy: &Policy) -> Site {
    Site {
        management_points: policy.management_points.iter().map(|point| ManagementPointId::new(&point.name)).collect(),
        services: policy.services.iter().map(|service| (ServiceId::new(&service.name), service.weight)).collect(),
        boundaries: Boundaries::new(policy.boundary_groups.iter().map(group).collect()),
        rules: rules(&policy.client),
        evaluate_every: Duration::from_secs(policy.client.location_every),
    }
}

fn rules(client: &ClientSettingsPolicy) -> Rules {
    Rules {
        leave_after_errors: client.leave_after_errors,
        leave_within: Duration::from_secs(client.leave_within),
        avoid_for: Duration::from_secs(client.avoid_for),
        spread: Duration::from_secs(client.spread),
    }
}

/// A network that cannot be read is one that nobody is in.
fn group(group: &PolicyBoundaryGroup) -> Group {
    Group {
        name: group.name.clone(),
        networks: group.networks.iter().filter_map(|network| network.parse().ok()).collect(),
        site_systems: group.site_systems.clone(),
        services: group.services.clone(),
        fallback: group.fallback.clone(),
        prefer_cloud: group.prefer_cloud,
    }
}
