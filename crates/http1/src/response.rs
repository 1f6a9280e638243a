//! The head of an answer, as a client reads it.

use alloc::vec::Vec;
use core::ops::Range;

use crate::bytes::is_field_value;
use crate::content::Content;
use crate::lines::{Lines, bare_cr_or, has_blank_line};
use crate::{Fault, Field, Framing, HeadLimits, Span, Version};

/// What was asked, as far as it changes how the answer's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// HEAD: no answer has a body.
    Head,
    /// CONNECT: after a 2xx the connection is a tunnel.
    Connect,
    /// Any other method.
    Other,
}

/// An answer without its body. Spans point into the buffer that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 999.
    pub status: u16,
    /// May be empty; may hold spaces, tabs and bytes from 0x80 on.
    pub reason: Span,
    /// The version the server speaks.
    pub version: Version,
    /// In the order they came.
    pub fields: Vec<Field>,
    /// Bytes of the head with its blank line.
    pub len: usize,
    /// Where the body ends. [`Framing::None`] for 1xx, 204, 304, answers to HEAD and 2xx to CONNECT, whatever
    /// Content-Length says there.
    pub framing: Framing,
    /// Whether the connection may be used for another request when the body is over. False too where a 1xx or a 204
    /// announces a body that it must not have, so that what follows is never taken for the next answer.
    pub keep_alive: bool,
    /// Whether this is a 101, after which the connection speaks something else.
    pub upgrade: bool,
}

/// Reads the head at the start of `buf`; `Ok(None)` means that more bytes are needed. Bytes behind the head are left
/// alone. `fields` is storage to use again: what it held is forgotten.
///
/// # Errors
///
/// The first [`Fault`] found; some are found before the head is whole.
pub fn parse_response(
    buf: &[u8],
    limits: &HeadLimits,
    request: RequestKind,
    mut fields: Vec<Field>,
) -> Result<Option<ResponseHead>, Fault> {
    let window = limits.window(buf);
    if !has_blank_line(window, limits.lines())? {
        return unfinished(window, limits.has_room(window));
    }

    let mut lines = Lines { bytes: window, at: 0 };
    let Some(line) = lines.next_line()? else { return Ok(None) };
    let (version, status, reason) = parse_status_line(window, line)?;

    fields.clear();
    let mut content = Content::default();
    let read = lines.read_fields(limits.fields, &mut fields, |field| content.note(field.known, field.value.of(window)))?;
    let Some(len) = read else { return Ok(None) };

    let upgrade = status == 101;
    if upgrade && !content.upgrades() {
        return Err(Fault::SwitchWithoutUpgrade);
    }
    let declared = content.framing(version)?;
    let framing = framing(status, request, declared);
    let has_end = framing != Framing::UntilClose && !announces_what_it_may_not(status, declared);
    let keep_alive = has_end && content.keeps_alive(version);
    Ok(Some(ResponseHead { status, reason, version, fields, len, framing, keep_alive, upgrade }))
}

/// A head whose end is not there: wait if there is room for more and it can still become one.
fn unfinished(head: &[u8], has_room: bool) -> Result<Option<ResponseHead>, Fault> {
    const START: &[u8] = b"HTTP/";
    let len = head.len().min(START.len());
    if head[..len] != START[..len] {
        return Err(Fault::StatusLine);
    }
    if has_room { Ok(None) } else { Err(Fault::HeadTooLarge) }
}

/// `HTTP/1.1 200 OK`. Without a reason phrase the space before it may be missing, as some servers have it.
fn parse_status_line(bytes: &[u8], range: Range<usize>) -> Result<(Version, u16, Span), Fault> {
    let line = &bytes[range.clone()];
    let wrong = |fault| bare_cr_or(fault, line);

    let (version, rest) = line.split_at_checked(8).ok_or_else(|| wrong(Fault::StatusLine))?;
    let version = Version::parse(version, Fault::StatusLine).map_err(wrong)?;
    let (status, reason_len) = match rest {
        [b' ', status @ ..] if status.len() == 3 => (status, 0),
        [b' ', a, b, c, b' ', reason @ ..] => (&[*a, *b, *c][..], reason.len()),
        _ => return Err(wrong(Fault::StatusLine)),
    };
    let [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] = status else {
        return Err(wrong(Fault::StatusLine));
    };
    let reason = range.end - reason_len..range.end;
    if !is_field_value(&bytes[reason.clone()]) {
        return Err(wrong(Fault::ReasonPhrase));
    }
    let status = status.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    Ok((version, status, Span::new(reason)))
}

/// RFC 9112, 6.3.
fn framing(status: u16, request: RequestKind, declared: Option<Framing>) -> Framing {
    match (status, request) {
        (100..=199 | 204 | 304, _) | (_, RequestKind::Head) | (200..=299, RequestKind::Connect) => Framing::None,
        _ => declared.unwrap_or(Framing::UntilClose),
    }
}

fn announces_what_it_may_not(status: u16, declared: Option<Framing>) -> bool {
    matches!(status, 100..=199 | 204) && !matches!(declared, None | Some(Framing::Length(0)))
}
