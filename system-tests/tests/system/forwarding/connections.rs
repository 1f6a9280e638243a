//! One connection after another, and one request after another on it.

use std::time::{Duration, Instant};

use cmg_lab::origin::Progress;

use super::SITE;
use crate::support::until;

#[test]
fn a_connection_serves_one_request_after_another() {
    let mut wire = SITE.device().open();
    for round in 0..5 {
        wire.send("GET", &format!("{}/echo?round={round}", SITE.mutual()), &[], b"");

        assert_eq!(wire.read().report()["target"], format!("/echo?round={round}"));
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut wire = SITE.device().open();
    for round in 0..5 {
        wire.send("GET", &format!("{}/echo?pipelined={round}", SITE.mutual()), &[], b"");
    }

    for round in 0..5 {
        assert_eq!(wire.read().report()["target"], format!("/echo?pipelined={round}"));
    }
}

#[test]
fn pipelined_uploads_are_answered_in_order() {
    let mut wire = SITE.device().open();
    for round in 1..=3 {
        wire.send("POST", &(SITE.mutual() + "/upload"), &[], &vec![b'x'; 20_000 * round]);
    }

    for round in 1..=3 {
        assert_eq!(wire.read().report()["length"], 20_000 * round);
    }
}

#[test]
fn a_request_that_asks_for_the_end_gets_it() {
    let mut wire = SITE.device().open();
    wire.send("GET", &(SITE.mutual() + "/bytes/3"), &[("Connection", "close")], b"");

    assert_eq!(wire.read().field("Connection"), Some("close"));
    assert!(wire.is_closed_properly());
}

#[test]
fn http_1_0_gets_an_answer_that_it_can_read() {
    let mut wire = SITE.device().open();
    wire.write(format!("GET {}/chunked/1000 HTTP/1.0\r\nHost: localhost\r\n\r\n", SITE.mutual()).as_bytes());

    let reply = wire.read();

    assert_eq!((reply.status, reply.field("Transfer-Encoding"), reply.body.len()), (200, None, 1000));
}

#[test]
fn http_1_0_keeps_its_connection_only_where_it_asks() {
    let mut wire = SITE.device().open();
    let request = format!("GET {}/bytes/3 HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n", SITE.mutual());
    for _ in 0..2 {
        wire.write(request.as_bytes());

        let reply = wire.read();

        assert_eq!((reply.field("Connection"), reply.body.len()), (Some("keep-alive"), 3));
    }
}

#[test]
fn clients_share_connections_to_the_server() {
    let before = SITE.origin.connections();
    for _ in 0..20 {
        assert_eq!(SITE.device().get(&(SITE.mutual() + "/bytes/1")).status, 200);
    }

    assert!(SITE.origin.connections() - before < 20, "not one for each");
}

#[test]
fn a_client_that_goes_away_ends_its_request_at_the_server_within_a_second() {
    let mut wire = SITE.device().open();
    wire.send("GET", &(SITE.mutual() + "/held?gone"), &[], b"");
    until("it is there", || progress("/held?gone"));
    let gone = Instant::now();
    drop(wire);

    until("it ended", || progress("/held?gone").filter(|progress| *progress == Progress::Broken));

    assert!(gone.elapsed() < Duration::from_secs(1), "{:?}", gone.elapsed());
}

#[test]
fn a_client_that_goes_away_in_mid_download_ends_it_at_the_server() {
    let mut wire = SITE.device().open();
    wire.send("GET", &(SITE.mutual() + "/bytes/1000000000?gone"), &[], b"");
    wire.read_bytes(300_000).unwrap();
    drop(wire);

    until("it ended", || progress("/bytes/1000000000?gone").filter(|progress| *progress == Progress::Broken));
}

fn progress(target: &str) -> Option<Progress> {
    SITE.origin.seen().iter().rev().find(|seen| seen.target == target.as_bytes()).map(|seen| seen.progress)
}
