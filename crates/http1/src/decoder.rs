//! Finds the body in what follows a head: where its pieces are and where it ends.

use alloc::vec::Vec;
use core::ops::Range;

use crate::chunk::{Expected, Next};
use crate::known::is_forbidden_trailer;
use crate::lines::{Lines, has_blank_line};
use crate::{Fault, Field, Framing};

/// Bytes that trailers may have with their blank line. They must be in the input as a whole, so a reader's buffer has
/// to have room for this much; checksums and signatures need a tenth of it.
pub const MAX_TRAILER_BYTES: usize = 8 * 1024;

/// Trailer fields that may come.
pub const MAX_TRAILER_FIELDS: usize = 64;

/// What one call found.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with. The rest has to be there again, with what follows it, in the next call.
    pub consumed: usize,
    /// What they were.
    pub piece: Piece,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Body bytes: a range, never empty, in the input up to `consumed`. As much of the chunk as was there.
    Data(Range<usize>),
    /// Nothing but framing, or not enough of it: read on.
    NeedMore,
    /// The body is over. Said again by every later call.
    End,
    /// The body is over and these came behind it. Spans point into the input up to `consumed`.
    Trailers(Vec<Field>),
}

/// Decodes one body. It counts bytes but does not limit them: how large a body may be is the caller's to say.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// This many bytes are left, at least one.
    Length(u64),
    UntilClose,
    /// Between the data of two chunks.
    ChunkFraming(Expected),
    /// This many bytes of the chunk are left, at least one.
    ChunkData(u64),
    Trailers,
    Finished,
    Failed(Fault),
}

impl Decoder {
    /// A decoder for the body behind a head of this framing.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Finished,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkFraming(Expected::CHUNK),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Finds the next piece. Call it again with the rest of the input until it needs more.
    ///
    /// # Errors
    ///
    /// The [`Fault`] of the framing; the same one from every later call.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, Fault> {
        let decoded = self.next_piece(input);
        if let Err(fault) = decoded {
            self.state = State::Failed(fault);
        }
        decoded
    }

    /// Whether the body is over. After the last byte of a known length it is at once, without a [`Piece::End`].
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Tells that the connection has ended and all its bytes were decoded.
    ///
    /// # Errors
    ///
    /// [`Fault::Truncated`] unless the body is over or lasts until the connection ends.
    pub fn end_of_input(&mut self) -> Result<(), Fault> {
        self.state = match self.state {
            State::Finished | State::UntilClose => State::Finished,
            State::Failed(fault) => State::Failed(fault),
            State::Length(_) | State::ChunkFraming(_) | State::ChunkData(_) | State::Trailers => State::Failed(Fault::Truncated),
        };
        if let State::Failed(fault) = self.state { Err(fault) } else { Ok(()) }
    }

    fn next_piece(&mut self, input: &[u8]) -> Result<Decoded, Fault> {
        let mut at = 0;
        while let State::ChunkFraming(expected) = self.state {
            let Some(&byte) = input.get(at) else {
                return Ok(need_more(at));
            };
            self.state = match expected.take(byte)? {
                Next::Byte(expected) => State::ChunkFraming(expected),
                Next::Data(size) => State::ChunkData(size),
                Next::Trailers => State::Trailers,
            };
            at += 1;
        }
        match self.state {
            State::Finished => Ok(Decoded { consumed: at, piece: Piece::End }),
            State::Failed(fault) => Err(fault),
            State::Trailers => self.read_trailers(input, at),
            _ if at == input.len() => Ok(need_more(at)),
            _ => Ok(self.take_data(input, at)),
        }
    }

    /// The body bytes that start at `at`; there is at least one.
    fn take_data(&mut self, input: &[u8], at: usize) -> Decoded {
        let available = input.len() - at;
        let (len, state) = match self.state {
            State::Length(left) => {
                let (len, left) = split(left, available);
                (len, if left == 0 { State::Finished } else { State::Length(left) })
            }
            State::ChunkData(left) => {
                let (len, left) = split(left, available);
                (len, if left == 0 { State::ChunkFraming(Expected::DataCr) } else { State::ChunkData(left) })
            }
            other => (available, other),
        };
        self.state = state;
        Decoded { consumed: at + len, piece: Piece::Data(at..at + len) }
    }

    fn read_trailers(&mut self, input: &[u8], at: usize) -> Result<Decoded, Fault> {
        let window = &input[..input.len().min(at + MAX_TRAILER_BYTES)];
        let mut fields = Vec::new();
        let end = if has_blank_line(&window[at..], MAX_TRAILER_FIELDS).map_err(as_trailers)? {
            let mut lines = Lines { bytes: window, at };
            lines.read_fields(MAX_TRAILER_FIELDS, &mut fields, |field| check_trailer(field, window)).map_err(as_trailers)?
        } else {
            None
        };
        match end {
            Some(consumed) => {
                self.state = State::Finished;
                let piece = if fields.is_empty() { Piece::End } else { Piece::Trailers(fields) };
                Ok(Decoded { consumed, piece })
            }
            None if window.len() - at == MAX_TRAILER_BYTES => Err(Fault::TrailersTooLarge),
            None => Ok(need_more(at)),
        }
    }
}

fn need_more(consumed: usize) -> Decoded {
    Decoded { consumed, piece: Piece::NeedMore }
}

/// How many of the bytes left are available, and how many are left after them.
fn split(left: u64, available: usize) -> (usize, u64) {
    match usize::try_from(left) {
        Ok(left) if left <= available => (left, 0),
        _ => (available, left - available as u64),
    }
}

fn check_trailer(field: Field, bytes: &[u8]) -> Result<(), Fault> {
    if is_forbidden_trailer(field.known, field.name.of(bytes)) { Err(Fault::TrailerForbidden) } else { Ok(()) }
}

fn as_trailers(fault: Fault) -> Fault {
    if fault == Fault::TooManyFields { Fault::TrailersTooLarge } else { fault }
}
