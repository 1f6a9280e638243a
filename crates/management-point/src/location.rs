//! Where a device is, as its management point sees it: by its address on the intranet, by the service that it came through elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::Json;
use axum::extract::State;
use cmg_api::device::{Location, Through};
use cmg_api::policy::{Policy, PolicyBoundaryGroup};
use cmg_core::boundary::{Boundaries, Group};

use crate::device::Device;
use crate::point::Point;
use crate::policy::none_yet;
use crate::refused::Refused;

/// Tells a device where it is.
pub(crate) async fn location(State(point): State<Arc<Point>>, Extension(device): Extension<Device>) -> Result<Json<Location>, Refused> {
    let state = point.state();
    let held = state.as_ref().as_ref().and_then(|state| state.policy.as_ref()).ok_or_else(none_yet)?;
    let (boundary_groups, content) = standing(&held.policy, &held.boundaries, &device.through, device.address);
    Ok(Json(Location {
        management_point: point.site.member().identity.role.name().to_owned(),
        through: device.through,
        address: device.address.to_string(),
        boundary_groups,
        content,
    }))
}

/// The boundary groups of a policy. What is no network holds no address.
pub(crate) fn boundaries(policy: &Policy) -> Boundaries {
    let group = |group: &PolicyBoundaryGroup| Group {
        name: group.name.clone(),
        networks: group.networks.iter().filter_map(|network| network.parse().ok()).collect(),
        site_systems: group.site_systems.clone(),
        services: group.services.clone(),
        fallback: group.fallback.clone(),
        prefer_cloud: group.prefer_cloud,
    };
    Boundaries::new(policy.boundary_groups.iter().map(group).collect())
}

/// The boundary groups of a device, and the servers that hold content for it, in order.
fn standing(policy: &Policy, boundaries: &Boundaries, through: &Through, address: IpAddr) -> (Vec<String>, Vec<String>) {
    let content: Vec<&str> = policy.servers.iter().filter(|server| server.content).map(|server| server.name.as_str()).collect();
    let owned = |name: &str| name.to_owned();
    match through {
        Through::Intranet => {
            let here = boundaries.at(&[address]);
            (here.groups().map(owned).collect(), here.site_systems(&content).iter().map(|ranked| owned(ranked.name)).collect())
        }
        // Boundary groups are about addresses of the intranet.
        Through::Cmg(name) | Through::Ibcm(name) => {
            let service = policy.services.iter().find(|service| service.name == *name);
            let reached = content.into_iter().filter(|name| service.is_some_and(|service| service.servers.contains_key(*name)));
            (Vec::new(), reached.map(owned).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use cmg_api::policy::PolicyServer;

    use super::*;
    use crate::policy::tests::a_policy;

    fn with_content() -> Policy {
        let mut policy = a_policy();
        let server = |name: &str, content| PolicyServer { name: name.to_owned(), origins: Vec::new(), authorities: Vec::new(), content };
        policy.servers = vec![server("dp1", true), server("dp2", true), server("wiki", false)];
        policy.services[1].servers.insert("dp1".to_owned(), Vec::new());
        let group = |name: &str, network: &str, system: &str| PolicyBoundaryGroup {
            name: name.to_owned(),
            networks: vec![network.to_owned()],
            site_systems: vec![system.to_owned()],
            services: Vec::new(),
            fallback: Vec::new(),
            prefer_cloud: false,
        };
        policy.boundary_groups = vec![group("all", "10.0.0.0/8", "dp1"), group("branch", "10.1.0.0/16", "dp2")];
        policy
    }

    fn standing_of(through: &Through) -> (Vec<String>, Vec<String>) {
        let policy = with_content();
        standing(&policy, &boundaries(&policy), through, [10, 1, 0, 7].into())
    }

    #[test]
    fn on_the_intranet_the_group_that_fits_best_comes_first() {
        let (groups, content) = standing_of(&Through::Intranet);

        assert_eq!((groups, content), (vec!["branch".to_owned(), "all".to_owned()], vec!["dp2".to_owned(), "dp1".to_owned()]));
    }

    #[test]
    fn on_the_internet_there_is_what_the_service_reaches_whatever_the_address() {
        assert_eq!(standing_of(&Through::Ibcm("dmz".to_owned())), (Vec::new(), vec!["dp1".to_owned()]));
        assert_eq!(standing_of(&Through::Cmg("main".to_owned())), (Vec::new(), Vec::new()));
    }
}
