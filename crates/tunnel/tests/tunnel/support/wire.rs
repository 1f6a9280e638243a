//! Frames by hand: the protocol as `docs/tunnel.md` has it, without a line of the code under test.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use cmg_transport::{ByteStream, TlsStream};
use rustls::ClientConfig;
use tokio::net::TcpStream;

/// Kinds of frames.
pub(crate) mod kind {
    pub(crate) const GREETING: u8 = 1;
    pub(crate) const HELLO: u8 = 2;
    pub(crate) const PING: u8 = 3;
    pub(crate) const PONG: u8 = 4;
    pub(crate) const CREDENTIAL: u8 = 5;
    pub(crate) const REQUEST: u8 = 7;
    pub(crate) const DATA: u8 = 8;
    pub(crate) const TRAILERS: u8 = 9;
    pub(crate) const INTERIM: u8 = 10;
    pub(crate) const RESPONSE: u8 = 11;
    pub(crate) const REFUSE: u8 = 12;
    pub(crate) const CREDIT: u8 = 13;
    pub(crate) const RESET: u8 = 14;
    pub(crate) const MOVED: u8 = 15;
    pub(crate) const SERVES: u8 = 16;
    pub(crate) const DRAIN: u8 = 17;
    pub(crate) const CARRY: u8 = 18;
    /// Ends the sender's direction.
    pub(crate) const END: u8 = 0x80;
}

/// What a connection is for.
pub(crate) mod purpose {
    pub(crate) const SESSION: u8 = 1;
    pub(crate) const UP: u8 = 2;
    pub(crate) const DOWN: u8 = 3;
}

/// One frame as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) exchange: u32,
    pub(crate) payload: Vec<u8>,
}

/// One connection, spoken by hand.
pub(crate) struct Wire {
    pub(crate) stream: ByteStream,
    received: BytesMut,
}

impl Wire {
    pub(crate) fn new(stream: ByteStream) -> Self {
        Self { stream, received: BytesMut::new() }
    }

    /// Dials a gateway and reads its greeting.
    pub(crate) async fn dial(to: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        let tcp = TcpStream::connect(to).await.unwrap();
        let tls = TlsStream::connect(tcp, "localhost".try_into().unwrap(), tls).await.unwrap();
        let mut wire = Self::new(ByteStream::Tls(Box::new(tls)));
        assert_eq!(wire.receive().await.unwrap().kind, kind::GREETING);
        wire
    }

    /// Says what the connection is for.
    pub(crate) async fn hello(mut self, purpose: u8, session: u64) -> Self {
        let payload = [&1_u16.to_be_bytes()[..], &[purpose], &session.to_be_bytes()].concat();
        self.send(kind::HELLO, 0, &payload).await.unwrap();
        self
    }

    /// A session that serves the endpoint `files`.
    pub(crate) async fn session(to: SocketAddr, tls: Arc<ClientConfig>, session: u64) -> Self {
        let mut wire = Self::dial(to, tls).await.hello(purpose::SESSION, session).await;
        wire.send(kind::SERVES, 0, b"\x00\x01\x05files").await.unwrap();
        wire
    }

    pub(crate) async fn send(&mut self, kind: u8, exchange: u32, payload: &[u8]) -> std::io::Result<()> {
        self.send_bytes(&frame(kind, exchange, payload)).await
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame; none: the connection is over.
    pub(crate) async fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take() {
                return Some(frame);
            }
            if !matches!(self.stream.fill(&mut self.received).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next frame of that kind, whatever comes before it; pings are answered.
    pub(crate) async fn expect(&mut self, wanted: u8) -> Frame {
        loop {
            let frame = self.receive().await.expect("the connection is over");
            if frame.kind & !kind::END == wanted {
                return frame;
            }
            if frame.kind == kind::PING {
                self.send(kind::PONG, 0, &[]).await.unwrap();
            }
        }
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        self.stream.close().await.unwrap();
    }

    /// Reads until the peer closes the connection; pings are answered, so that silence is not the reason.
    pub(crate) async fn closed(&mut self) {
        while let Some(frame) = self.receive().await {
            if frame.kind == kind::PING {
                let _ = self.send(kind::PONG, 0, &[]).await;
            }
        }
    }

    /// So many bytes as they are.
    pub(crate) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        while self.received.len() < length {
            assert!(self.stream.fill(&mut self.received).await.unwrap() > 0, "the connection is over");
        }
        self.received.split_to(length).to_vec()
    }

    fn take(&mut self) -> Option<Frame> {
        let header: [u8; 8] = self.received.get(..8)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = self.received.get(8..8 + length)?.to_vec();
        self.received.advance(8 + length);
        Some(Frame { kind: header[3], exchange: u32::from_be_bytes(header[4..].try_into().unwrap()), payload })
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, exchange: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind], &exchange.to_be_bytes(), payload].concat()
}

/// The payload of RESPONSE or INTERIM, without a body.
pub(crate) fn response(status: u16, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = [&status.to_be_bytes()[..], &[0], &[0; 8], &[0]].concat();
    push_fields(&mut out, fields);
    out
}

/// The payload of REQUEST: `GET /` of the endpoint `files`.
pub(crate) fn request(credential: u32, fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = vec![7; 16];
    out.extend_from_slice(&credential.to_be_bytes());
    out.extend_from_slice(&[0; 9]);
    out.extend_from_slice(&[4, 127, 0, 0, 1, 0, 80]);
    out.extend_from_slice(b"\x05files\x03GET\x00\x09localhost\x00\x01/");
    push_fields(&mut out, fields);
    out
}

fn push_fields(out: &mut Vec<u8>, fields: &[(&[u8], &[u8])]) {
    for (name, value) in fields {
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
    }
}
