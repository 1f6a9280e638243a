//! What clients may cost that have not proven who they are.

use std::sync::LazyLock;
use std::time::Duration;

use crate::http2::get;
use crate::http2::peer::Peer;
use crate::support::{Setup, Site, Wire, until};

/// Room for the heads of all strangers together: 80 KiB beyond the first 4 KiB of each.
static SITE: LazyLock<Site> = LazyLock::new(|| Site::start(|setup| modern(setup, "connections = 20\nhead_time = \"1h\"")).shared());

/// Publishes the origin at a host name with HTTP/2, and sets limits.
fn modern(setup: &Setup, limits: &str) {
    let names = setup.lab.servers.server(&["modern.lab"]).unwrap();
    names.write(&setup.lab.site_dir(), "modern").unwrap();
    setup.gateway(&format!("[limits]\n{limits}\n[[certificate]]\nchain = \"modern.pem\"\nkey = \"modern.key\"\n"));
    setup.endpoint("modern", "host = \"modern.lab\"\nh2 = true");
}

/// The beginning of a long head.
fn begin(wire: &mut Wire) {
    wire.stream.sock.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    wire.write(format!("GET {}/echo HTTP/1.1\r\nHost: localhost\r\nX-Long: {}", SITE.mutual(), "x".repeat(60_000)).as_bytes());
}

#[test]
fn long_heads_of_strangers_share_a_bounded_room() {
    let mut wires = [SITE.stranger().open(), SITE.stranger().open()];
    wires.iter_mut().for_each(begin);

    let (refused, reply) =
        until("one of them is refused", || wires.iter_mut().enumerate().find_map(|(place, wire)| Some((place, wire.try_read().ok()?))));

    SITE.assert_refused(&reply, 503, "CMGService_Overloaded", "overloaded");
    assert_eq!(reply.field("Retry-After"), Some("2"));
    assert_eq!(SITE.stranger().get(&(SITE.mutual() + "/echo")).status, 403, "a small head has room");
    let mut known = SITE.device().open();
    known.send("GET", &(SITE.mutual() + "/echo"), &[], b"");
    assert_eq!(known.read().status, 200);
    begin(&mut known);
    known.write(b"\r\n\r\n");
    assert_eq!(until("a client that is known is served", || known.try_read().ok()).status, 200);

    let other = &mut wires[1 - refused];
    other.write(b"\r\n\r\n");
    assert_eq!(until("the other has its answer", || other.try_read().ok()).status, 403);
}

#[test]
fn a_connection_of_http2_on_which_nothing_is_let_in_is_kept_for_the_time_of_a_head() {
    let site = Site::start(|setup| modern(setup, "head_time = \"1s\""));
    let peer = Peer::connect(&site, site.stranger(), "modern.lab");

    assert_eq!(peer.ask(get("/modern/echo")).status, 403);

    assert!(peer.end().is_ok(), "it is told to go, long before keep_alive");
}

#[test]
fn a_connection_that_shows_one_bad_token_after_the_other_is_ended() {
    let mut wire = SITE.with_token("no.such.token").open();
    let mut ask = || {
        wire.send("GET", &(SITE.server() + "/echo"), &[], b"");
        let reply = wire.read();
        (reply.status, reply.field("Connection").map(ToOwned::to_owned))
    };

    for _ in 0..7 {
        assert_eq!(ask(), (401, None));
    }
    assert_eq!(ask(), (401, Some("close".to_owned())));
}

#[test]
fn a_connection_of_http2_that_does_is_ended_too() {
    let peer = Peer::connect(&SITE, SITE.stranger(), "modern.lab");
    let mut request = get("/modern/echo");
    request.headers_mut().insert("authorization", "Bearer no.such.token".parse().unwrap());

    let asked = (0..100).take_while(|_| peer.open(request.clone(), true).is_ok_and(|(answer, _)| crate::http2::peer::read(answer).is_ok()));

    assert!((8..100).contains(&asked.count()));
}
