//! Frames: eight bytes that say how long, what, and for which exchange; then the payload.
//!
//! ```text
//! 0        3      4            8
//! | length | kind | exchange   | payload …
//! ```
//! Integers are big-endian. The high bit of `kind` ends the sender's direction of the exchange.
use bytes::{Buf, Bytes, BytesMut};

/// Bytes before the payload.
pub(crate) const HEADER: usize = 8;

/// Longest payload of a DATA frame.
pub(crate) const DATA_LIMIT: usize = 64 * 1024;

/// Longest payload of any other frame: a head of 64 KiB, or a certificate chain, and what goes with it.
const LIMIT: usize = 256 * 1024;

/// Frames shorter than this are copied out of the read buffer, so that a small one does not keep a large buffer alive.
const COPY_BELOW: usize = 8 * 1024;

const END: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Gateway: who I am. First frame on every connection.
    Greeting = 1,
    /// Connection point: what this connection is for.
    Hello,
    /// Either: are you there?
    Ping,
    /// Either: I am.
    Pong,
    /// Gateway: a client's certificate chain or token, under a number.
    Credential,
    /// Gateway: that number is over.
    Forget,
    /// Gateway: an exchange begins.
    Request,
    /// Either: a part of a body.
    Data,
    /// Either: fields behind the body; ends the direction.
    Trailers,
    /// Connection point: a 1xx head.
    Interim,
    /// Connection point: the head of the answer.
    Response,
    /// Connection point: no answer, with a reason of the refusal table.
    Refuse,
    /// Either: so many more bytes may be sent.
    Credit,
    /// Either: the exchange is over at once.
    Reset,
    /// Either: the rest of this direction comes on a lane.
    Moved,
    /// Connection point: the endpoints it can serve at the moment.
    Serves,
    /// Either: no new exchanges, please.
    Drain,
    /// Sender of a lane: the body of this exchange follows.
    Carry,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Greeting,
        Self::Hello,
        Self::Ping,
        Self::Pong,
        Self::Credential,
        Self::Forget,
        Self::Request,
        Self::Data,
        Self::Trailers,
        Self::Interim,
        Self::Response,
        Self::Refuse,
        Self::Credit,
        Self::Reset,
        Self::Moved,
        Self::Serves,
        Self::Drain,
        Self::Carry,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte & !END).checked_sub(1)?).copied()
    }

    fn limit(self) -> usize {
        match self {
            Self::Data => DATA_LIMIT,
            Self::Ping
            | Self::Pong
            | Self::Forget
            | Self::Credit
            | Self::Reset
            | Self::Refuse
            | Self::Moved
            | Self::Drain
            | Self::Carry => 16,
            Self::Greeting
            | Self::Hello
            | Self::Credential
            | Self::Request
            | Self::Trailers
            | Self::Interim
            | Self::Response
            | Self::Serves => LIMIT,
        }
    }
}

/// One frame, as received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) ends: bool,
    pub(crate) exchange: u32,
    pub(crate) payload: Bytes,
}

/// The peer sent something that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("frame of {0} bytes is too long for its kind")]
    TooLong(usize),
}

/// Takes the next whole frame off the front of `buffer`; none: more bytes are needed.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some((kind, ends, exchange, length)) = peek(buffer)? else { return Ok(None) };
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    buffer.advance(HEADER);
    let payload = if length < COPY_BELOW {
        let payload = Bytes::copy_from_slice(&buffer[..length]);
        buffer.advance(length);
        payload
    } else {
        buffer.split_to(length).freeze()
    };
    Ok(Some(Frame { kind, ends, exchange, payload }))
}

/// Reads a frame's header; none: it is not there yet.
pub(crate) fn peek(buffer: &[u8]) -> Result<Option<(Kind, bool, u32, usize)>, FrameError> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let [l0, l1, l2, kind_byte, e0, e1, e2, e3] = *header;
    let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
    let kind = Kind::from_byte(kind_byte).ok_or(FrameError::UnknownKind(kind_byte))?;
    if length > kind.limit() {
        return Err(FrameError::TooLong(length));
    }
    Ok(Some((kind, kind_byte & END != 0, u32::from_be_bytes([e0, e1, e2, e3]), length)))
}

/// A frame's header. `length` is below 16 MiB by construction of its callers.
pub(crate) fn header(kind: Kind, ends: bool, exchange: u32, length: usize) -> [u8; HEADER] {
    let [_, l0, l1, l2] = (length as u32).to_be_bytes();
    let [e0, e1, e2, e3] = exchange.to_be_bytes();
    [l0, l1, l2, kind as u8 | if ends { END } else { 0 }, e0, e1, e2, e3]
}

/// Appends a whole frame.
pub(crate) fn push(out: &mut Vec<u8>, kind: Kind, ends: bool, exchange: u32, payload: &[u8]) {
    out.extend_from_slice(&header(kind, ends, exchange, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a frame whose payload `write` appends.
pub(crate) fn push_with(out: &mut Vec<u8>, kind: Kind, ends: bool, exchange: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    write(out);
    let length = out.len() - start - HEADER;
    out[start..start + HEADER].copy_from_slice(&header(kind, ends, exchange, length));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_whole_or_not_at_all() {
        let mut bytes = vec![];
        push(&mut bytes, Kind::Data, true, 7, b"hello");
        for cut in 0..bytes.len() {
            assert!(take(&mut BytesMut::from(&bytes[..cut])).expect("no fault").is_none());
        }

        let frame = take(&mut BytesMut::from(&bytes[..])).expect("no fault").expect("a frame");

        assert_eq!((frame.kind, frame.ends, frame.exchange, &frame.payload[..]), (Kind::Data, true, 7, &b"hello"[..]));
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in Kind::ALL {
            let mut bytes = BytesMut::new();
            bytes.extend_from_slice(&header(kind, false, 1, 0));

            assert_eq!(take(&mut bytes).expect("no fault").expect("a frame").kind, kind);
        }
    }

    #[test]
    fn unknown_kinds_and_long_frames_are_faults_before_their_payload_comes() {
        let mut unknown = BytesMut::from(&[0, 0, 0, 99, 0, 0, 0, 0][..]);
        assert_eq!(take(&mut unknown).err(), Some(FrameError::UnknownKind(99)));

        let mut long = BytesMut::from(&header(Kind::Ping, false, 0, 17)[..]);
        assert_eq!(take(&mut long).err(), Some(FrameError::TooLong(17)));
    }
}
