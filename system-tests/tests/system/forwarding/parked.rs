//! Requests that wait long for their answer. That minutes and hours pass is tested on a paused clock, in the crates: the tunnel and the
//! deadlines of the gateway.

use super::SITE;
use crate::support::until;

#[test]
fn a_parked_request_is_answered_when_the_server_lets_it_go() {
    let mut wire = SITE.device().open();
    wire.send("GET", "/patient/held?parked", &[], b"");
    until("it is parked", || SITE.origin.seen().iter().any(|seen| seen.target == b"/held?parked").then_some(()));
    // Others are served meanwhile.
    assert_eq!(SITE.device().get(&(SITE.mutual() + "/bytes/1")).status, 200);

    SITE.origin.release(1);

    assert_eq!(wire.read().text(), "released\n");
}

#[test]
fn a_server_may_take_two_seconds() {
    let reply = SITE.device().get(&(SITE.mutual() + "/slow/2000"));

    assert_eq!((reply.status, reply.text().as_str()), (200, "at last\n"));
}
