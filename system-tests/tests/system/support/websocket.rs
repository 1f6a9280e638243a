//! The client's side of a WebSocket, enough to tell frames apart.

use super::{Caller, Wire};

/// A frame, never fragmented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Close,
}

/// An open WebSocket.
pub(crate) struct WebSocket {
    pub(crate) wire: Wire,
}

impl WebSocket {
    /// Asks for the upgrade at `target`.
    #[track_caller]
    pub(crate) fn open(caller: &Caller, target: &str) -> Self {
        let mut wire = caller.open();
        wire.send_head("GET", target, &UPGRADE);
        let reply = wire.read();

        assert_eq!(reply.status, 101, "{} {}", reply.reason, reply.text());
        // What RFC 6455 gives as the answer to the key in UPGRADE.
        assert_eq!(reply.field("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Self { wire }
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        let (opcode, payload): (u8, &[u8]) = match frame {
            Frame::Text(text) => (1, text.as_bytes()),
            Frame::Binary(bytes) => (2, bytes),
            Frame::Close => (8, b""),
        };
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut bytes = vec![0x80 | opcode, 0x80 | 127];
        bytes.extend((payload.len() as u64).to_be_bytes());
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        self.wire.write(&bytes);
    }

    pub(crate) fn receive(&mut self) -> Frame {
        let head = self.wire.read_bytes(2).unwrap();
        let extra = match head[1] {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let long = self.wire.read_bytes(extra).unwrap().iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let payload = self.wire.read_bytes(if extra == 0 { usize::from(head[1]) } else { long }).unwrap();
        match head[0] & 0x0f {
            1 => Frame::Text(String::from_utf8(payload).unwrap()),
            2 => Frame::Binary(payload),
            8 => Frame::Close,
            opcode => panic!("opcode {opcode}"),
        }
    }
}

/// The fields of an upgrade request, with the example key of RFC 6455.
pub(crate) const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];
