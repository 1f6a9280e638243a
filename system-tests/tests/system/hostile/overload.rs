//! A connection point that answers nothing, until its sessions hold as much as they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::half::FalsePoint;
use super::wire::kind;
use crate::http2::{get, peer::Peer};
use crate::support::{Caller, assert_refused_by, until, wait};

/// Exchanges that one session carries.
const CAPACITY: usize = 8_192;

/// Streams that a client may have on one connection.
const STREAMS: usize = 100;

#[test]
fn a_request_beyond_what_every_session_holds() {
    let liar = FalsePoint::start(|setup| {
        setup.lab.servers.server(&["modern.lab"]).unwrap().write(&setup.lab.site_dir(), "modern").unwrap();
        setup.gateway("[[certificate]]\nchain = \"modern.pem\"\nkey = \"modern.key\"\n[limits]\nconcurrent_requests = 0");
        setup.endpoint("modern", "host = \"modern.lab\"\nh2 = true\nidle = \"1h\"");
    });
    let mut tunnel = liar.serving(1, b"\x00\x01\x06modern");
    let came = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&came);
    let silent = wait(async {
        let counts = async move {
            loop {
                tunnel.expect(kind::REQUEST).await;
                counting.fetch_add(1, Ordering::Relaxed);
            }
        };
        tokio::spawn(counts).abort_handle()
    });
    let lab = &liar.setup.lab;
    let caller = Caller::new(lab, Some(&lab.client)).host("modern.lab");
    let peers: Vec<_> = (0..CAPACITY.div_ceil(STREAMS)).map(|_| Peer::connect_to(lab, caller.clone(), "modern.lab")).collect();
    let places = peers.iter().flat_map(|peer| std::iter::repeat_n(peer, STREAMS)).take(CAPACITY);
    let _held: Vec<_> = places.map(|peer| peer.open(get("/modern/x"), true).unwrap()).collect();
    until("every place is taken", || (came.load(Ordering::Relaxed) == CAPACITY).then_some(()));

    let reply = caller.get("/modern/x");

    assert_refused_by(&liar.gateway, &reply, (503, "CMGService_Overloaded", "overloaded"));
    assert!(reply.field("Retry-After").is_some());
    silent.abort();
}
