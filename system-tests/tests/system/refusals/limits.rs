//! How much one client, and all of them together, may ask for.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{PATIENCE, Site, Wire, until};

#[test]
fn requests_in_a_second() {
    let site = Site::start(|setup| setup.gateway("[limits]\nrequests_per_second = 1\nburst = 3"));
    let target = site.mutual() + "/bytes/1";
    let mut wires: Vec<_> = (0..20).map(|_| site.device().open()).collect();
    wires.iter_mut().for_each(|wire| wire.send("GET", &target, &[], b""));
    let replies: Vec<_> = wires.iter_mut().map(Wire::read).collect();
    drop(wires);
    let again: Vec<_> = (0..20).map(|_| site.device().get(&target)).collect();

    let refused = replies.iter().find(|reply| reply.status != 200).expect("twenty requests at once are more than three");
    assert!(again.iter().any(|reply| reply.status == 429), "a new connection is no new allowance");

    site.assert_refused(refused, 429, "CMGService_Too_Many_Requests", "too_many_requests");
    assert!(refused.field("Retry-After").is_some());
    assert!(replies.iter().filter(|reply| reply.status == 200).count() >= 3, "a burst passes");
    let other = site.with_token(&site.lab().token).get(&(site.server() + "/bytes/1"));
    assert_eq!(other.status, 200, "another client is not concerned");
}

#[test]
fn requests_at_a_time() {
    let site = Site::start(|setup| setup.gateway("[limits]\nconcurrent_requests = 2"));
    let mut held: Vec<Wire> = (0..2).map(|_| site.device().open()).collect();
    for wire in &mut held {
        wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    }
    until("both are there", || (site.origin.requests() == 2).then_some(()));

    let reply = site.device().get(&(site.mutual() + "/bytes/1"));
    site.assert_refused(&reply, 429, "CMGService_Too_Many_Requests", "too_many_concurrent");

    site.origin.release(2);
    for wire in &mut held {
        assert_eq!(wire.read().status, 200);
    }
    assert_eq!(site.device().get(&(site.mutual() + "/bytes/1")).status, 200, "there is room again");
}

#[test]
fn connections_of_one_address() {
    let site = Site::start(|setup| setup.gateway("[limits]\nconnections_per_address = 10"));
    // The connection point's tunnels come from the same address; they count until each is known to be one.
    let held: Vec<_> = std::iter::from_fn(|| site.device().try_open().ok()).take(11).collect();

    assert!((5..=10).contains(&held.len()), "{} are let in", held.len());
    assert!(site.metric("cmg_gateway_connections_refused_total{reason=\"too_many_from_address\"}") >= 1.0);

    drop(held);
    until("there is room again", || site.device().try_open().ok());
}

#[test]
fn connections_of_all() {
    let site = Site::start(|setup| setup.gateway("[limits]\nconnections = 2"));
    let mut held: Vec<_> = (0..2).map(|_| site.device().open()).collect();
    for wire in &mut held {
        wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
        assert_eq!(wire.read().status, 200);
    }

    assert!(site.device().open().is_closed());
    assert!(site.metric("cmg_gateway_connections_refused_total{reason=\"too_many\"}") >= 1.0);
}

#[test]
fn a_head_that_comes_too_slowly() {
    let site = Site::start(|setup| setup.gateway("[limits]\nhead_time = \"200ms\""));
    let mut wire = site.device().open();
    wire.write(b"GET / HTTP/1.1\r\nHost: loc");

    let reply = wire.read();

    site.assert_refused(&reply, 408, "CMGService_Request_Timeout", "head_timeout");
    assert!(wire.is_closed());
}

#[test]
fn an_idle_connection_is_closed() {
    let site = Site::start(|setup| setup.gateway("[limits]\nkeep_alive = \"200ms\""));

    assert!(site.device().open().is_closed_properly());
}

#[test]
fn a_handshake_that_comes_too_slowly() {
    let site = Site::start(|setup| setup.gateway("[limits]\nhandshake_time = \"200ms\""));
    let mut silent = TcpStream::connect(("127.0.0.1", site.lab().gateways[0].port)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();

    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
    until("counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"handshake_timeout\"}") >= 1.0).then_some(()));
}

#[test]
fn what_is_no_tls() {
    let site = Site::start(|_| {});
    let mut stranger = TcpStream::connect(("127.0.0.1", site.lab().gateways[0].port)).unwrap();
    stranger.set_read_timeout(Some(PATIENCE)).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());

    until("counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"handshake_failed\"}") >= 1.0).then_some(()));
}

#[test]
fn handshakes_in_progress_wait_for_their_turn() {
    let site = Site::start(|setup| setup.gateway("[limits]\nhandshakes = 3\nhandshake_time = \"500ms\""));
    let _silent: Vec<_> = (0..4).map(|_| TcpStream::connect(("127.0.0.1", site.lab().gateways[0].port)).unwrap()).collect();

    assert_eq!(site.device().get(&(site.mutual() + "/bytes/1")).status, 200, "after those that never speak have been given up");
}
