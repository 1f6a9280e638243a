//! Exchanges between two honest ends.

use cmg_core::refusal::Refusal;
use cmg_tunnel::{BodyLength, Event};

use crate::support::{Answer, End, Gate, Point, Site, Wire, kind, pattern, receive, soon, talk, until};

/// Around the bytes that go with a head, the longest frame, and the window.
const SIZES: [usize; 14] = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 131_007, 131_008, 131_072, 131_073, 300_000, 3_000_000];

fn whole(body: Vec<u8>) -> Answer {
    Answer { status: 200, body, end: End::Whole }
}

async fn pair(lanes: usize) -> (Gate, Point) {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::with(&site, "point-1", gate.address, 1, lanes);
    gate.has(1).await;
    (gate, point)
}

#[tokio::test]
async fn bodies_of_every_size_arrive_whole_both_ways() {
    let (gate, _point) = pair(2).await;
    for size in SIZES {
        let body = pattern(size);

        assert!(gate.exchange("/echo", &body).await == whole(body.clone()), "{size} bytes of known length");
        assert!(gate.stream("/echo", &body).await == whole(body), "{size} bytes of unknown length");
        assert!(gate.exchange(&format!("/bytes/{size}"), b"").await == whole(pattern(size)), "{size} bytes down");
    }
}

#[tokio::test]
async fn without_a_lane_the_window_carries_bodies_of_every_size() {
    let (gate, _point) = pair(0).await;
    for size in SIZES {
        let body = pattern(size);

        assert!(gate.exchange("/echo", &body).await == whole(body.clone()), "{size} bytes of known length");
        assert!(gate.stream("/echo", &body).await == whole(body), "{size} bytes of unknown length");
        assert!(gate.exchange(&format!("/bytes/{size}"), b"").await == whole(pattern(size)), "{size} bytes down");
    }
}

#[tokio::test]
async fn many_exchanges_run_at_once() {
    let (gate, _point) = pair(2).await;
    let exchanges: Vec<_> =
        (0..500_usize).map(|n| (n, gate.open("/echo", BodyLength::Exact(n as u64), &pattern(n), true).unwrap())).collect();

    for (n, exchange) in exchanges {
        assert_eq!(soon(talk(exchange, b"")).await, whole(pattern(n)));
    }
}

#[tokio::test]
async fn forty_stalled_readers_stall_nobody_else() {
    let (gate, _point) = pair(2).await;
    let stalled: Vec<_> = (0..40).map(|_| gate.open("/bytes/4000000", BodyLength::None, b"", true).unwrap()).collect();

    for n in 0..200 {
        assert_eq!(gate.exchange(&format!("/bytes/{n}"), b"").await, whole(pattern(n)));
    }
    for exchange in stalled {
        let answer = soon(talk(exchange, b"")).await;
        assert!(answer == whole(pattern(4_000_000)), "{} bytes, {:?}", answer.body.len(), answer.end);
    }
}

#[tokio::test]
async fn forty_stalled_readers_without_a_lane_stall_nobody_else() {
    let (gate, _point) = pair(0).await;
    let _stalled: Vec<_> = (0..40).map(|_| gate.open("/bytes/4000000", BodyLength::None, b"", true).unwrap()).collect();

    for n in 0..200 {
        assert_eq!(gate.exchange(&format!("/bytes/{n}"), b"").await, whole(pattern(n)));
    }
}

#[tokio::test]
async fn an_early_answer_is_whole_although_the_request_never_ends() {
    for lanes in [0, 2] {
        let (gate, _point) = pair(lanes).await;
        for size in [100, 20_000, 100_000, 1_000_000] {
            let mut exchange = gate.open(&format!("/early/{size}"), BodyLength::Exact(1 << 40), &pattern(16_384), false).unwrap();

            assert!(soon(receive(&mut exchange)).await == whole(pattern(size)), "{size} bytes with {lanes} lanes");
        }
    }
}

#[tokio::test]
async fn an_upgraded_exchange_carries_more_than_a_window_both_ways() {
    let (gate, _point) = pair(2).await;
    let mut exchange = gate.open("/upgrade", BodyLength::None, b"", true).unwrap();
    exchange.stay();

    let answer = soon(talk(exchange, &pattern(1_000_000))).await;

    assert!(answer == Answer { status: 101, body: pattern(1_000_000), end: End::Whole });
}

#[tokio::test]
async fn a_refusal_keeps_its_reason() {
    let (gate, _point) = pair(0).await;

    assert_eq!(gate.exchange("/refuse", b"").await.end, End::Refused(Refusal::ServerUnreachable));
}

#[tokio::test]
async fn an_exchange_dropped_inside_is_reset() {
    let (gate, _point) = pair(2).await;

    assert_eq!(gate.exchange("/drop", b"").await.end, End::Reset);
    assert_eq!(gate.exchange("/drop", &pattern(1_000_000)).await.end, End::Reset);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_end() {
    let (gate, _point) = pair(2).await;

    let answer = gate.exchange("/cut", b"").await;

    assert_eq!(answer, Answer { status: 200, body: b"the beginning".to_vec(), end: End::Reset });
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_request_inside() {
    let (gate, point) = pair(0).await;
    let exchange = gate.open("/hold", BodyLength::None, b"", true).unwrap();
    // The answer to a later request shows that the one before has arrived.
    assert_eq!(gate.exchange("/bytes/1", b"").await, whole(pattern(1)));

    drop(exchange);

    until(|| point.connector.busy() == 0).await;
}

#[tokio::test]
async fn a_session_that_ends_loses_what_was_sent() {
    let (gate, point) = pair(0).await;
    let mut exchange = gate.open("/hold", BodyLength::None, b"", true).unwrap();
    assert_eq!(gate.exchange("/bytes/1", b"").await, whole(pattern(1)));

    point.connector.stop();

    assert_eq!(soon(receive(&mut exchange)).await.end, End::Lost);
}

#[tokio::test]
async fn without_a_session_nothing_is_opened() {
    let site = Site::new();
    let gate = Gate::start(&site).await;

    assert_eq!(gate.open("/", BodyLength::None, b"", true).err(), Some(Refusal::NoConnectionPoint));
}

#[tokio::test]
async fn what_is_not_served_any_more_is_not_opened() {
    let (gate, point) = pair(0).await;

    point.serves.send_replace(vec!["another".to_owned()]);

    until(|| gate.open("/bytes/1", BodyLength::None, b"", true).err() == Some(Refusal::NoConnectionPoint)).await;
}

#[tokio::test]
async fn a_connection_point_that_drains_finishes_what_it_has() {
    let (gate, point) = pair(2).await;
    let exchange = gate.open("/echo", BodyLength::Unknown, b"", false).unwrap();
    assert_eq!(gate.exchange("/bytes/1", b"").await, whole(pattern(1)));

    point.connector.drain();

    until(|| gate.open("/bytes/1", BodyLength::None, b"", true).err() == Some(Refusal::NoConnectionPoint)).await;
    assert!(soon(talk(exchange, &pattern(500_000))).await == whole(pattern(500_000)));
}

#[tokio::test]
async fn a_gateway_that_drains_finishes_what_it_has() {
    let (gate, _point) = pair(2).await;
    let exchange = gate.open("/echo", BodyLength::Unknown, b"", false).unwrap();
    assert_eq!(gate.exchange("/bytes/1", b"").await, whole(pattern(1)));

    gate.hub.drain();

    assert!(soon(talk(exchange, &pattern(500_000))).await == whole(pattern(500_000)));
}

#[tokio::test]
async fn several_sessions_share_the_work() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut sessions = vec![];
    for id in 1..=3 {
        let mut session = Wire::session(gate.address, site.point("point-1"), id).await;
        sessions.push(tokio::spawn(async move { session.expect(kind::REQUEST).await }));
    }
    gate.has(3).await;

    let mut held = vec![];
    until(|| {
        held.push(gate.open("/", BodyLength::None, b"", true));
        sessions.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
}

#[tokio::test]
async fn a_body_that_nobody_reads_stops_its_sender() {
    let (gate, _point) = pair(0).await;
    let mut exchange = gate.open("/bytes/100000000", BodyLength::None, b"", true).unwrap();
    assert!(matches!(soon(exchange.event()).await, Event::Response(_)));

    // Everything that may come without leave has come once another exchange has been answered; it is less than a window.
    assert_eq!(gate.exchange("/bytes/1", b"").await, whole(pattern(1)));
    let mut held = 0;
    std::future::poll_fn(|cx| {
        while let std::task::Poll::Ready(Event::Data(bytes)) = exchange.poll_event(cx) {
            held += bytes.len();
        }
        std::task::Poll::Ready(())
    })
    .await;

    assert!(held <= 128 * 1024, "{held} bytes");
}
