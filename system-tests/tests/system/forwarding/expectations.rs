//! Interim answers, and uploads that wait to be invited.

use super::SITE;

#[test]
fn early_hints_come_before_the_answer() {
    let reply = SITE.device().get(&(SITE.mutual() + "/early-hints"));

    let hints: Vec<_> = reply.interim.iter().map(|hint| (hint.status, hint.field("Link"))).collect();
    assert_eq!(hints, [(103, Some(format!("<{}/style.css>; rel=preload", SITE.mutual()).as_str()))]);
    assert_eq!((reply.status, reply.text().as_str()), (200, "after the hints\n"));
}

#[test]
fn an_upload_waits_until_the_server_invites_it() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/echo"), &[("Expect", "100-continue"), ("Content-Length", "4")]);
    assert_eq!(wire.read_head().unwrap().status, 100);

    wire.write(b"body");

    let reply = wire.read();
    assert_eq!(reply.echoed("Expect"), ["100-continue"], "the server decides, so it is asked");
    assert_eq!(reply.report()["length"], 4);
}

#[test]
fn a_body_that_does_not_wait_for_the_invitation_is_fine_too() {
    let mut wire = SITE.device().open();
    wire.send("POST", &(SITE.mutual() + "/echo"), &[("Expect", "100-continue")], b"eager");

    assert_eq!(wire.read().report()["length"], 5);
}

#[test]
fn an_upload_that_the_server_refuses_is_not_invited() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", &(SITE.mutual() + "/refuse-upload"), &[("Expect", "100-continue"), ("Content-Length", "1000000")]);

    let reply = wire.read();

    assert_eq!((reply.status, reply.interim.len()), (403, 0));
}

#[test]
fn an_upload_that_is_too_large_is_not_invited_and_never_reaches_the_server() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", "/small/upload?uninvited", &[("Expect", "100-continue"), ("Content-Length", "1001")]);

    let reply = wire.read();

    assert_eq!((reply.status, reply.interim.len()), (413, 0));
    assert!(!SITE.origin.seen().iter().any(|seen| seen.target == b"/upload?uninvited"));
}

#[test]
fn an_upload_without_credentials_is_not_invited() {
    let mut wire = SITE.stranger().open();
    wire.send_head("POST", &(SITE.mutual() + "/upload"), &[("Expect", "100-continue"), ("Content-Length", "4")]);

    let reply = wire.read();

    assert_eq!((reply.status, reply.interim.len()), (403, 0));
}

#[test]
fn an_upload_within_the_limit_passes_to_the_last_byte() {
    assert_eq!(SITE.device().request("POST", "/small/echo", &[], &[b'x'; 1000]).report()["length"], 1000);
}

#[test]
fn a_large_upload_that_the_server_refuses_unread_still_gets_the_servers_answer() {
    let mut wire = SITE.device().open();
    wire.send("POST", &(SITE.mutual() + "/refuse-upload"), &[], &vec![b'x'; 800_000]);

    assert_eq!(wire.read().status, 403);
}
