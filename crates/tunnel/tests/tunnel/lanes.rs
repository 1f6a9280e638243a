//! When a body moves to a lane, as a peer sees it that speaks frames by hand.

use bytes::BytesMut;
use cmg_tunnel::{BodyLength, Event, Exchange};

use crate::support::{Gate, Point, RawGate, Site, Wire, kind, pattern, purpose, request, response, soon, until};

async fn session(site: &Site, gate: &Gate) -> Wire {
    let wire = Wire::session(gate.address, site.point("point-1"), 1).await;
    gate.has(1).await;
    wire
}

/// A lane for session 1 that the gateway knows: it has read the hello once it has closed or kept the connection.
async fn lane(site: &Site, gate: &Gate, purpose: u8) -> Wire {
    Wire::dial(gate.address, site.point("point-1")).await.hello(purpose, 1).await
}

/// Sends as much as is taken at once.
async fn push(exchange: &mut Exchange, rest: &mut BytesMut) {
    std::future::poll_fn(|cx| {
        while !rest.is_empty() {
            let length = rest.len();
            if !matches!(exchange.poll_send(cx, rest, length, false), std::task::Poll::Ready(Ok(1..))) {
                break;
            }
        }
        let _ = exchange.poll_flush(cx);
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_body_known_to_be_long_moves_before_its_first_byte() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::UP).await;
    until(|| gate.hub.lanes() == (1, 0)).await;

    let mut exchange = gate.open("/", BodyLength::Exact(1_000_000), b"", false).unwrap();
    exchange.expect_to_send(Some(1_000_000));
    let mut rest = BytesMut::from(&pattern(1_000_000)[..]);
    let receiver = tokio::spawn(async move {
        let carry = lane.expect(kind::CARRY).await;
        (carry, lane.bytes(1_000_000).await)
    });
    let sender = tokio::spawn(async move {
        while !rest.is_empty() {
            push(&mut exchange, &mut rest).await;
            tokio::task::yield_now().await;
        }
        std::future::poll_fn(|cx| exchange.poll_finish(cx, &mut Some(Vec::new()))).await.unwrap();
        exchange
    });

    let request = wire.expect(kind::REQUEST).await;
    assert_eq!(wire.expect(kind::MOVED).await.exchange, request.exchange);
    let (carry, body) = soon(receiver).await.unwrap();
    assert_eq!((carry.exchange, carry.payload), (request.exchange, 1_000_000_u64.to_be_bytes().to_vec()));
    assert!(body == pattern(1_000_000));
    drop(soon(sender).await.unwrap());
    // The lane is free again, for the next body.
    assert_eq!(gate.hub.lanes(), (1, 0));
}

#[tokio::test]
async fn a_body_of_unknown_length_moves_when_its_window_is_used_up() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut exchange = gate.open("/", BodyLength::Unknown, b"", false).unwrap();
    let mut rest = BytesMut::from(&pattern(300_000)[..]);
    push(&mut exchange, &mut rest).await;
    assert!(rest.len() > 300_000 - 128 * 1024, "a window was sent, and not more");

    let mut lane = lane(&site, &gate, purpose::UP).await;
    until(|| gate.hub.lanes() == (1, 0)).await;
    let left = rest.len();
    push(&mut exchange, &mut rest).await;

    let mut over_session = 0;
    loop {
        let frame = wire.receive().await.unwrap();
        match frame.kind {
            kind::DATA => over_session += frame.payload.len(),
            kind::MOVED => break,
            _ => {}
        }
    }
    assert_eq!(over_session, 300_000 - left);
    assert_eq!(lane.expect(kind::CARRY).await.payload, u64::MAX.to_be_bytes());
    assert!(lane.expect(kind::DATA).await.payload == pattern(300_000)[over_session..][..65_536]);
}

#[tokio::test]
async fn an_answer_may_move_in_the_middle() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::DOWN).await;
    let mut exchange = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = wire.expect(kind::REQUEST).await.exchange;

    wire.send(kind::RESPONSE, number, &response(200, &[])).await.unwrap();
    wire.send(kind::DATA, number, b"over the session, ").await.unwrap();
    wire.send(kind::MOVED, number, b"").await.unwrap();
    lane.send(kind::CARRY, number, &u64::MAX.to_be_bytes()).await.unwrap();
    lane.send(kind::DATA, 0, b"").await.unwrap();
    lane.send(kind::DATA, 0, b"over the lane").await.unwrap();
    lane.send(kind::DATA | kind::END, 0, b"").await.unwrap();

    let mut parts = vec![];
    loop {
        match soon(exchange.event()).await {
            Event::Response(_) => {}
            Event::Data(bytes) => parts.push(bytes),
            other => break assert!(matches!(other, Event::End)),
        }
    }
    // An empty frame is no part of a body: passed on as a chunk it would end it.
    assert_eq!(parts, ["over the session, ", "over the lane"]);
}

#[tokio::test]
async fn a_lane_that_breaks_off_breaks_the_answer_off() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::DOWN).await;
    let mut exchange = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = wire.expect(kind::REQUEST).await.exchange;

    wire.send(kind::RESPONSE, number, &response(200, &[])).await.unwrap();
    wire.send(kind::MOVED, number, b"").await.unwrap();
    lane.send(kind::CARRY, number, &100_u64.to_be_bytes()).await.unwrap();
    lane.send_bytes(b"not a hundred").await.unwrap();
    drop(lane);

    assert!(matches!(soon(exchange.event()).await, Event::Response(_)));
    let mut parts = Vec::new();
    let end = loop {
        match soon(exchange.event()).await {
            Event::Data(bytes) => parts.extend_from_slice(&bytes),
            other => break other,
        }
    };
    assert!(matches!(end, Event::Reset), "{end:?}");
    assert_eq!(parts, b"not a hundred");
}

/// Longer than TCP_USER_TIMEOUT of a tunnel connection, which the kernel's own clock measures.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(8);

#[tokio::test]
async fn a_reader_that_pauses_gets_the_rest_of_its_body() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let _point = Point::start(&site, gate.address);
    gate.has(1).await;
    let exchange = gate.open("/bytes/20000000", BodyLength::None, b"", true).unwrap();

    tokio::time::sleep(PAUSE).await;

    let answer = soon(crate::support::talk(exchange, b"")).await;
    assert!(answer.body == pattern(20_000_000), "{} bytes, {:?}", answer.body.len(), answer.end);
}

#[tokio::test]
async fn a_lane_that_comes_before_its_request_waits_for_it() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let _point = Point::with(&site, "point-1", gate.address, 1, 1);
    let mut wires = vec![soon(gate.greet()).await, soon(gate.greet()).await, soon(gate.greet()).await];
    let mut take = |wanted| wires.swap_remove(wires.iter().position(|(purpose, _)| *purpose == wanted).unwrap()).1;
    let (mut session, mut lane) = (take(purpose::SESSION), take(purpose::UP));

    lane.send(kind::CARRY, 7, &1_000_000_u64.to_be_bytes()).await.unwrap();
    let body = tokio::spawn(async move {
        lane.send_bytes(&pattern(1_000_000)).await.unwrap();
        lane
    });
    // The lane has been taken once another is dialled in its stead.
    assert_eq!(soon(gate.greet()).await.0, purpose::UP);
    session.send(kind::REQUEST, 7, &upload("/count", 1_000_000)).await.unwrap();
    session.send(kind::MOVED, 7, b"").await.unwrap();

    assert_eq!(soon(session.expect(kind::DATA)).await.payload, b"1000000");
    drop(soon(body).await.unwrap());
}

/// A point that has dialled a session and, as far as they are greeted, one lane each way: the session and the lane up.
async fn dialled(site: &Site) -> (RawGate, Point, Wire, Wire) {
    let gate = RawGate::start(site, "gateway-1").await;
    let point = Point::with(site, "point-1", gate.address, 1, 1);
    let mut wires = vec![soon(gate.greet()).await, soon(gate.greet()).await, soon(gate.greet()).await];
    let mut take = |wanted| wires.swap_remove(wires.iter().position(|(purpose, _)| *purpose == wanted).unwrap()).1;
    let (session, lane) = (take(purpose::SESSION), take(purpose::UP));
    (gate, point, session, lane)
}

/// A body of a million bytes.
async fn carry(lane: &mut Wire, exchange: u32) {
    lane.send(kind::CARRY, exchange, &1_000_000_u64.to_be_bytes()).await.unwrap();
    lane.send_bytes(&pattern(1_000_000)).await.unwrap();
}

/// A second exchange, whose body comes behind that of the first on the same lane.
async fn the_next_is_whole(mut session: Wire, mut lane: Wire) {
    let carried = tokio::spawn(async move {
        carry(&mut lane, 2).await;
        lane
    });
    session.send(kind::REQUEST, 2, &upload("/count", 1_000_000)).await.unwrap();
    session.send(kind::MOVED, 2, b"").await.unwrap();

    let count = soon(session.expect(kind::DATA)).await;
    assert_eq!((count.exchange, count.payload.as_slice()), (2, &b"1000000"[..]));
    drop(soon(carried).await.unwrap());
}

#[tokio::test]
async fn a_body_whose_end_nobody_looked_at_takes_no_other_along() {
    let site = Site::new();
    let (_gate, _point, mut session, mut lane) = dialled(&site).await;

    session.send(kind::REQUEST, 1, &upload("/exactly/1000000", 1_000_000)).await.unwrap();
    session.send(kind::MOVED, 1, b"").await.unwrap();
    soon(carry(&mut lane, 1)).await;
    assert_eq!(soon(session.expect(kind::RESPONSE)).await.exchange, 1);

    the_next_is_whole(session, lane).await;
}

#[tokio::test]
async fn a_body_that_was_not_wanted_takes_no_other_along() {
    let site = Site::new();
    let (_gate, _point, mut session, mut lane) = dialled(&site).await;

    lane.send(kind::CARRY, 1, &1_000_000_u64.to_be_bytes()).await.unwrap();
    session.send(kind::REQUEST, 1, &upload("/early/0", 1_000_000)).await.unwrap();
    session.send(kind::MOVED, 1, b"").await.unwrap();
    assert_eq!(soon(session.expect(kind::RESPONSE)).await.exchange, 1);
    let rest = pattern(1_000_000);
    let sent = tokio::spawn(async move {
        lane.send_bytes(&rest).await.unwrap();
        lane
    });

    the_next_is_whole(session, soon(sent).await.unwrap()).await;
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_takes_no_other_along() {
    let site = Site::new();
    let (_gate, _point, mut session, mut lane) = dialled(&site).await;

    session.send(kind::REQUEST, 1, &upload("/early/0", 1_000_000)).await.unwrap();
    session.send(kind::MOVED, 1, b"").await.unwrap();
    assert_eq!(soon(session.expect(kind::RESPONSE)).await.exchange, 1);
    soon(carry(&mut lane, 1)).await;

    the_next_is_whole(session, lane).await;
}

#[tokio::test]
async fn an_answer_whose_client_has_gone_takes_no_other_along() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::DOWN).await;
    let gone = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = wire.expect(kind::REQUEST).await.exchange;
    wire.send(kind::RESPONSE, number, &response(200, &[])).await.unwrap();
    wire.send(kind::MOVED, number, b"").await.unwrap();

    // Before the lane comes, or after: either way the whole body has been sent when the sender hears of it.
    drop(gone);
    assert_eq!(wire.expect(kind::RESET).await.exchange, number);
    soon(carry(&mut lane, number)).await;
    let mut next = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = wire.expect(kind::REQUEST).await.exchange;
    wire.send(kind::RESPONSE, number, &response(200, &[])).await.unwrap();
    wire.send(kind::MOVED, number, b"").await.unwrap();
    let carried = tokio::spawn(async move {
        carry(&mut lane, number).await;
        lane
    });

    let mut length = 0;
    loop {
        match soon(next.event()).await {
            Event::Response(_) => {}
            Event::Data(bytes) => length += bytes.len(),
            other => break assert!(matches!(other, Event::End), "{other:?}"),
        }
    }
    assert_eq!(length, 1_000_000);
    drop(soon(carried).await.unwrap());
}

#[tokio::test]
async fn a_lane_that_breaks_off_is_told_to_its_receiver() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::UP).await;
    until(|| gate.hub.lanes() == (1, 0)).await;
    let mut exchange = gate.open("/", BodyLength::Exact(50_000_000), b"", false).unwrap();
    exchange.expect_to_send(Some(50_000_000));
    let mut rest = BytesMut::from(&pattern(50_000_000)[..]);
    push(&mut exchange, &mut rest).await;
    lane.expect(kind::CARRY).await;

    drop(lane);
    let sent = soon(std::future::poll_fn(|cx| -> std::task::Poll<Result<std::convert::Infallible, cmg_tunnel::Gone>> {
        loop {
            let length = rest.len();
            std::task::ready!(exchange.poll_send(cx, &mut rest, length, false))?;
        }
    }));

    assert_eq!(sent.await, Err(cmg_tunnel::Gone));
    let number = wire.expect(kind::REQUEST).await.exchange;
    assert_eq!(wire.expect(kind::MOVED).await.exchange, number);
    assert_eq!(wire.expect(kind::RESET).await.exchange, number);
}

/// An answer of which half has come on a lane.
async fn half_an_answer(gate: &Gate, wire: &mut Wire, lane: &mut Wire) -> Exchange {
    let mut exchange = gate.open("/", BodyLength::None, b"", true).unwrap();
    let number = wire.expect(kind::REQUEST).await.exchange;
    wire.send(kind::RESPONSE, number, &response(200, &[])).await.unwrap();
    wire.send(kind::MOVED, number, b"").await.unwrap();
    lane.send(kind::CARRY, number, &8_u64.to_be_bytes()).await.unwrap();
    lane.send_bytes(b"half").await.unwrap();
    assert!(matches!(soon(exchange.event()).await, Event::Response(_)));
    assert!(matches!(soon(exchange.event()).await, Event::Data(bytes) if bytes == "half"));
    exchange
}

#[tokio::test]
async fn a_connection_point_that_has_sent_all_may_go_before_it_was_read() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::DOWN).await;
    let mut exchange = half_an_answer(&gate, &mut wire, &mut lane).await;

    wire.close().await;
    gate.has(0).await;
    lane.send_bytes(b"rest").await.unwrap();
    drop(lane);

    assert!(matches!(soon(exchange.event()).await, Event::Data(bytes) if bytes == "rest"));
    assert!(matches!(soon(exchange.event()).await, Event::End));
}

#[tokio::test]
async fn a_session_that_the_gateway_ends_takes_its_answers_along() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    let mut lane = lane(&site, &gate, purpose::DOWN).await;
    let mut exchange = half_an_answer(&gate, &mut wire, &mut lane).await;

    gate.hub.stop();

    assert!(matches!(soon(exchange.event()).await, Event::Lost));
}

#[tokio::test]
async fn a_lane_that_comes_before_its_session_waits_for_it() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let early = Wire::dial(gate.address, site.point("point-1")).await.hello(purpose::UP, 1).await;

    let _session = session(&site, &gate).await;

    until(|| gate.hub.lanes() == (1, 0)).await;
    drop(early);
}

/// The head of a request for `target` with a body of that length.
fn upload(target: &str, length: u64) -> Vec<u8> {
    let mut head = request(0, &[]);
    head.truncate(head.len() - 3);
    head.extend_from_slice(&(target.len() as u16).to_be_bytes());
    head.extend_from_slice(target.as_bytes());
    head[20] = 24;
    head[21..29].copy_from_slice(&length.to_be_bytes());
    head
}

#[tokio::test]
async fn lanes_are_dialled_again_as_they_are_used() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let _point = Point::with(&site, "point-1", gate.address, 1, 2);
    let (first, _session) = soon(gate.greet()).await;
    assert_eq!(first, purpose::SESSION);
    let mut lanes = vec![];
    for _ in 0..4 {
        lanes.push(soon(gate.greet()).await);
    }
    assert_eq!(lanes.iter().filter(|lane| lane.0 == purpose::UP).count(), 2);

    // One is closed; one begins to carry: both are replaced.
    let place = lanes.iter().position(|lane| lane.0 == purpose::UP).unwrap();
    drop(lanes.swap_remove(place));
    assert_eq!(soon(gate.greet()).await.0, purpose::UP);
    let mut busy = lanes.into_iter().find(|lane| lane.0 == purpose::UP).unwrap().1;
    busy.send(kind::CARRY, 1, &100_u64.to_be_bytes()).await.unwrap();
    assert_eq!(soon(gate.greet()).await.0, purpose::UP);
}

#[tokio::test]
async fn a_gateway_takes_so_many_lanes_and_not_more() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = session(&site, &gate).await;
    // Answers pings, as nothing is asked for.
    let session = tokio::spawn(async move { wire.expect(kind::REQUEST).await });
    let tls = site.point("point-1");
    let mut kept = vec![];
    for _ in 0..160 {
        kept.push(Wire::dial(gate.address, tls.clone()).await.hello(purpose::UP, 1).await);
    }
    until(|| gate.hub.lanes() == (160, 0)).await;

    let mut further = Wire::dial(gate.address, tls).await.hello(purpose::DOWN, 1).await;

    soon(further.closed()).await;
    assert_eq!(gate.hub.lanes(), (160, 0));
    session.abort();
}
