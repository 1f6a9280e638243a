//! `/livez`, `/readyz`, `/metrics`.

use std::io::Write;
use std::process::{Command, Stdio};

use cmg_lab::Signal;

use crate::support::{Site, until, wait};

#[test]
fn a_gateway_is_ready_while_it_has_a_connection_point() {
    let site = Site::start(|_| {});
    let ask = |path: &str| wait(site.gateway().ask(path)).unwrap();
    assert_eq!([ask("/livez").status, ask("/readyz").status], [200, 200]);

    wait(site.point().signal(Signal::Kill)).unwrap();

    let probe = until("it is not ready", || Some(ask("/readyz")).filter(|probe| probe.status == 503));
    assert!(probe.body.contains("no connection point"), "{}", probe.body);
    assert_eq!(ask("/livez").status, 200, "it lives all the same");
}

#[test]
fn a_connection_point_is_ready_while_it_has_a_gateway() {
    let site = Site::start(|_| {});
    let ask = |path: &str| wait(site.point().ask(path)).unwrap();
    assert_eq!([ask("/livez").status, ask("/readyz").status], [200, 200]);

    wait(site.gateway().signal(Signal::Kill)).unwrap();

    let probe = until("it is not ready", || Some(ask("/readyz")).filter(|probe| probe.status == 503));
    assert!(!probe.body.is_empty());
    assert_eq!(ask("/livez").status, 200, "it lives all the same");
}

#[test]
fn nothing_else_is_served_there() {
    let site = Site::start(|_| {});

    assert_eq!(wait(site.gateway().ask("/")).unwrap().status, 404);
    assert_eq!(wait(site.gateway().ask("/metrics/../livez")).unwrap().status, 404);
}

#[test]
fn metrics_count_requests_bytes_and_connections() {
    let site = Site::start(|_| {});
    let wire = site.device().open();
    assert_eq!(site.device().request("POST", &(site.mutual() + "/bytes/1000"), &[], &[b'x'; 500]).body.len(), 1000);
    assert_eq!(site.device().get("/nothing").status, 404);

    let at_gateway = |name: &str| site.metric(&format!("cmg_gateway_{name}"));
    until("both requests are counted", || (at_gateway("request_duration_seconds_count") == 2.0).then_some(()));
    assert_eq!(at_gateway("requests_total{outcome=\"2xx\"}"), 1.0);
    assert_eq!(at_gateway("requests_total{outcome=\"4xx\"}"), 1.0);
    assert_eq!((at_gateway("received_bytes_total"), at_gateway("sent_bytes_total")), (500.0, 1000.0));
    until("open connections are counted", || (at_gateway("connections") == 1.0).then_some(()));
    drop(wire);
    until("and closed ones are not", || (at_gateway("connections") == 0.0).then_some(()));
}

#[test]
fn metrics_are_in_good_form() {
    let site = Site::start(|_| {});
    site.device().get(&(site.mutual() + "/echo"));
    let Ok(mut promtool) = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).spawn() else {
        println!("skipped: promtool is not installed");
        return;
    };
    let page = wait(site.gateway().ask("/metrics")).unwrap().body;
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();

    assert!(promtool.wait().unwrap().success());
}
