//! Clients that stall, cancel and flood.

use std::collections::VecDeque;

use cmg_lab::origin::pattern;

use super::peer::{Peer, patiently, read, room};
use super::{MODERN, get, request, shared, site};
use crate::support::until;

#[test]
fn streams_that_stall_hold_up_nobody_else() {
    let site = site((1, 1));
    let peer = Peer::connect(&site, site.device(), MODERN);

    let unread: Vec<_> = (0..20).map(|_| peer.open(get("/modern/bytes/4000000"), true).unwrap().0).collect();
    // Nobody reads these bodies: the origin answers `/held` only when it is let.
    let mut uploads: Vec<_> = (0..20).map(|_| peer.open(request("POST", "/modern/held", &[]), false).unwrap()).collect();
    for (_, upload) in &mut uploads {
        patiently(async {
            for _ in 0..4 {
                let room = room(upload, 16_384).await.unwrap();
                upload.send_data(vec![0; room].into(), false).unwrap();
            }
        });
    }

    for _ in 0..20 {
        assert_eq!(peer.ask(get("/modern/bytes/1000")).body, pattern(0, 1000));
    }
    for answer in unread {
        assert_eq!(read(answer).unwrap().body.len(), 4_000_000);
    }
}

#[test]
fn a_client_may_have_a_hundred_streams() {
    let site = shared();
    let peer = Peer::connect(site, site.device(), MODERN);
    assert_eq!(peer.ask(get("/modern/echo")).status, 200);

    assert_eq!(peer.allowed_streams(), 100);
}

#[test]
fn a_flood_of_resets_ends_its_connection_and_hurts_nobody_else() {
    let site = site((1, 1));
    let neighbour = Peer::connect(&site, site.device(), MODERN);
    let attacker = Peer::connect(&site, site.device(), MODERN);

    // The last few are kept, so that they have left before they are reset.
    let mut open = VecDeque::new();
    let mut opened = 0;
    while let Ok(stream) = attacker.open(get("/modern/held"), true) {
        opened += 1;
        open.push_back(stream);
        if open.len() > 32 {
            open.pop_front();
        }
        assert!(opened < 100_000, "nobody stops it");
    }

    assert!(attacker.end().is_err(), "after {opened} streams");
    assert_eq!(neighbour.ask(get("/modern/bytes/1000")).body.len(), 1000);
    until("nothing is left of the flood", || (site.metric("cmg_gateway_requests_in_flight") == 0.0).then_some(()));
}

#[test]
fn streams_broken_off_one_by_one_are_counted_too() {
    let site = site((1, 1));
    let peer = Peer::connect(&site, site.device(), MODERN);
    let refused = "cmg_gateway_connections_refused_total{reason=\"too_many_resets\"}";

    let in_flight = || site.metric("cmg_gateway_requests_in_flight");
    let is_sent_away = || site.metric(refused) > 0.0;
    let mut broken_off = 0;
    while !is_sent_away() && broken_off < 10_000 {
        let streams: Vec<_> = (0..40).map_while(|_| peer.open(get("/modern/held"), true).ok()).collect();
        until("the requests are under way", || (in_flight() == 40.0 || is_sent_away()).then_some(()));
        broken_off += streams.len();
        drop(streams);
        until("the requests are over", || (in_flight() == 0.0).then_some(()));
    }

    assert!(broken_off >= 200, "people in a hurry are let be: {broken_off}");
    assert_eq!(peer.end().unwrap_err().reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
    assert_eq!(site.metric(refused), 1.0);
}
