//! One configuration reaches every part.

use serde_json::json;

use crate::support::{ManagedSite, metric_of, until};

#[test]
fn what_is_published_is_in_force_on_every_gateway() {
    let managed = ManagedSite::of(2, 2);

    managed.publish("wiki");
    managed.everywhere();

    for device in managed.devices() {
        assert_eq!(device.get("/wiki/echo").status, 200);
    }
    managed.api.ask("GET", "/endpoints/wiki", None).unwrap();
}

#[test]
fn allow_cmg_traffic_publishes_a_site_system_and_its_removal_takes_it_away() {
    let managed = ManagedSite::of(1, 1);
    let system = json!({
        "name": "mp1",
        "role": "management-point",
        "urls": [managed.site.origin.url()],
        "allow_cmg_traffic": { "trust": "devices" },
    });

    let added = managed.api.add("site-systems", &system).unwrap();
    managed.everywhere();

    let role_id = added["role_id"].as_str().unwrap();
    let path = format!("/CCM_Proxy_MutualAuth/{role_id}/SMS_MP/.sms_aut?MPLIST");
    let device = &managed.devices()[0];
    let reply = device.get(&path);
    assert_ne!(reply.reason, "CMGService_Not_Published", "{reply:?}");
    assert!(reply.field("X-Request-Id").is_some());
    assert_eq!(device.get(&format!("/CCM_Proxy_MutualAuth/{role_id}/AdminService")).status, 404);

    managed.api.remove("/site-systems/mp1").unwrap();
    managed.everywhere();
    assert_eq!(device.get(&path).status, 404);
}

#[test]
fn what_a_member_would_refuse_is_refused_at_once_and_nothing_is_stored() {
    let managed = ManagedSite::of(1, 1);
    let before = managed.status()["generation"].clone();

    let wrong = json!({ "name": "x", "prefix": "/a/../b", "face": "mutual", "trust": "nobody", "servers": ["ftp://a"] });
    let refused = managed.api.add("endpoints", &wrong).unwrap_err().to_string();

    for key in ["prefix", "trust", "servers[0]"] {
        assert!(refused.contains(&format!("\"key\":\"{key}\"")) || refused.contains(key), "{key}: {refused}");
    }
    assert_eq!(managed.status()["generation"], before);
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let managed = ManagedSite::of(1, 1);
    let device = managed.devices().remove(0);
    let path = managed.site.mutual() + "/echo";
    let mut wire = device.open();

    for number in 0..10 {
        managed.publish(&format!("more-{number}"));
        wire.send("GET", &path, &[], b"");
        assert_eq!(wire.read().status, 200, "change {number}, on a standing connection");
        assert_eq!(device.get(&path).status, 200, "change {number}, on a new connection");
    }
}

#[test]
fn a_removed_connection_point_loses_its_tunnels_and_gets_none_again() {
    let managed = ManagedSite::of(1, 2);
    let gone = "connection-point-2";

    managed.api.remove(&format!("/connection-points/{gone}")).unwrap();

    let gateway = managed.site.gateway();
    until("its tunnels end", || (metric_of(gateway, "cmg_gateway_connection_points") == 1.0).then_some(()));
    let refused = || metric_of(gateway, "cmg_gateway_connections_refused_total{reason=\"tunnel_refused\"}");
    until("it is refused when it dials again", || (refused() > 0.0).then_some(()));
    assert_eq!(metric_of(gateway, "cmg_gateway_connection_points"), 1.0);
    assert_eq!(managed.devices()[0].get(&(managed.site.mutual() + "/echo")).status, 200);
}
