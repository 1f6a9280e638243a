//! Minutes and hours without a byte of anybody's: on a paused clock, which moves on whenever both ends have nothing left to do.
//! Sockets and TLS are real.

use std::time::Duration;

use bytes::BytesMut;
use cmg_tunnel::{BodyLength, Event, Exchange};

use crate::support::{Gate, Point, Site, pattern, soon, talk};

const QUARTER: Duration = Duration::from_secs(15 * 60);
const HOURS: Duration = Duration::from_secs(2 * 3_600);

async fn pair() -> (Gate, Point) {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let point = Point::start(&site, gate.address);
    gate.has(1).await;
    (gate, point)
}

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::sleep(time).await;
}

/// Says something over an upgraded exchange and hears it again.
async fn says(exchange: &mut Exchange, text: &str) {
    let mut rest = BytesMut::from(text);
    std::future::poll_fn(|cx| exchange.poll_send(cx, &mut rest, text.len(), false)).await.unwrap();
    loop {
        match soon(exchange.event()).await {
            Event::Response(head) => assert_eq!(head.get().status, 101),
            Event::Data(bytes) => break assert_eq!(bytes, text),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_request_parked_for_longer_than_a_quarter_of_an_hour_is_answered() {
    let (gate, _point) = pair().await;
    let parked = gate.open("/count", BodyLength::Unknown, b"", false).unwrap();

    pass(QUARTER + Duration::from_secs(60)).await;

    let answer = soon(talk(parked, b"at last")).await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"7"[..]));
}

#[tokio::test]
async fn an_upgraded_connection_idles_for_hours() {
    let (gate, _point) = pair().await;
    let mut socket = gate.open("/upgrade", BodyLength::None, b"", false).unwrap();
    says(&mut socket, "before").await;

    pass(HOURS).await;

    says(&mut socket, "after").await;
}

#[tokio::test]
async fn an_idle_tunnel_stands_for_hours() {
    let (gate, point) = pair().await;
    let way = |exchange: Exchange| format!("{:?}", exchange.way());
    let before = way(gate.open("/hold", BodyLength::None, b"", true).unwrap());

    pass(HOURS).await;

    assert_eq!(way(gate.open("/hold", BodyLength::None, b"", true).unwrap()), before, "it is the same session");
    assert_eq!(point.connector.live().values().sum::<usize>(), 1);
    // Lanes have been replaced in the meantime, and bulk finds one.
    assert!(gate.exchange("/echo", &pattern(3_000_000)).await.body == pattern(3_000_000));
}
