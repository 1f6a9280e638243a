//! Several sites share a gateway: each site's requests go to its own connection points.

use serde_json::json;

use crate::support::{ManagedSite, PATIENCE, field, lines, until, wait};

#[test]
fn requests_go_to_a_connection_point_of_the_owning_site() {
    let mut managed = ManagedSite::of(2, 2);
    let other = "connection-point-2";
    managed.api.add("sites", &json!({ "name": "XYZ" })).unwrap();
    let point = json!({ "name": other, "site": "XYZ" });
    managed.api.ask("PUT", &format!("/connection-points/{other}"), Some(&point)).unwrap();
    let endpoint = json!({
        "name": "theirs",
        "site": "XYZ",
        "prefix": "/theirs",
        "face": "mutual",
        "trust": "devices",
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
    managed.everywhere();
    let ours = managed.site.mutual() + "/echo";

    for device in managed.devices() {
        assert_eq!(device.get(&ours).status, 200);
        assert_eq!(device.get("/theirs/echo").status, 200);
    }
    assert_eq!(carried(&managed, "connection-point-1"), ["app", "app"]);
    assert_eq!(carried(&managed, other), ["theirs", "theirs"]);

    let gone = &mut managed.site.system.connection_points[1];
    wait(gone.stop(PATIENCE)).unwrap();
    for device in managed.devices() {
        until("nobody serves the other site", || (device.get("/theirs/echo").status == 503).then_some(()));
        assert_eq!(device.get(&ours).status, 200);
    }
}

/// The endpoints of the requests that a connection point has carried, in order.
fn carried(managed: &ManagedSite, point: &str) -> Vec<String> {
    let two = |lines: Vec<String>| (lines.len() == 2).then_some(lines);
    until("the log has both", || {
        let log = lines(&managed.site.lab().log(point));
        let delivered = log.iter().filter(|line| field(line, "event") == "delivered");
        two(delivered.map(|line| field(line, "endpoint").to_owned()).collect())
    })
}
