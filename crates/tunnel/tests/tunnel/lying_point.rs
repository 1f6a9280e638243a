//! Connection points that lie, against a real gateway's end: whatever they send ends their own session and nothing else.

use cmg_tunnel::{BodyLength, Credentials, Event, Exchange};

use crate::support::{End, Frame, Gate, Site, Wire, kind, pattern, purpose, receive, request, response, soon, until};

/// A liar with one exchange under way.
struct Liar {
    site: Site,
    gate: Gate,
    wire: Wire,
    exchange: Exchange,
    number: u32,
}

impl Liar {
    async fn new() -> Self {
        let site = Site::new();
        let gate = Gate::start(&site).await;
        let mut wire = Wire::session(gate.address, site.point("point-1"), 1).await;
        gate.has(1).await;
        let exchange = gate.open("/", BodyLength::None, b"", true).unwrap();
        let number = wire.expect(kind::REQUEST).await.exchange;
        Self { site, gate, wire, exchange, number }
    }

    async fn says(&mut self, kind: u8, payload: &[u8]) {
        // The gateway may have hung up already: that is what these tests are about.
        let _ = self.wire.send(kind, self.number, payload).await;
    }

    /// The session has ended, its exchange knows, and another connection point is served as if nothing had been.
    async fn ends(mut self) {
        soon(self.wire.closed()).await;
        assert_eq!(soon(receive(&mut self.exchange)).await.end, End::Lost);
        self.gate.has(0).await;
        let mut honest = Wire::session(self.gate.address, self.site.point("point-2"), 2).await;
        self.gate.has(1).await;
        answers(&self.gate, &mut honest).await;
    }

    /// The gateway closes `lane`, and the session stands.
    async fn loses(&mut self, lane: &mut Wire) {
        tokio::select! {
            () = soon(lane.closed()) => {}
            () = self.wire.closed() => panic!("the session is over"),
        }
    }

    /// The session stands and carries requests.
    async fn goes_on(mut self) {
        answers(&self.gate, &mut self.wire).await;
    }
}

/// A request over `wire` is answered.
async fn answers(gate: &Gate, wire: &mut Wire) {
    let mut exchange = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = soon(wire.expect(kind::REQUEST)).await.exchange;
    wire.send(kind::RESPONSE | kind::END, number, &response(204, &[])).await.unwrap();
    assert_eq!(soon(receive(&mut exchange)).await.status, 204);
}

#[tokio::test]
async fn frames_of_an_unknown_exchange_are_dropped() {
    let mut liar = Liar::new().await;
    liar.number += 1_000;

    liar.says(kind::RESPONSE, &response(200, &[])).await;
    liar.says(kind::DATA, b"hello").await;
    liar.says(kind::CREDIT, &1_u32.to_be_bytes()).await;
    liar.says(kind::MOVED, b"").await;
    liar.says(kind::TRAILERS | kind::END, b"").await;
    liar.says(kind::RESET, b"").await;

    liar.number -= 1_000;
    liar.goes_on().await;
}

#[tokio::test]
async fn data_beyond_its_grant() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESPONSE, &response(200, &[])).await;
    for _ in 0..3 {
        liar.says(kind::DATA, &pattern(60_000)).await;
    }

    liar.ends().await;
}

#[tokio::test]
async fn a_second_answer() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESPONSE, &response(200, &[])).await;
    liar.says(kind::RESPONSE, &response(200, &[])).await;

    liar.ends().await;
}

#[tokio::test]
async fn a_refusal_behind_an_answer() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESPONSE, &response(200, &[])).await;
    liar.says(kind::REFUSE | kind::END, &[0, 1]).await;

    liar.ends().await;
}

#[tokio::test]
async fn a_refusal_with_a_number_that_nobody_knows_is_a_refusal() {
    let mut liar = Liar::new().await;

    liar.says(kind::REFUSE | kind::END, &[255, 255]).await;

    assert!(matches!(soon(receive(&mut liar.exchange)).await.end, End::Refused(_)));
    liar.goes_on().await;
}

#[tokio::test]
async fn heads_that_are_none() {
    for head in [
        response(200, &[(b"X", b"a\r\nInjected: yes")]),
        response(200, &[(b"X\r\nInjected", b"yes")]),
        response(200, &[(b"X Y", b"z")]),
        response(200, &[(b"", b"z")]),
        response(99, &[]),
        response(1_000, &[]),
        response(100, &[]),
        response(101, &[]),
        [&[0, 200, 0][..], &[0; 8], b"\x04OK\r\n"].concat(),
        // A 200 that upgrades.
        [&[0, 200, 1][..], &[0; 9]].concat(),
        vec![0],
        vec![],
    ] {
        let mut liar = Liar::new().await;

        liar.says(kind::RESPONSE, &head).await;

        liar.ends().await;
    }
}

#[tokio::test]
async fn an_interim_head_with_the_status_of_an_answer() {
    let mut liar = Liar::new().await;

    liar.says(kind::INTERIM, &response(200, &[])).await;

    liar.ends().await;
}

#[tokio::test]
async fn interim_heads_without_end() {
    let mut liar = Liar::new().await;

    for _ in 0..65 {
        liar.says(kind::INTERIM, &response(103, &[(b"Link", &[b'x'; 60_000])])).await;
    }

    soon(liar.wire.closed()).await;
    liar.gate.has(0).await;
}

#[tokio::test]
async fn an_end_behind_the_end() {
    for (first, second) in [(kind::DATA, kind::TRAILERS), (kind::TRAILERS, kind::TRAILERS), (kind::TRAILERS, kind::DATA)] {
        let mut liar = Liar::new().await;

        liar.says(kind::RESPONSE, &response(200, &[])).await;
        liar.says(first | kind::END, b"").await;
        liar.says(second | kind::END, b"").await;

        soon(liar.wire.closed()).await;
    }
}

#[tokio::test]
async fn data_behind_the_end() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESPONSE | kind::END, &response(200, &[])).await;
    liar.says(kind::DATA, b"more").await;

    soon(liar.wire.closed()).await;
}

#[tokio::test]
async fn what_comes_behind_a_reset_is_dropped() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESET | kind::END, b"").await;
    liar.says(kind::DATA, b"from a queue that the reset has overtaken").await;
    liar.says(kind::DATA | kind::END, b"").await;

    assert_eq!(soon(receive(&mut liar.exchange)).await.end, End::Reset);
    liar.goes_on().await;
}

#[tokio::test]
async fn a_flood_for_an_exchange_that_nobody_reads() {
    for (kind, payload) in [(kind::CREDIT, &[0, 0, 0, 1][..]), (kind::CREDIT, &[255; 4])] {
        let mut liar = Liar::new().await;

        for _ in 0..5_000 {
            liar.says(kind, payload).await;
        }

        soon(liar.wire.closed()).await;
    }
}

#[tokio::test]
async fn a_direction_that_moves_twice() {
    let mut liar = Liar::new().await;

    liar.says(kind::MOVED, b"").await;
    liar.says(kind::MOVED, b"").await;

    liar.ends().await;
}

#[tokio::test]
async fn credit_beyond_a_window_is_not_used() {
    let mut liar = Liar::new().await;
    let mut exchange = liar.gate.open("/", BodyLength::Unknown, b"", false).unwrap();
    liar.number = liar.wire.expect(kind::REQUEST).await.exchange;
    liar.says(kind::CREDIT, &u32::MAX.to_be_bytes()).await;
    answers(&liar.gate, &mut liar.wire).await;

    let mut rest = bytes::BytesMut::from(&pattern(10_000_000)[..]);
    std::future::poll_fn(|cx| {
        while exchange.poll_send(cx, &mut rest, 10_000, false).is_ready() {}
        std::task::Poll::Ready(())
    })
    .await;

    assert!(10_000_000 - rest.len() <= 128 * 1024, "{} bytes were queued", 10_000_000 - rest.len());
}

#[tokio::test]
async fn frames_that_are_none() {
    for bytes in [
        // An unknown kind, none, and one with only its end.
        &[0, 0, 0, 99, 0, 0, 0, 1][..],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, kind::END, 0, 0, 0, 1],
        // Longer than their kind allows.
        &[0, 0, 17, kind::PING, 0, 0, 0, 0],
        &[1, 0, 1, kind::DATA, 0, 0, 0, 1],
        &[255, 255, 255, kind::RESPONSE, 0, 0, 0, 1],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let mut liar = Liar::new().await;

        let _ = liar.wire.send_bytes(bytes).await;

        liar.ends().await;
    }
}

#[tokio::test]
async fn frames_that_a_gateway_does_not_take() {
    for (kind, payload) in [
        (kind::REQUEST, request(0, &[])),
        (kind::CREDENTIAL, b"\x02token".to_vec()),
        (kind::GREETING, vec![0, 1, 0, 1]),
        (kind::HELLO, vec![0, 1, 1]),
        (kind::CARRY, 5_u64.to_be_bytes().to_vec()),
        (kind::CREDIT, vec![1]),
        (kind::SERVES, vec![]),
        (kind::SERVES, b"\x00\x02\x05files".to_vec()),
        (kind::SERVES, b"\x00\x01\x05fil/s".to_vec()),
        (kind::SERVES, b"\x00\x01\x05files more".to_vec()),
    ] {
        let mut liar = Liar::new().await;

        liar.says(kind, &payload).await;

        liar.ends().await;
    }
}

#[tokio::test]
async fn another_connection_points_session_gets_no_lane() {
    let mut liar = Liar::new().await;

    for purpose in [purpose::DOWN, purpose::UP] {
        let mut lane = Wire::dial(liar.gate.address, liar.site.point("point-2")).await.hello(purpose, 1).await;
        liar.loses(&mut lane).await;
    }

    assert_eq!(liar.gate.hub.lanes(), (0, 0));
    liar.goes_on().await;
}

#[tokio::test]
async fn a_lane_of_an_unknown_session_is_refused() {
    let mut liar = Liar::new().await;

    let mut lane = Wire::dial(liar.gate.address, liar.site.point("point-1")).await.hello(purpose::UP, 99).await;

    liar.loses(&mut lane).await;
    liar.goes_on().await;
}

#[tokio::test]
async fn a_lane_that_carries_garbage_is_closed() {
    let liar = Liar::new().await;
    let point = liar.site.point("point-1");

    for (kind, payload) in [(kind::DATA, &b"what for?"[..]), (kind::CARRY, b"short"), (kind::RESPONSE, b""), (99, b"")] {
        let mut lane = Wire::dial(liar.gate.address, point.clone()).await.hello(purpose::DOWN, 1).await;
        lane.send(kind, liar.number, payload).await.unwrap();
        soon(lane.closed()).await;
    }

    liar.goes_on().await;
}

#[tokio::test]
async fn what_a_lane_carries_for_nobody_is_dropped() {
    let liar = Liar::new().await;
    let mut lane = Wire::dial(liar.gate.address, liar.site.point("point-1")).await.hello(purpose::DOWN, 1).await;
    until(|| liar.gate.hub.lanes() == (0, 1)).await;

    for number in [liar.number + 1, 4_711, 0] {
        lane.send(kind::CARRY, number, &9_u64.to_be_bytes()).await.unwrap();
        lane.send_bytes(b"what for?").await.unwrap();
    }

    // It is read on, behind all of it.
    lane.send(kind::DATA, 0, b"garbage").await.unwrap();
    soon(lane.closed()).await;
    liar.goes_on().await;
}

#[tokio::test]
async fn what_a_lane_carries_for_nobody_on_and_on_ends_it() {
    let liar = Liar::new().await;
    let mut lane = Wire::dial(liar.gate.address, liar.site.point("point-1")).await.hello(purpose::DOWN, 1).await;
    let mebibyte = vec![7; 1 << 20];

    lane.send(kind::CARRY, 4_711, &u64::MAX.wrapping_sub(1).to_be_bytes()).await.unwrap();
    let mut sent = 0;
    while soon(lane.send_bytes(&mebibyte)).await.is_ok() {
        sent += 1;
        assert!(sent < 256, "{sent} MiB were taken");
    }

    assert!(sent >= 64, "{sent} MiB");
}

#[tokio::test]
async fn one_connection_point_has_so_many_sessions_and_not_more() {
    let liar = Liar::new().await;
    let point = liar.site.point("point-1");
    let mut sessions = vec![];
    for id in 2..=64 {
        sessions.push(Wire::session(liar.gate.address, point.clone(), id).await);
    }
    liar.gate.has(64).await;

    let mut further = Wire::dial(liar.gate.address, point).await.hello(purpose::SESSION, 65).await;
    soon(further.closed()).await;

    let mut honest = Wire::session(liar.gate.address, liar.site.point("point-2"), 1).await;
    liar.gate.has(65).await;
    assert_eq!(soon(honest.expect(kind::PING)).await.kind, kind::PING);
}

#[tokio::test]
async fn a_session_that_falls_silent_is_given_up() {
    let mut liar = Liar::new().await;

    assert_eq!(soon(receive(&mut liar.exchange)).await.end, End::Lost);

    liar.gate.has(0).await;
    drop(liar.wire);
}

#[tokio::test]
async fn a_credential_is_told_before_it_is_named_and_forgotten_after_its_client() {
    let mut liar = Liar::new().await;
    let mut credentials = Credentials::token(b"a token");
    let mut numbers = vec![];
    for _ in 0..2 {
        let _exchange = liar.gate.open_as(Some(&mut credentials), "/", BodyLength::None, b"", true).unwrap();
        numbers.push(next_of(&mut liar.wire, &[kind::CREDENTIAL, kind::REQUEST]).await);
    }

    drop(credentials);

    let (told, named) = (&numbers[0], &numbers[1]);
    assert_eq!((told.kind, &told.payload[..]), (kind::CREDENTIAL, &b"\x02a token"[..]));
    assert_eq!(named.kind, kind::REQUEST | kind::END, "the request before it came behind the credential");
    assert_eq!(named.payload[16..20], told.exchange.to_be_bytes());
    assert_eq!(soon(liar.wire.expect(6)).await.exchange, told.exchange);
}

async fn next_of(wire: &mut Wire, kinds: &[u8]) -> Frame {
    loop {
        let frame = soon(wire.receive()).await.unwrap();
        if kinds.contains(&(frame.kind & !kind::END)) {
            return frame;
        }
    }
}

#[tokio::test]
async fn events_of_a_thrown_out_session_end_with_its_loss() {
    let mut liar = Liar::new().await;

    liar.says(kind::RESPONSE, &response(200, &[])).await;
    liar.says(99, b"").await;

    assert!(matches!(soon(liar.exchange.event()).await, Event::Response(_)));
    assert!(matches!(soon(liar.exchange.event()).await, Event::Lost));
}
