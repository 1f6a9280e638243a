//! Gateways that lie, against a real connector. What only the connection point program can refuse is in the system tests.

use crate::support::{Point, RawGate, Site, Wire, kind, pattern, purpose, request, soon};

/// A liar with one session of a connection point.
struct Liar {
    gate: RawGate,
    point: Point,
    wire: Wire,
}

impl Liar {
    async fn new() -> Self {
        let site = Site::new();
        let gate = RawGate::start(&site, "gateway-1").await;
        let point = Point::with(&site, "point-1", gate.address, 1, 0);
        let (purpose, wire) = soon(gate.greet()).await;
        assert_eq!(purpose, purpose::SESSION);
        Self { gate, point, wire }
    }

    async fn says(&mut self, kind: u8, exchange: u32, payload: &[u8]) {
        let _ = self.wire.send(kind, exchange, payload).await;
    }

    /// The connection point has ended the session, and comes again as if nothing had been.
    async fn comes_again(mut self) {
        soon(self.wire.closed()).await;
        let (purpose, mut wire) = soon(self.gate.greet()).await;
        assert_eq!(purpose, purpose::SESSION);
        answers(&mut wire, 1).await;
    }
}

/// A request over `wire` is answered.
async fn answers(wire: &mut Wire, exchange: u32) {
    wire.send(kind::REQUEST | kind::END, exchange, &get("/bytes/5")).await.unwrap();
    assert_eq!(soon(wire.expect(kind::RESPONSE)).await.exchange, exchange);
    assert_eq!(soon(wire.expect(kind::DATA)).await.payload, pattern(5));
}

/// A request's head for another target than `/`.
fn get(target: &str) -> Vec<u8> {
    let mut head = request(0, &[]);
    head.truncate(head.len() - 3);
    head.extend_from_slice(&(target.len() as u16).to_be_bytes());
    head.extend_from_slice(target.as_bytes());
    head
}

#[tokio::test]
async fn a_credential_that_was_not_told() {
    let mut liar = Liar::new().await;

    liar.says(kind::REQUEST | kind::END, 1, &request(9, &[])).await;

    liar.comes_again().await;
}

#[tokio::test]
async fn a_credential_under_the_number_of_another() {
    let mut liar = Liar::new().await;

    liar.says(kind::CREDENTIAL, 1, b"\x02one").await;
    liar.says(kind::CREDENTIAL, 1, b"\x02another").await;

    liar.comes_again().await;
}

#[tokio::test]
async fn credentials_that_are_none() {
    for payload in [&b""[..], b"\x09what", b"\x01", b"\x01\x00\x00\x00\x09short", &[&[1][..], &[0; 4 * 11]].concat()] {
        let mut liar = Liar::new().await;

        liar.says(kind::CREDENTIAL, 1, payload).await;

        liar.comes_again().await;
    }
}

#[tokio::test]
async fn an_exchange_that_begins_twice() {
    let mut liar = Liar::new().await;

    liar.says(kind::REQUEST | kind::END, 1, &get("/hold")).await;
    liar.says(kind::REQUEST | kind::END, 1, &get("/hold")).await;

    liar.comes_again().await;
}

#[tokio::test]
async fn more_exchanges_than_a_session_may_have() {
    let mut liar = Liar::new().await;
    for exchange in 1..=10_000 {
        liar.says(kind::REQUEST | kind::END, exchange, &get("/hold")).await;
    }

    liar.says(kind::REQUEST | kind::END, 10_001, &get("/bytes/5")).await;

    let refused = soon(liar.wire.expect(kind::REFUSE)).await;
    assert_eq!(refused.exchange, 10_001);
    for exchange in 1..=10_000 {
        liar.says(kind::RESET | kind::END, exchange, b"").await;
    }
    crate::support::until(|| liar.point.connector.busy() == 0).await;
    answers(&mut liar.wire, 10_002).await;
}

#[tokio::test]
async fn heads_that_are_none() {
    let whole = request(0, &[(b"User-Agent", b"x")]);
    let changed = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    for head in [
        changed(b"User-Agent", b"User\r\nAgen"),
        changed(b"User-Agent", b"User Agent"),
        changed(b"GET", b"G T"),
        changed(b"files", b"fil\ns"),
        changed(b"files", b"fil\xff\xff"),
        changed(b"localhost", b"local\r\n\x00t"),
        changed(b"\x00\x01/", b"\x00\x01\r"),
        changed(&[4, 127, 0, 0, 1], &[5, 127, 0, 0, 1]),
        whole[..30].to_vec(),
        vec![],
    ] {
        let mut liar = Liar::new().await;

        liar.says(kind::REQUEST | kind::END, 1, &head).await;

        liar.comes_again().await;
    }
}

#[tokio::test]
async fn data_beyond_its_grant() {
    let mut liar = Liar::new().await;

    liar.says(kind::REQUEST, 1, &get("/hold")).await;
    for _ in 0..3 {
        liar.says(kind::DATA, 1, &pattern(60_000)).await;
    }

    liar.comes_again().await;
}

#[tokio::test]
async fn frames_that_a_connection_point_does_not_take() {
    for kind in [kind::RESPONSE, kind::INTERIM, kind::REFUSE, kind::SERVES, kind::HELLO, kind::CARRY, 99] {
        let mut liar = Liar::new().await;

        liar.says(kind, 1, b"\x00\xc8").await;

        liar.comes_again().await;
    }
}

#[tokio::test]
async fn a_request_that_has_crossed_a_drain_is_answered() {
    let mut liar = Liar::new().await;
    liar.point.connector.drain();
    soon(liar.wire.expect(kind::DRAIN)).await;

    liar.says(kind::REQUEST | kind::END, 1, &get("/bytes/5")).await;

    assert_eq!(soon(liar.wire.expect(kind::RESPONSE)).await.exchange, 1);
}

#[tokio::test]
async fn a_request_behind_the_gateways_own_drain_is_answered() {
    let mut liar = Liar::new().await;

    liar.says(kind::DRAIN, 0, b"").await;

    answers(&mut liar.wire, 1).await;
}

#[tokio::test]
async fn a_gateway_that_falls_silent_is_given_up() {
    let mut liar = Liar::new().await;

    // Nothing is said: not even pings are answered.
    while soon(liar.wire.receive()).await.is_some() {}

    assert_eq!(soon(liar.gate.greet()).await.0, purpose::SESSION);
}
