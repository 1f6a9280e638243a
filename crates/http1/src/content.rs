//! How long a body is and whether the connection outlives it: the fields that decide, read strictly.

use crate::bytes::{eq_ignore_case, members};
use crate::{Fault, Known};

/// The version of a message. Others are a [`Fault::Version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// Reads `HTTP/1.0` or `HTTP/1.1`. Something of that form with other digits is [`Fault::Version`], anything else
    /// is `otherwise`.
    pub(crate) fn parse(bytes: &[u8], otherwise: Fault) -> Result<Self, Fault> {
        match bytes {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(Fault::Version),
            _ => Err(otherwise),
        }
    }
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly that many bytes, as Content-Length said. It may be 0.
    Length(u64),
    /// Chunks, and perhaps trailers.
    Chunked,
    /// Up to the end of the connection; answers only.
    UntilClose,
}

/// What the fields of one head say about its body and its connection.
#[derive(Default)]
pub(crate) struct Content {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade_option: bool,
    websocket: bool,
    other_protocol: bool,
}

impl Content {
    pub(crate) fn note(&mut self, known: Known, value: &[u8]) -> Result<(), Fault> {
        match known {
            Known::ContentLength => self.note_length(value)?,
            Known::TransferEncoding => self.note_transfer_encoding(value)?,
            Known::Connection => members(value).for_each(|option| self.note_connection_option(option)),
            Known::Upgrade if eq_ignore_case(value, b"websocket") => self.websocket = true,
            Known::Upgrade => self.other_protocol = true,
            _ => {}
        }
        Ok(())
    }

    /// What was declared, `None` if nothing was.
    pub(crate) fn framing(&self, version: Version) -> Result<Option<Framing>, Fault> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(Fault::TransferEncodingWithContentLength),
            (true, None) if version == Version::Http10 => Err(Fault::TransferEncodingInHttp10),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }

    /// Whether the sender wants to go on with this connection.
    pub(crate) fn keeps_alive(&self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }

    /// Whether Upgrade is there, Connection names it, and it is to WebSocket alone. After a switch to `h2c`, requests to any path could
    /// be made that nobody checks.
    pub(crate) fn upgrades(&self) -> bool {
        self.upgrade_option && self.websocket && !self.other_protocol
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() {
            return Err(Fault::ContentLengthDuplicate);
        }
        self.length = Some(parse_length(value)?);
        Ok(())
    }

    fn note_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.chunked {
            return Err(Fault::TransferEncodingDuplicate);
        }
        if !eq_ignore_case(value, b"chunked") {
            return Err(Fault::TransferEncodingUnsupported);
        }
        self.chunked = true;
        Ok(())
    }

    fn note_connection_option(&mut self, option: &[u8]) {
        self.close |= eq_ignore_case(option, b"close");
        self.keep_alive |= eq_ignore_case(option, b"keep-alive");
        self.upgrade_option |= eq_ignore_case(option, b"upgrade");
    }
}

/// Digits only, so that no two readers see two lengths: no sign, no blank, no list.
fn parse_length(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::ContentLengthInvalid);
    }
    value
        .iter()
        .try_fold(0_u64, |length, digit| length.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
        .ok_or(Fault::ContentLengthOverflow)
}
