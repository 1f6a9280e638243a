//! WebSockets.

use super::SITE;
use crate::support::{Caller, Frame, UPGRADE, WebSocket, field};

#[test]
fn text_and_binary_pass_both_ways_with_a_certificate() {
    talk(&SITE.device(), &(SITE.mutual() + "/ws"));
}

#[test]
fn text_and_binary_pass_both_ways_with_a_token() {
    talk(&SITE.with_token(&SITE.lab().token), &(SITE.server() + "/ws"));
}

#[test]
fn text_and_binary_pass_both_ways_in_the_plain_form() {
    talk(&SITE.device(), "/patient/ws");
}

fn talk(caller: &Caller, target: &str) {
    let mut socket = WebSocket::open(caller, target);
    for frame in [Frame::Text("grüß dich".to_owned()), Frame::Binary(vec![0, 255, 10, 13]), Frame::Binary(vec![7; 700_000])] {
        socket.send(&frame);

        assert_eq!(socket.receive(), frame);
    }
    socket.send(&Frame::Close);
    assert_eq!(socket.receive(), Frame::Close);
    assert!(socket.wire.is_closed());
}

#[test]
fn many_frames_on_their_way_at_the_same_time_stay_in_order() {
    let mut socket = WebSocket::open(&SITE.device(), &(SITE.mutual() + "/ws"));
    let frames: Vec<_> = (0..200).map(|number| Frame::Text(format!("{number}"))).collect();
    frames.iter().for_each(|frame| socket.send(frame));

    let back: Vec<_> = frames.iter().map(|_| socket.receive()).collect();

    assert_eq!(back, frames);
}

#[test]
fn an_upgrade_that_the_server_declines_is_an_ordinary_answer() {
    let mut wire = SITE.device().open();
    wire.send_head("GET", &(SITE.mutual() + "/ws"), &UPGRADE[..2]);

    assert_eq!(wire.read().status, 426);
}

#[test]
fn an_upgrade_is_refused_where_the_endpoint_does_not_allow_it() {
    let mut wire = SITE.device().open();
    wire.send_head("GET", "/quiet/ws", &UPGRADE);

    SITE.assert_refused(&wire.read(), 403, "CMGService_Upgrade_Not_Allowed", "upgrade_not_allowed");
}

#[test]
fn an_upgrade_without_credentials_is_refused() {
    let mut wire = SITE.stranger().open();
    wire.send_head("GET", &(SITE.mutual() + "/ws"), &UPGRADE);

    SITE.assert_refused(&wire.read(), 403, "CMGService_Client_Certificate_Required", "certificate_missing");
}

#[test]
fn a_client_that_goes_away_closes_the_servers_end() {
    let mut socket = WebSocket::open(&SITE.device(), &(SITE.mutual() + "/ws?gone"));
    socket.send(&Frame::Text("here".to_owned()));
    socket.receive();
    drop(socket);

    crate::support::until("the server's end is closed", || {
        let seen = SITE.origin.seen();
        let found = seen.iter().find(|seen| seen.target == b"/ws?gone")?;
        (found.progress == cmg_lab::origin::Progress::Broken).then_some(())
    });
}

#[test]
fn a_websocket_that_its_client_closes_has_not_broken_off() {
    let target = SITE.mutual() + "/ws?closed-by-its-client";
    let mut socket = WebSocket::open(&SITE.device(), &target);
    socket.send(&Frame::Text("hello".to_owned()));
    socket.receive();

    socket.wire.close();

    assert_ended(&target);
}

#[test]
fn a_websocket_that_its_server_closes_has_not_broken_off() {
    let target = SITE.mutual() + "/ws?closed-by-its-server";
    let mut socket = WebSocket::open(&SITE.device(), &target);

    socket.send(&Frame::Close);

    assert_eq!(socket.receive(), Frame::Close);
    assert!(socket.wire.is_closed_properly());
    assert_ended(&target);
}

/// Asserts that both logs tell of an upgraded connection that came to its end.
#[track_caller]
fn assert_ended(target: &str) {
    let outside = SITE.log_line("the gateway", |line| field(line, "event") == "request" && field(line, "target") == target);
    let inside = SITE.point_log_line("the connection point", |line| field(line, "event") == "delivered" && field(line, "target") == target);
    for line in [outside, inside] {
        assert_eq!((line["status"].as_u64(), line["cut"].as_bool()), (Some(101), None), "{line}");
    }
}
