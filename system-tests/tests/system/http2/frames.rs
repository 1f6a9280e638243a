//! Clients that speak frames by hand, to have the gateway work for nothing.

use bytes::{Buf, BytesMut};
use cmg_transport::ByteStream;

use super::peer::{self, Peer, patiently};
use super::{MODERN, get, site};
use crate::support::{Site, until};

/// Kinds of frames, and flags of HEADERS.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Streams that one connection may have the gateway reset, with those that it may break off itself.
const RESETS: usize = 300;

/// A connection behind its preface.
fn connect(site: &Site) -> ByteStream {
    let tls = peer::tls(site.lab(), site.device(), MODERN, &[b"h2"]);
    let mut stream = ByteStream::Tls(Box::new(tls));
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat();
    patiently(stream.write_all(&preface)).unwrap();
    stream
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `GET` of a path over https, in HPACK without any table: two indexed fields, two literal ones.
fn head(path: &str) -> Vec<u8> {
    let mut out = vec![0x82, 0x87];
    for (name, value) in [(0x01, MODERN), (0x04, path)] {
        out.extend([name, value.len() as u8]);
        out.extend_from_slice(value.as_bytes());
    }
    out
}

/// The kind of the next frame; none: the gateway has closed.
async fn next(stream: &mut ByteStream, received: &mut BytesMut) -> Option<u8> {
    loop {
        if let Some(header) = received.first_chunk::<9>().copied() {
            let length = 9 + u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            if received.len() >= length {
                received.advance(length);
                return Some(header[3]);
            }
        }
        if !matches!(stream.fill(received).await, Ok(1..)) {
            return None;
        }
    }
}

/// Whether the gateway says goodbye before it closes.
async fn is_sent_away(mut stream: ByteStream) -> bool {
    let mut received = BytesMut::new();
    while let Some(kind) = next(&mut stream, &mut received).await {
        if kind == GOAWAY {
            return true;
        }
    }
    false
}

#[track_caller]
fn hurts_nobody_else(site: &Site, neighbour: &Peer) {
    assert_eq!(neighbour.ask(get("/modern/bytes/1000")).body.len(), 1000);
    until("nothing is left of it", || (site.metric("cmg_gateway_requests_in_flight") == 0.0).then_some(()));
}

#[test]
fn streams_that_the_client_has_the_gateway_reset_end_its_connection() {
    let site = site((1, 1));
    let neighbour = Peer::connect(&site, site.device(), MODERN);

    let mut stream = connect(&site);
    let (resets, last) = patiently(async {
        let (mut received, mut resets) = (BytesMut::new(), 0);
        for number in (1..).step_by(2) {
            // More than a window can hold is an error of its stream, which the gateway has to reset.
            let request = frame(HEADERS, END_STREAM | END_HEADERS, number, &head("/modern/held"));
            let beyond = frame(WINDOW_UPDATE, 0, number, &i32::MAX.to_be_bytes());
            let _ = stream.write_all(&[request, beyond].concat()).await;
            match next(&mut stream, &mut received).await {
                Some(SETTINGS | WINDOW_UPDATE) => {}
                Some(RST_STREAM) => resets += 1,
                other => return (resets, other),
            }
        }
        unreachable!("streams have numbers enough")
    });

    assert_eq!(last, Some(GOAWAY));
    assert!((1..=RESETS).contains(&resets), "{resets} times the gateway did as it was told");
    hurts_nobody_else(&site, &neighbour);
}

#[test]
fn a_head_without_end_ends_its_connection() {
    let site = site((1, 1));
    let neighbour = Peer::connect(&site, site.device(), MODERN);

    let mut stream = connect(&site);
    let sent_away = patiently(async {
        stream.write_all(&frame(HEADERS, END_STREAM, 1, &head("/modern/held"))).await.unwrap();
        // Fields that are small by themselves: x: y.
        let part = frame(CONTINUATION, 0, 1, &[0x00, 1, b'x', 1, b'y'].repeat(3_000));
        for _ in 0..10_000 {
            if stream.write_all(&part).await.is_err() {
                break;
            }
        }
        is_sent_away(stream).await
    });

    assert!(sent_away);
    hurts_nobody_else(&site, &neighbour);
}

#[test]
fn a_head_in_a_thousand_empty_parts_ends_its_connection() {
    let site = site((1, 1));
    let neighbour = Peer::connect(&site, site.device(), MODERN);

    let mut stream = connect(&site);
    let sent_away = patiently(async {
        stream.write_all(&frame(HEADERS, END_STREAM, 1, &head("/modern/held"))).await.unwrap();
        let parts = frame(CONTINUATION, 0, 1, &[]).repeat(1_000);
        for _ in 0..1_000 {
            if stream.write_all(&parts).await.is_err() {
                break;
            }
        }
        is_sent_away(stream).await
    });

    assert!(sent_away);
    hurts_nobody_else(&site, &neighbour);
}
