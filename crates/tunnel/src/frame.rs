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

/// One frame, as received, or a part of a DATA frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) ends: bool,
    pub(crate) exchange: u32,
    pub(crate) payload: Bytes,
    /// A further part of the DATA frame before it.
    pub(crate) continues: bool,
}

/// The peer sent something that is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    #[error("frame of {0} bytes is too long for its kind")]
    TooLong(usize),
}

/// Takes frames off a buffer. A long DATA frame comes in parts, as its bytes arrive: kept until it was whole, most of it would be
/// moved once more.
#[derive(Default)]
pub(crate) struct Reader {
    /// What is still to come of a DATA frame.
    rest: Option<Rest>,
}

struct Rest {
    ends: bool,
    exchange: u32,
    length: usize,
}

impl Reader {
    /// Takes what is next off the front of `buffer`; none: more bytes are needed.
    pub(crate) fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if let Some(rest) = self.rest.take() {
            return Ok(self.take_part(rest, true, buffer));
        }
        let Some((kind, ends, exchange, length)) = peek(buffer)? else { return Ok(None) };
        let at_hand = buffer.len() - HEADER;
        if at_hand < length && (kind != Kind::Data || at_hand < COPY_BELOW) {
            return Ok(None);
        }
        buffer.advance(HEADER);
        if at_hand < length {
            return Ok(self.take_part(Rest { ends, exchange, length }, false, buffer));
        }
        let payload = payload(buffer, length);
        Ok(Some(Frame { kind, ends, exchange, payload, continues: false }))
    }

    fn take_part(&mut self, rest: Rest, continues: bool, buffer: &mut BytesMut) -> Option<Frame> {
        let length = rest.length.min(buffer.len());
        let is_last = length == rest.length;
        if !is_last && length < COPY_BELOW {
            self.rest = Some(rest);
            return None;
        }
        let Rest { ends, exchange, .. } = rest;
        if !is_last {
            self.rest = Some(Rest { length: rest.length - length, ..rest });
        }
        Some(Frame { kind: Kind::Data, ends: ends && is_last, exchange, payload: payload(buffer, length), continues })
    }
}

fn payload(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length >= COPY_BELOW {
        return buffer.split_to(length).freeze();
    }
    let payload = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    payload
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

    fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        Reader::default().take(buffer)
    }

    #[test]
    fn a_long_data_frame_comes_in_parts_and_nothing_is_lost_wherever_it_is_cut() {
        let body: Vec<u8> = (0..60_000_u32).map(|number| number as u8).collect();
        let mut bytes = vec![];
        push(&mut bytes, Kind::Data, true, 7, &body);
        push(&mut bytes, Kind::Ping, false, 0, &[]);

        for step in [1_000, COPY_BELOW + HEADER, 20_000, bytes.len()] {
            let (mut reader, mut buffer, mut frames) = (Reader::default(), BytesMut::new(), vec![]);
            for piece in bytes.chunks(step) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = reader.take(&mut buffer).unwrap() {
                    frames.push(frame);
                }
            }

            let ping = frames.pop().unwrap();
            assert_eq!((ping.kind, ping.continues), (Kind::Ping, false));
            assert!(frames.iter().all(|frame| (frame.kind, frame.exchange) == (Kind::Data, 7)));
            assert_eq!(frames.iter().map(|frame| &frame.payload[..]).collect::<Vec<_>>().concat(), body);
            let last = frames.len() - 1;
            assert!(frames.iter().enumerate().all(|(place, frame)| frame.continues == (place > 0) && frame.ends == (place == last)));
            assert_eq!(last > 0, step < bytes.len());
        }
    }

    #[test]
    fn a_frame_reads_back_whole_or_not_at_all() {
        let mut bytes = vec![];
        push(&mut bytes, Kind::Data, true, 7, b"hello");
        for cut in 0..bytes.len() {
            assert!(take(&mut BytesMut::from(&bytes[..cut])).unwrap().is_none());
        }

        let frame = take(&mut BytesMut::from(&bytes[..])).unwrap().unwrap();

        assert_eq!((frame.kind, frame.ends, frame.exchange, &frame.payload[..]), (Kind::Data, true, 7, &b"hello"[..]));
    }

    #[test]
    fn every_kind_reads_back() {
        for kind in Kind::ALL {
            let mut bytes = BytesMut::new();
            bytes.extend_from_slice(&header(kind, false, 1, 0));

            assert_eq!(take(&mut bytes).unwrap().unwrap().kind, kind);
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
