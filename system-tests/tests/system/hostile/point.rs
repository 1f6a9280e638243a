//! A connection point that lies, against a real gateway: what a client must not be made to believe.

use std::io::ErrorKind;

use cmg_core::refusal::Refusal;

use super::claims::MUTUAL;
use super::half::FalsePoint;
use super::wire::{Wire as Tunnel, kind, response};
use crate::support::{Caller, PATIENCE, Reply, Wire, assert_refused_by, metric_of, until, wait};

/// The payload of RESPONSE with a body of that length; none: known at its end.
fn with_body(status: u16, length: Option<u64>, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut head = response(status, fields);
    head[2] = if length.is_some() { 24 } else { 8 };
    head[3..11].copy_from_slice(&length.unwrap_or(0).to_be_bytes());
    head
}

/// A request that has come to the liar, and the client that waits for its answer.
struct Asked {
    liar: FalsePoint,
    client: Wire,
    tunnel: Tunnel,
    exchange: u32,
}

impl Asked {
    fn new() -> Self {
        let mut liar = FalsePoint::start(|_| ());
        let mut tunnel = liar.session(1);
        let mut client = Caller::new(&liar.setup.lab, Some(&liar.setup.lab.client)).open();
        client.send("GET", &format!("{MUTUAL}/x"), &[], b"");
        let exchange = wait(tunnel.expect(kind::REQUEST)).exchange;
        Self { liar, client, tunnel, exchange }
    }

    fn says(&mut self, frames: &[(u8, &[u8])]) {
        for (kind, payload) in frames {
            // The gateway may have hung up already.
            let _ = wait(self.tunnel.send(*kind, self.exchange, payload));
        }
    }

    /// The client is told that there is no answer, and the gateway serves on.
    #[track_caller]
    fn gives_no_answer(mut self) {
        let reply = self.client.read();
        assert!(matches!(reply.status, 502 | 503), "{reply:?}");
        assert!(reply.reason.starts_with("CMGService_"), "{reply:?}");
        self.serves_on();
    }

    /// The client is told that the connection point broke the protocol, and the gateway serves on.
    #[track_caller]
    fn gives_a_bad_gateway(mut self) {
        let told = (502, "CMGService_Bad_Gateway", "connection_point_misbehaved");
        assert_refused_by(&self.liar.gateway, &self.client.read(), told);
        self.serves_on();
    }

    /// The client sees the answer break off, and never a byte behind it; the gateway serves on.
    #[track_caller]
    fn breaks_off(mut self) {
        let error = self.client.try_read().unwrap_err();
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "the client waits for the rest: {error}");
        // What came of the body may be there; nothing behind it can be read as another answer.
        assert!(self.client.try_read().is_err());
        self.serves_on();
    }

    /// Another session is used as if nothing had been.
    fn serves_on(mut self) {
        let mut tunnel = self.liar.session(2);
        drop(self.tunnel);
        let caller = Caller::new(&self.liar.setup.lab, Some(&self.liar.setup.lab.client));
        let honest = async move {
            loop {
                let exchange = tunnel.expect(kind::REQUEST).await.exchange;
                let _ = tunnel.send(kind::RESPONSE | kind::END, exchange, &response(204, &[])).await;
            }
        };
        let honest = wait(async { tokio::spawn(honest).abort_handle() });
        until("an answer through the other session", || (caller.get(&format!("{MUTUAL}/x")).status == 204).then_some(()));
        honest.abort();
    }
}

/// A request of a client of its own, answered over `tunnel`.
fn ask(liar: &FalsePoint, tunnel: &mut Tunnel, answer: impl Fn(u32) -> Vec<(u8, Vec<u8>)>) -> Reply {
    let mut client = Caller::new(&liar.setup.lab, Some(&liar.setup.lab.client)).open();
    client.send("GET", &format!("{MUTUAL}/x"), &[], b"");
    wait(async {
        let exchange = tunnel.expect(kind::REQUEST).await.exchange;
        for (kind, payload) in answer(exchange) {
            tunnel.send(kind, exchange, &payload).await.unwrap();
        }
    });
    client.read()
}

#[test]
fn data_before_a_head() {
    let mut asked = Asked::new();
    asked.says(&[(kind::DATA, b"HTTP/1.1 200 OK\r\n\r\n")]);
    asked.gives_no_answer();
}

#[test]
fn an_end_before_a_head() {
    let mut asked = Asked::new();
    asked.says(&[(kind::DATA | kind::END, b"")]);
    asked.gives_no_answer();
}

#[test]
fn an_upgrade_that_nobody_asked_for() {
    let mut asked = Asked::new();
    let mut head = response(101, &[]);
    head[2] = 1;
    asked.says(&[(kind::RESPONSE, &head)]);
    asked.gives_a_bad_gateway();
}

#[test]
fn an_interim_head_that_is_an_answer() {
    let mut asked = Asked::new();
    asked.says(&[(kind::INTERIM, &with_body(200, Some(5), &[]))]);
    asked.gives_no_answer();
}

#[test]
fn an_answer_that_is_an_interim_head() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE | kind::END, &response(100, &[]))]);
    asked.gives_no_answer();
}

#[test]
fn a_head_with_a_line_too_many() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE, &response(200, &[(b"X", b"a\r\nSet-Cookie: b")]))]);
    asked.gives_no_answer();
}

#[test]
fn a_body_longer_than_the_client_was_told() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE, &with_body(200, Some(5), &[])), (kind::DATA, b"helloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]);
    asked.breaks_off();
}

#[test]
fn a_body_shorter_than_the_client_was_told() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE, &with_body(200, Some(50), &[])), (kind::DATA | kind::END, b"hello")]);
    asked.breaks_off();
}

#[test]
fn a_body_where_there_can_be_none() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE, &with_body(204, Some(5), &[])), (kind::DATA, b"hello")]);
    // The 204 itself is whole as soon as its head is there; what follows it must not come.
    let mut client = asked.client;
    let _ = client.try_read();
    assert!(client.is_closed());
}

#[test]
fn a_second_answer() {
    let mut asked = Asked::new();
    asked.says(&[(kind::RESPONSE, &with_body(200, Some(5), &[])), (kind::RESPONSE, &with_body(200, Some(5), &[]))]);
    asked.breaks_off();
}

#[test]
fn trailers_that_are_none() {
    let mut asked = Asked::new();
    asked.says(&[
        (kind::RESPONSE, &with_body(200, None, &[])),
        (kind::DATA, b"hello"),
        (kind::TRAILERS | kind::END, b"\x01X\x00\x03a\r\n"),
    ]);
    asked.breaks_off();
}

#[test]
fn interim_heads_without_end() {
    let mut asked = Asked::new();
    for _ in 0..70 {
        asked.says(&[(kind::INTERIM, &response(103, &[(b"Link", b"</x>")]))]);
    }
    asked.gives_no_answer();
}

#[test]
fn fields_that_frame_a_body_or_steer_a_connection_reach_no_client() {
    let mut liar = FalsePoint::start(|_| ());
    let mut tunnel = liar.session(1);
    let fields: &[(&[u8], &[u8])] = &[
        (b"Content-Length", b"999"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"close"),
        (b"Upgrade", b"h2c"),
        (b"Keep-Alive", b"timeout=5"),
        (b"X-Request-Id", b"forged"),
        (b"X-Mine", b"passes"),
    ];

    let reply =
        ask(&liar, &mut tunnel, |_| vec![(kind::RESPONSE, with_body(200, Some(5), fields)), (kind::DATA | kind::END, b"hello".to_vec())]);

    assert_eq!(reply.body, b"hello");
    let lengths: Vec<_> = reply.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).collect();
    assert_eq!(lengths.len(), 1);
    for name in ["Transfer-Encoding", "Connection", "Upgrade", "Keep-Alive"] {
        assert_eq!(reply.field(name), None);
    }
    assert_ne!(reply.field("X-Request-Id"), Some("forged"));
    assert_eq!(reply.field("X-Mine"), Some("passes"));
}

#[test]
fn an_answer_that_never_comes_is_a_timeout() {
    let mut liar = FalsePoint::start(|setup| {
        setup.endpoint("impatient", "idle = \"1s\"");
    });
    let mut tunnel = liar.session(1);
    wait(tunnel.send(kind::SERVES, 0, b"\x00\x02\x03app\x09impatient")).unwrap();
    let caller = Caller::new(&liar.setup.lab, Some(&liar.setup.lab.client));
    let mut client = until("the endpoint is served", || {
        let mut client = caller.open();
        client.send("GET", "/impatient/x", &[], b"");
        let mut tunnel = std::pin::pin!(tunnel.expect(kind::REQUEST));
        let came = wait(async { tokio::time::timeout(std::time::Duration::from_millis(500), &mut tunnel).await });
        came.is_ok().then_some(client)
    });

    let reply = client.read();

    assert_eq!((reply.status, reply.reason.as_str()), (504, "CMGService_Timeout"));
}

#[test]
fn a_refusal_that_nobody_knows_is_a_bad_gateway() {
    let mut asked = Asked::new();
    asked.says(&[(kind::REFUSE | kind::END, &[255, 255])]);
    asked.gives_a_bad_gateway();
}

#[test]
fn a_connection_point_that_holds_as_much_as_it_can() {
    let mut asked = Asked::new();
    asked.says(&[(kind::REFUSE | kind::END, &Refusal::ConnectorOverloaded.code().to_be_bytes())]);

    let reply = asked.client.read();

    assert_refused_by(&asked.liar.gateway, &reply, (503, "CMGConnector_Overloaded", "connector_overloaded"));
    assert!(reply.field("Retry-After").is_some());
}

/// A client that has sent `request`, and two sessions of one connection point; the one that it came to has refused it as draining.
struct Drained {
    liar: FalsePoint,
    client: Wire,
    other: Tunnel,
    _refused: Tunnel,
}

impl Drained {
    fn new(length: usize, sent: &[u8]) -> Self {
        let liar = FalsePoint::start(|_| ());
        let mut tunnels = [1, 2].map(|id| liar.serving(id, b"\x00\x01\x03app"));
        let mut client = Caller::new(&liar.setup.lab, Some(&liar.setup.lab.client)).open();
        // In one piece, so that what has come of the body is at hand when the head is read.
        let head = format!("POST {MUTUAL}/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        client.write(&[head.as_bytes(), sent].concat());
        wait(async {
            let [one, two] = &mut tunnels;
            let (came_to_two, exchange) = tokio::select! {
                asked = one.expect(kind::REQUEST) => (false, asked.exchange),
                asked = two.expect(kind::REQUEST) => (true, asked.exchange),
            };
            if came_to_two {
                tunnels.reverse();
            }
            tunnels[0].send(kind::REFUSE | kind::END, exchange, &Refusal::ConnectorDraining.code().to_be_bytes()).await.unwrap();
        });
        let [_refused, other] = tunnels;
        Self { liar, client, other, _refused }
    }
}

#[test]
fn what_a_draining_connection_point_refuses_goes_another_way_whatever_its_method() {
    let Drained { liar, mut client, mut other, _refused } = Drained::new(4, b"once");

    let carried = async {
        let exchange = other.expect(kind::REQUEST).await.exchange;
        let body = other.expect(kind::DATA).await;
        other.send(kind::RESPONSE | kind::END, exchange, &response(204, &[])).await.unwrap();
        body.payload
    };
    let body = wait(async { tokio::time::timeout(PATIENCE, carried).await }).expect("it comes to the other session");

    assert_eq!((body.as_slice(), client.read().status), (&b"once"[..], 204));
    assert_eq!(metric_of(&liar.gateway, "cmg_gateway_replays_total"), 1.0);
}

#[test]
fn what_a_draining_connection_point_refuses_is_not_carried_again_without_its_whole_body() {
    let mut drained = Drained::new(10, b"half");

    let reply = drained.client.read();

    assert_refused_by(&drained.liar.gateway, &reply, (503, "CMGConnector_Draining", "connector_draining"));
    assert!(reply.field("Retry-After").is_some());
    assert_eq!(metric_of(&drained.liar.gateway, "cmg_gateway_replays_total"), 0.0);
    drop(drained.other);
}

#[test]
fn endpoints_that_are_not_published_are_not_served_because_a_connection_point_says_so() {
    let mut liar = FalsePoint::start(|_| ());
    let mut tunnel = liar.session(1);
    wait(tunnel.send(kind::SERVES, 0, b"\x00\x02\x03app\x05other")).unwrap();
    let caller = Caller::new(&liar.setup.lab, Some(&liar.setup.lab.client));

    assert_eq!(caller.get("/other/x").status, 404);
}
