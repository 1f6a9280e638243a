//! The bytes between chunks: sizes, extensions and line ends, one byte at a time, so that any split of the input is
//! as good as any other and nothing has to be kept.

use crate::Fault;
use crate::bytes::is_control;

/// Bytes that a chunk extension may have, the semicolon not counted. Nobody needs extensions; they are skipped.
pub const MAX_CHUNK_EXTENSION: u16 = 256;

/// Digits that 64 bits can hold.
const MAX_SIZE_DIGITS: u8 = 16;

/// What the next byte of the framing has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// A digit of the size, or what ends it.
    Size { size: u64, digits: u8 },
    /// A byte of an extension, or the CR behind it.
    Extension { size: u64, len: u16 },
    /// The LF behind size and extensions.
    SizeLf { size: u64 },
    /// The CR behind the data.
    DataCr,
    /// The LF behind the data.
    DataLf,
}

/// What is known after a byte.
pub(crate) enum Next {
    Byte(Expected),
    /// This many bytes of data follow, at least one.
    Data(u64),
    /// The last chunk is over; trailers or a blank line follow.
    Trailers,
}

impl Expected {
    /// The start of a chunk.
    pub(crate) const CHUNK: Self = Self::Size { size: 0, digits: 0 };

    pub(crate) fn take(self, byte: u8) -> Result<Next, Fault> {
        let next = match self {
            Self::Size { size, digits } => take_size(size, digits, byte)?,
            Self::Extension { size, len } => take_extension(size, len, byte)?,
            Self::SizeLf { .. } if byte != b'\n' => return Err(Fault::BareCr),
            Self::SizeLf { size: 0 } => return Ok(Next::Trailers),
            Self::SizeLf { size } => return Ok(Next::Data(size)),
            Self::DataCr if byte == b'\r' => Self::DataLf,
            Self::DataLf if byte == b'\n' => Self::CHUNK,
            Self::DataCr | Self::DataLf => return Err(Fault::ChunkEnd),
        };
        Ok(Next::Byte(next))
    }
}

fn take_size(size: u64, digits: u8, byte: u8) -> Result<Expected, Fault> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(Expected::SizeLf { size }),
        b';' if digits > 0 => return Ok(Expected::Extension { size, len: 0 }),
        b'\n' => return Err(Fault::BareLf),
        _ => return Err(Fault::ChunkSize),
    };
    if digits == MAX_SIZE_DIGITS {
        return Err(Fault::ChunkSizeTooLong);
    }
    Ok(Expected::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
}

fn take_extension(size: u64, len: u16, byte: u8) -> Result<Expected, Fault> {
    match byte {
        b'\r' => Ok(Expected::SizeLf { size }),
        b'\n' => Err(Fault::BareLf),
        _ if is_control(byte) => Err(Fault::ChunkExtension),
        _ if len == MAX_CHUNK_EXTENSION => Err(Fault::ChunkExtensionTooLong),
        _ => Ok(Expected::Extension { size, len: len + 1 }),
    }
}
