//! A gateway that lies about bodies: a server is never sent what it could take for another request.

use cmg_lab::origin::Progress;

use super::claims::{Asked, MUTUAL, first_of};
use super::half::FalseGateway;
use super::wire::kind;
use crate::support::{PATIENCE, wait};

/// A POST to the origin's page that tells what it was sent.
fn upload(liar: &FalseGateway, length: Option<u64>) -> Asked {
    Asked { method: "POST".to_owned(), target: format!("{MUTUAL}/upload"), length, ..Asked::with_certificate(liar) }
}

/// Sends a POST of that length with these frames behind it; it must not be answered, and a good request must be, afterwards.
#[track_caller]
fn breaks(length: u64, frames: &[(u8, &[u8])]) {
    let liar = FalseGateway::start(|_| ());
    let asked = upload(&liar, Some(length));
    wait(async {
        let mut wire = liar.session().await;
        asked.send(&mut wire).await;
        for (kind, payload) in frames {
            wire.send(*kind, 1, payload).await.unwrap();
        }
        let frame = first_of(&mut wire, &[kind::RESPONSE, kind::REFUSE, kind::RESET]).await;
        assert_ne!(frame.kind & !kind::END, kind::RESPONSE);
        wire.send(kind::REQUEST | kind::END, 2, &Asked::with_certificate(&liar).head()).await.unwrap();
        let frame = first_of(&mut wire, &[kind::RESPONSE]).await;
        assert_eq!((frame.exchange, &frame.payload[..2]), (2, &[0, 200][..]));
    });
    let seen = liar.setup.origin.seen();
    assert_eq!(seen.iter().filter(|request| request.progress == Progress::Answered).count(), 1, "{seen:?}");
    assert!(seen.iter().all(|request| [&b"/upload"[..], b"/"].contains(&&request.target[..])), "{seen:?}");
}

#[test]
fn a_body_longer_than_declared() {
    breaks(5, &[(kind::DATA, b"helloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")]);
}

#[test]
fn a_body_longer_than_declared_in_pieces() {
    breaks(10, &[(kind::DATA, b"hello"), (kind::DATA, b"helloGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")]);
}

#[test]
fn a_body_shorter_than_declared() {
    breaks(50, &[(kind::DATA | kind::END, b"hello")]);
}

#[test]
fn trailers_behind_a_body_without_chunks() {
    breaks(5, &[(kind::DATA, b"hello"), (kind::TRAILERS | kind::END, b"\x01X\x00\x01y")]);
}

#[test]
fn a_declared_body_that_ends_with_the_head_reaches_no_server() {
    let liar = FalseGateway::start(|_| ());
    let asked = upload(&liar, Some(5));

    let frame = wait(async {
        let mut wire = liar.session().await;
        wire.send(kind::CREDENTIAL, 1, asked.credential.as_ref().unwrap()).await.unwrap();
        wire.send(kind::REQUEST | kind::END, 1, &asked.head()).await.unwrap();
        first_of(&mut wire, &[kind::RESPONSE, kind::REFUSE, kind::RESET]).await
    });

    assert_eq!((frame.kind, &frame.payload[..]), (kind::REFUSE | kind::END, &[0, 47][..]));
    assert_eq!(liar.setup.origin.requests(), 0);
}

#[test]
fn an_empty_part_on_a_lane_is_not_the_end_of_a_chunked_body() {
    let liar = FalseGateway::start(|_| ());
    let mut asked = upload(&liar, Some(0));
    asked.length = None;

    let body = wait(async {
        let mut session = liar.session().await;
        let mut lane = liar.lane().await;
        session.send(kind::CREDENTIAL, 1, asked.credential.as_ref().unwrap()).await.unwrap();
        let mut head = asked.head();
        head[20] = 8;
        session.send(kind::REQUEST, 1, &head).await.unwrap();
        session.send(kind::MOVED, 1, b"").await.unwrap();
        lane.send(kind::CARRY, 1, &u64::MAX.to_be_bytes()).await.unwrap();
        for part in [&b"hello"[..], b"", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"] {
            lane.send(kind::DATA, 0, part).await.unwrap();
        }
        lane.send(kind::DATA | kind::END, 0, b"").await.unwrap();
        first_of(&mut session, &[kind::DATA]).await.payload
    });

    assert!(String::from_utf8_lossy(&body).contains("\"length\":40"), "{}", String::from_utf8_lossy(&body));
    assert_eq!(liar.setup.origin.requests(), 1);
}

#[test]
fn exchanges_that_are_given_up_at_once_leave_nothing_behind() {
    let liar = FalseGateway::start(|_| ());
    let asked = Asked { target: format!("{MUTUAL}/held"), ..Asked::with_certificate(&liar) };

    wait(async {
        let mut wire = liar.session().await;
        asked.send(&mut wire).await;
        for exchange in 2..500 {
            wire.send(kind::REQUEST | kind::END, exchange, &asked.head()).await.unwrap();
        }
        for exchange in 1..500 {
            wire.send(kind::RESET | kind::END, exchange, b"").await.unwrap();
        }
        let gone = liar.setup.origin.wait_until(|seen| seen.iter().all(|request| request.progress != Progress::Begun));
        tokio::time::timeout(PATIENCE, gone).await.expect("requests of nobody are still under way");
        wire.send(kind::REQUEST | kind::END, 600, &Asked::with_certificate(&liar).head()).await.unwrap();
        assert_eq!(first_of(&mut wire, &[kind::RESPONSE]).await.exchange, 600);
    });
}
