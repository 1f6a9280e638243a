//! Who is let in, and what is refused before anything is carried.

use cmg_lab::Role;
use cmg_transport::TlsStream;
use tokio::net::TcpStream;

use crate::support::{Gate, Point, RawGate, Site, Wire, kind, purpose, soon, until};

/// Whether a connection point with `tls` gets as far as a greeting.
async fn is_greeted(gate: &Gate, tls: std::sync::Arc<rustls::ClientConfig>) -> bool {
    let tcp = TcpStream::connect(gate.address).await.unwrap();
    let Ok(tls) = TlsStream::connect(tcp, "localhost".try_into().unwrap(), tls).await else { return false };
    let mut wire = Wire::new(cmg_transport::ByteStream::Tls(Box::new(tls)));
    wire.receive().await.is_some()
}

#[tokio::test]
async fn a_connection_point_of_the_same_authority_is_let_in() {
    let site = Site::new();
    let gate = Gate::start(&site).await;

    assert!(soon(is_greeted(&gate, site.point("point-1"))).await);
}

#[tokio::test]
async fn a_connection_point_of_another_authority_is_not() {
    let (site, other) = (Site::new(), Site::new());
    let gate = Gate::start(&site).await;

    // It shows a certificate of another authority, and would believe this gateway.
    assert!(!soon(is_greeted(&gate, site.shown_to(&other, Role::ConnectionPoint))).await);
}

#[tokio::test]
async fn a_gateway_is_no_connection_point() {
    let site = Site::new();
    let gate = Gate::start(&site).await;

    assert!(!soon(is_greeted(&gate, site.shown_to(&site, Role::Gateway))).await);
}

#[tokio::test]
async fn a_connection_point_believes_no_gateway_of_another_authority() {
    let (site, other) = (Site::new(), Site::new());
    let gate = RawGate::start(&other, "gateway-1").await;

    let tcp = TcpStream::connect(gate.address).await.unwrap();
    let accepting = tokio::spawn(async move { gate.accept().await });
    let refused = soon(TlsStream::connect(tcp, "localhost".try_into().unwrap(), site.point("point-1"))).await;

    assert!(refused.is_err());
    accepting.abort();
}

#[tokio::test]
async fn a_gateway_that_calls_itself_another_is_left() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-2").await;
    let _point = Point::start(&site, gate.address);

    let mut wire = soon(gate.accept()).await;
    wire.send(kind::GREETING, 0, b"\x00\x01\x00\x01\x09gateway-1\x00\x00").await.unwrap();

    assert_eq!(soon(wire.receive()).await, None);
}

#[tokio::test]
async fn a_gateway_of_other_versions_is_left() {
    for versions in [b"\x00\x02\x00\x09", b"\x00\x00\x00\x00"] {
        let site = Site::new();
        let gate = RawGate::start(&site, "gateway-1").await;
        let _point = Point::start(&site, gate.address);

        let mut wire = soon(gate.accept()).await;
        wire.send(kind::GREETING, 0, &[versions, &b"\x09gateway-1\x00\x00"[..]].concat()).await.unwrap();

        assert_eq!(soon(wire.receive()).await, None);
    }
}

#[tokio::test]
async fn greetings_that_are_none_are_left() {
    for (kind, payload) in [
        (kind::GREETING, &b""[..]),
        (kind::GREETING, b"\x00\x01\x00\x01\x09gateway-1"),
        (kind::GREETING, b"\x00\x01\x00\x01\x09gateway-1\x00\x02\x01a"),
        (kind::GREETING, b"\x00\x01\x00\x01\x09gate\nay-1\x00\x00"),
        (kind::PING, b""),
        (99, b""),
    ] {
        let site = Site::new();
        let gate = RawGate::start(&site, "gateway-1").await;
        let _point = Point::start(&site, gate.address);

        let mut wire = soon(gate.accept()).await;
        wire.send(kind, 0, payload).await.unwrap();

        assert_eq!(soon(wire.receive()).await, None);
    }
}

#[tokio::test]
async fn a_gateway_may_speak_newer_versions_too() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let _point = Point::start(&site, gate.address);

    let mut wire = soon(gate.accept()).await;
    wire.send(kind::GREETING, 0, b"\x00\x01\x00\x07\x09gateway-1\x00\x00").await.unwrap();

    let hello = soon(wire.receive()).await.unwrap();
    assert_eq!((hello.kind, &hello.payload[..3]), (kind::HELLO, &[0, 1, purpose::SESSION][..]));
}

#[tokio::test]
async fn hellos_that_are_none_are_refused() {
    let site = Site::new();
    let gate = Gate::start(&site).await;
    for (kind, payload) in [
        // Another version, an unknown purpose, too short, too long, another frame, none.
        (kind::HELLO, &[0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 9][..]),
        (kind::HELLO, &[0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 9]),
        (kind::HELLO, &[0, 1, 1]),
        (kind::HELLO, &[0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0]),
        (kind::SERVES, &[0, 0]),
        (99, &[]),
    ] {
        let mut wire = Wire::dial(gate.address, site.point("point-1")).await;
        wire.send(kind, 0, payload).await.unwrap();

        soon(wire.closed()).await;
    }
    assert_eq!(gate.hub.live(), (0, 0));
}

#[tokio::test]
async fn thousands_of_announced_instances_are_not_all_believed() {
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let point = Point::with(&site, "point-1", gate.address, 1, 0);
    let mut greeting = b"\x00\x01\x00\x01\x09gateway-1\x75\x30".to_vec();
    for n in 0..30_000 {
        let name = format!("g{n}");
        greeting.push(name.len() as u8);
        greeting.extend_from_slice(name.as_bytes());
    }

    let mut wire = soon(gate.accept()).await;
    wire.send(kind::GREETING, 0, &greeting).await.unwrap();
    soon(wire.expect(kind::HELLO)).await;

    until(|| !point.connector.lacking().is_empty()).await;
    assert!(point.connector.lacking().len() <= 256);
}
