//! SIGTERM: what is in flight is finished, then the program ends.

use std::time::Duration;

use cmg_lab::{Program, Signal};

use crate::support::{PATIENCE, Site, Wire, line_of, sha256, until, wait};

/// A request that is under way at the server.
fn held(site: &Site) -> Wire {
    let before = site.origin.requests();
    let mut wire = site.device().open();
    wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    until("it is there", || (site.origin.requests() > before).then_some(()));
    wire
}

#[track_caller]
fn ends_well(program: &mut Program) {
    let status = wait(async { tokio::time::timeout(PATIENCE, program.wait()).await });
    let status = status.expect("it ends").unwrap();
    assert!(status.success(), "{}: {status}", program.plan.name);
}

#[test]
fn a_gateway_finishes_what_is_in_flight() {
    let mut site = Site::start(|_| {});
    let mut wire = held(&site);
    let mut idle = site.device().open();

    wait(site.gateway().signal(Signal::Terminate)).unwrap();
    assert!(idle.is_closed_properly(), "idle connections are closed");
    assert!(site.device().try_open().is_err(), "and no new ones accepted");
    assert_eq!(wait(site.gateway().ask("/readyz")).unwrap().status, 503, "it says that it is going away");

    site.origin.release(1);
    assert_eq!(wire.read().status, 200);
    assert!(wire.is_closed_properly());
    ends_well(&mut site.system.gateways[0]);
}

#[test]
fn a_connection_point_finishes_what_is_in_flight() {
    let mut site = Site::of(1, 2, |_| {});
    let wires: Vec<Wire> = (0..4).map(|_| held(&site)).collect();

    wait(site.point().signal(Signal::Terminate)).unwrap();
    site.point_log_line("it drains", |line| line.to_string().contains("Draining"));

    // The other one takes what comes now.
    for _ in 0..4 {
        let reply = site.device().request("POST", &(site.mutual() + "/upload"), &[], b"x");
        assert_eq!((reply.status, reply.reason.as_str()), (200, "OK"));
    }
    site.origin.release(4);
    for mut wire in wires {
        assert_eq!(wire.read().status, 200);
    }
    ends_well(&mut site.system.connection_points[0]);
}

#[test]
fn a_download_in_flight_is_finished_whole() {
    let mut site = Site::start(|_| {});
    let mut wire = site.device().open();
    wire.send("GET", &(site.mutual() + "/bytes/20000000"), &[], b"");
    let head = wire.read_head().unwrap();
    assert_eq!(head.field("Content-Length"), Some("20000000"));

    wait(site.gateway().signal(Signal::Terminate)).unwrap();
    wait(site.point().signal(Signal::Terminate)).unwrap();

    assert_eq!(wire.read_bytes(20_000_000).unwrap(), cmg_lab::origin::pattern(0, 20_000_000));
    ends_well(&mut site.system.gateways[0]);
    ends_well(&mut site.system.connection_points[0]);
}

#[test]
fn a_head_that_has_begun_to_come_is_served() {
    let mut site = Site::start(|setup| setup.gateway("drain = \"1h\""));
    let mut wire = site.device().open();
    wire.write(format!("GET {}/echo HTTP/1.1\r\nHost: loc", site.mutual()).as_bytes());
    until("its first bytes are there", || (site.metric("cmg_gateway_requests_in_flight") == 1.0).then_some(()));

    wait(site.gateway().signal(Signal::Terminate)).unwrap();
    line_of(site.gateway(), "it drains", |line| line.to_string().contains("Draining"));
    wire.write(b"alhost\r\n\r\n");

    assert_eq!(wire.read().status, 200);
    ends_well(&mut site.system.gateways[0]);
}

/// An upload on a connection of its own, half of which is under way.
fn half_an_upload(site: &Site, body: &[u8]) -> Wire {
    let mut wire = site.device().open();
    wire.send_head("POST", &(site.mutual() + "/upload"), &[("Content-Length", &body.len().to_string())]);
    wire.write(&body[..body.len() / 2]);
    wire
}

#[test]
fn uploads_in_flight_are_finished_whole_again_and_again() {
    let body = cmg_lab::origin::pattern(0, 1_500_000);
    for round in 0..6 {
        let mut site = Site::start(|setup| setup.both("drain = \"1h\""));
        let mut wires: Vec<Wire> = (0..8).map(|_| half_an_upload(&site, &body)).collect();
        until("all are there", || (site.origin.requests() == 8).then_some(()));

        // The gateway, the connection point, both: each twice.
        let (gateway, point) = [(true, false), (false, true), (true, true)][round % 3];
        for (program, ends) in [(site.gateway(), gateway), (site.point(), point)] {
            if ends {
                wait(program.signal(Signal::Terminate)).unwrap();
                line_of(program, "it drains", |line| line.to_string().contains("Draining"));
            }
        }
        for wire in &mut wires {
            wire.write(&body[body.len() / 2..]);
        }

        for wire in &mut wires {
            assert_eq!(wire.read().report()["sha256"], sha256(&body), "round {round}");
        }
        if gateway {
            ends_well(&mut site.system.gateways[0]);
        }
        if point {
            ends_well(&mut site.system.connection_points[0]);
        }
    }
}

#[test]
fn a_drain_has_an_end() {
    let mut site = Site::start(|setup| setup.gateway("drain = \"200ms\""));
    let mut wire = held(&site);

    wait(site.gateway().signal(Signal::Terminate)).unwrap();

    ends_well(&mut site.system.gateways[0]);
    assert!(wire.try_read().is_err() || wire.is_closed(), "the request was given up");
}

#[test]
fn an_idle_program_ends_at_once() {
    let mut site = Site::start(|_| {});

    let failures = wait(site.system.stop());

    assert_eq!(failures, []);
}

#[test]
fn a_second_signal_ends_a_drain() {
    let mut site = Site::start(|setup| setup.gateway("drain = \"1h\""));
    let _wire = held(&site);
    wait(site.gateway().signal(Signal::Terminate)).unwrap();
    site.log_line("it drains", |line| line.to_string().contains("Draining"));

    let stopped = wait(site.system.gateways[0].stop(Duration::from_secs(20)));

    assert_eq!(stopped, Ok(()));
}
