//! What a gateway asks a connection point itself, and that nothing of a client can become that.

use std::time::Duration;

use cmg_core::ids::ConnectionPointId;
use cmg_core::refusal::Refusal;
use cmg_tunnel::{Answer, AskError, BodyLength, CONTROL_ENDPOINT, Question};

use crate::support::{Gate, Point, Site, Wire, kind, pattern, soon, until};

const PATIENCE: Duration = Duration::from_secs(60);

async fn pair(lanes: usize) -> (Gate, Point) {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::with(&site, "point-1", gate.address, 1, lanes);
    gate.has(1).await;
    (gate, point)
}

async fn ask_of(gate: &Gate, point: &str, target: &str, body: &[u8], limit: usize) -> Result<Answer, AskError> {
    let question = Question { method: "POST", target, body, limit, within: PATIENCE };
    soon(gate.hub.ask(&ConnectionPointId::new(point), question)).await
}

async fn ask(gate: &Gate, target: &str, body: &[u8]) -> Result<Answer, AskError> {
    ask_of(gate, "point-1", target, body, 64 << 20).await
}

fn whole(body: Vec<u8>) -> Result<Answer, AskError> {
    Ok(Answer { status: 200, body })
}

#[tokio::test]
async fn questions_and_answers_of_every_size_arrive_whole() {
    for lanes in [0, 2] {
        let (gate, _point) = pair(lanes).await;
        for size in [0, 1, 16_384, 16_385, 131_072, 131_073, 1 << 20] {
            assert!(ask(&gate, "/echo", &pattern(size)).await == whole(pattern(size)), "{size} bytes both ways");
        }
        assert!(ask(&gate, "/bytes/20000000", b"").await == whole(pattern(20_000_000)), "{lanes} lanes");
    }
}

#[tokio::test]
async fn a_connection_point_knows_which_gateway_asks() {
    let (gate, _point) = pair(1).await;

    assert_eq!(ask(&gate, "/who", b"").await, whole(b"gateway-1".to_vec()));
}

#[tokio::test]
async fn the_connection_point_that_was_asked_answers_and_no_other() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let _points = ["point-1", "point-2"].map(|name| Point::with(&site, name, gate.address, 2, 1));
    gate.has(4).await;

    let points: Vec<_> = gate.hub.connection_points().into_iter().map(|(id, sessions)| (id.to_string(), sessions)).collect();

    assert_eq!(points, [("point-1".to_owned(), 2), ("point-2".to_owned(), 2)]);
    assert_eq!(ask_of(&gate, "point-3", "/who", b"", 100).await, Err(AskError::NotConnected));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_taken() {
    let (gate, _point) = pair(1).await;

    assert_eq!(ask_of(&gate, "point-1", "/bytes/1001", b"", 1_000).await, Err(AskError::TooLong));
    assert_eq!(ask(&gate, "/echo", &pattern((1 << 20) + 1)).await.map(|answer| answer.status), Ok(413));
}

#[tokio::test]
async fn an_answer_may_come_before_the_question_was_read() {
    let (gate, _point) = pair(1).await;

    assert_eq!(ask(&gate, "/early", &pattern(3_000_000)).await, Ok(Answer { status: 403, body: b"no".to_vec() }));
}

#[tokio::test]
async fn who_does_not_answer_is_waited_for_no_longer_than_said() {
    let (gate, _point) = pair(1).await;
    let question = Question { method: "GET", target: "/hold", body: b"", limit: 1, within: Duration::from_millis(1) };

    assert_eq!(soon(gate.hub.ask(&ConnectionPointId::new("point-1"), question)).await, Err(AskError::Late));
}

#[tokio::test]
async fn a_refusal_and_a_lost_session_are_told_apart() {
    let (gate, point) = pair(1).await;

    assert_eq!(ask(&gate, "/unknown", b"").await, Err(AskError::Refused(Refusal::ConnectorNotPublished)));
    let (held, ()) = tokio::join!(ask(&gate, "/hold", b""), async { drop(point) });
    assert!(matches!(held, Err(AskError::Lost | AskError::NotConnected)), "{held:?}");
}

#[tokio::test]
async fn sessions_that_come_and_go_are_told() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut changes = gate.hub.changes();

    let point = Point::start(&site, gate.address);
    soon(changes.wait_for(|()| gate.hub.live().1 == 1)).await.unwrap();
    drop(point);

    soon(changes.wait_for(|()| gate.hub.live().1 == 0)).await.unwrap();
}

#[tokio::test]
async fn no_permit_opens_an_exchange_with_the_connection_point_itself() {
    let (gate, _point) = pair(1).await;

    let opened = gate.open_at(CONTROL_ENDPOINT, None, "/who", BodyLength::None, b"", true);

    assert_eq!(opened.err(), Some(Refusal::NoConnectionPoint));
}

#[tokio::test]
async fn a_connection_point_that_says_it_serves_it_ends_its_session() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut wire = Wire::session(gate.address, site.point("point-1"), 1).await;
    gate.has(1).await;

    wire.send(kind::SERVES, 0, b"\x00\x01\x00").await.unwrap();

    until(|| gate.hub.live().1 == 0).await;
    assert_eq!(gate.open_at(CONTROL_ENDPOINT, None, "/who", BodyLength::None, b"", true).err(), Some(Refusal::NoConnectionPoint));
}

#[tokio::test]
async fn a_gateway_that_lends_a_client_s_credential_to_it_ends_its_session() {
    let site = Site::new();
    let gate = crate::support::RawGate::start(&site, "gateway-1").await;
    let _point = Point::start(&site, gate.address);
    let (_, mut wire) = soon(gate.greet()).await;
    wire.send(kind::CREDENTIAL, 1, b"\x02token").await.unwrap();

    let request = [&[7; 16][..], &1_u32.to_be_bytes(), &[0; 9], &[4, 127, 0, 0, 1, 0, 80], b"\x00\x03GET\x00\x00\x00\x04/who"].concat();
    wire.send(kind::REQUEST | kind::END, 1, &request).await.unwrap();

    soon(wire.closed()).await;
}
