//! One configuration reaches every part.

use cmg_lab::Program;
use serde_json::json;

use crate::support::{ManagedSite, PATIENCE, binary, metric_of, until, wait};

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

#[test]
fn a_stopped_gateway_refuses_everybody_until_it_is_started() {
    let managed = ManagedSite::of(2, 1);
    let path = managed.site.mutual();
    let mut wire = managed.devices()[0].open();
    wire.send("GET", &format!("{path}/events?count=36000&every=100"), &[], b"");
    assert_eq!(wire.read_head().unwrap().status, 200);
    let mut gateway = managed.api.ask("GET", "/gateways/main", None).unwrap();
    let mut run = |running: bool| {
        gateway["running"] = running.into();
        managed.api.ask("PUT", "/gateways/main", Some(&gateway)).unwrap();
        managed.everywhere();
    };
    let everyone_gets = |status: u16| managed.devices().iter().all(|device| device.get(&format!("{path}/echo")).status == status);

    run(false);
    assert!(everyone_gets(404));
    until("what was under way ends", || wire.read_chunk().err());

    run(true);
    assert!(everyone_gets(200));
}

#[test]
fn instances_come_and_go_and_clients_of_the_others_notice_nothing() {
    let mut managed = ManagedSite::of(2, 2);
    let path = managed.site.mutual() + "/echo";
    let mut gateway = managed.api.ask("GET", "/gateways/main", None).unwrap();
    let both = gateway["instances"].clone();
    let devices = managed.devices();
    let mut wire = devices[0].open();
    let mut first_serves = |when: &str| {
        wire.send("GET", &path, &[], b"");
        assert_eq!(wire.read().status, 200, "{when}, on a standing connection");
        assert_eq!(devices[0].get(&path).status, 200, "{when}, on a new connection");
    };

    gateway["instances"] = json!([both[0]]);
    managed.api.ask("PUT", "/gateways/main", Some(&gateway)).unwrap();
    until("the removed one has no tunnels", || {
        first_serves("while it goes");
        let second = &managed.site.system.gateways[1];
        (metric_of(second, "cmg_gateway_connection_points") == 0.0).then_some(())
    });

    gateway["instances"] = both;
    managed.api.ask("PUT", "/gateways/main", Some(&gateway)).unwrap();
    let code = managed.api.ask("POST", "/gateways/main/instances/gateway-2/enrolment-code", None).unwrap();
    let folder = managed.site.lab().site_dir();
    let second = &mut managed.site.system.gateways[1];
    wait(second.stop(PATIENCE)).unwrap();
    std::fs::remove_dir_all(folder.join("gateway-2-data")).unwrap();
    std::fs::write(folder.join("gateway-2.code"), code["file"].as_str().unwrap()).unwrap();
    let plan = second.plan.clone();
    *second = wait(async { Program::start(binary(), plan) }).unwrap();
    until("the new one serves", || {
        first_serves("while it comes");
        let mut wire = devices[1].try_open().ok()?;
        wire.send("GET", &path, &[], b"");
        (wire.try_read().ok()?.status == 200).then_some(())
    });
}
