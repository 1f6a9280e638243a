//! The head of a request, as a server reads it.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::memchr;

use crate::bytes::{eq_ignore_case, is_tchar, is_token, members};
use crate::content::Content;
use crate::lines::{Lines, bare_cr_or, has_blank_line};
use crate::{Fault, Field, Framing, HeadLimits, Known, Span, Version};

/// A request without its body. Spans point into the buffer that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Any token; `CCM_POST` and `PROPFIND` too.
    pub method: Span,
    /// Every byte as it came, visible ASCII only. Whether it is a path, a URL, an authority or `*` is not looked at.
    pub target: Span,
    /// The version the client speaks.
    pub version: Version,
    /// In the order they came.
    pub fields: Vec<Field>,
    /// Bytes of the head with its blank line, and with a line end in front of it if there was one.
    pub len: usize,
    /// Where the body ends; never [`Framing::UntilClose`].
    pub framing: Framing,
    /// Whether the client wants another answer on this connection.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body. False in version 1.0, which has no 100.
    pub expect_continue: bool,
    /// Whether the client offers to switch to WebSocket: Upgrade says so and Connection names it. Never in version 1.0 and never with a
    /// body, which the new protocol would come in the middle of. An offer of another protocol is none.
    pub upgrade: bool,
    /// Whether the client understands trailers (`TE: trailers`).
    pub te_trailers: bool,
}

/// Reads the head at the start of `buf`; `Ok(None)` means that more bytes are needed. Bytes behind the head are left
/// alone. `fields` is storage to use again: what it held is forgotten.
///
/// One line end in front is skipped, since some clients send one after a body. A head that is not whole costs one search
/// for line ends, or less; call it once per read, not once per byte.
///
/// # Errors
///
/// The first [`Fault`] found; some are found before the head is whole.
pub fn parse_request(buf: &[u8], limits: &HeadLimits, mut fields: Vec<Field>) -> Result<Option<RequestHead>, Fault> {
    let window = limits.window(buf);
    let start = if window.starts_with(b"\r\n") { 2 } else { 0 };
    if !has_blank_line(&window[start..], limits.lines())? {
        return unfinished(&window[start..], limits.has_room(window));
    }

    let mut lines = Lines { bytes: window, at: start };
    let Some(line) = lines.next_line()? else { return Ok(None) };
    let (method, target, version) = parse_request_line(window, line)?;

    fields.clear();
    let mut content = Content::default();
    let mut wishes = Wishes::default();
    let read = lines.read_fields(limits.fields, &mut fields, |field| {
        let value = field.value.of(window);
        content.note(field.known, value)?;
        wishes.note(field.known, value)
    })?;
    let Some(len) = read else { return Ok(None) };

    if version == Version::Http11 && !wishes.host {
        return Err(Fault::HostMissing);
    }
    let framing = content.framing(version)?.unwrap_or(Framing::None);
    let may_upgrade = version == Version::Http11 && matches!(framing, Framing::None | Framing::Length(0));
    Ok(Some(RequestHead {
        method,
        target,
        version,
        fields,
        len,
        framing,
        keep_alive: content.keeps_alive(version),
        expect_continue: wishes.expect_continue && version == Version::Http11,
        upgrade: content.upgrades() && may_upgrade,
        te_trailers: wishes.te_trailers,
    }))
}

/// A head whose end is not there: wait if there is room for more and it can still become one.
fn unfinished(head: &[u8], has_room: bool) -> Result<Option<RequestHead>, Fault> {
    match head.first() {
        // The CR may be half of the line end in front.
        Some(&first) if !is_tchar(first) && head != b"\r" => Err(bare_cr_or(Fault::Method, &[first])),
        _ if !has_room => Err(Fault::HeadTooLarge),
        _ => Ok(None),
    }
}

fn parse_request_line(bytes: &[u8], range: Range<usize>) -> Result<(Span, Span, Version), Fault> {
    let line = &bytes[range.clone()];
    let wrong = |fault| bare_cr_or(fault, line);

    let method_len = memchr(b' ', line).ok_or_else(|| wrong(Fault::RequestLine))?;
    let after_method = &line[method_len + 1..];
    let target_len = memchr(b' ', after_method).ok_or_else(|| wrong(Fault::RequestLine))?;
    let (target, version) = (&after_method[..target_len], &after_method[target_len + 1..]);

    if !is_token(&line[..method_len]) {
        return Err(wrong(Fault::Method));
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(wrong(Fault::Target));
    }
    let version = Version::parse(version, Fault::RequestLine).map_err(wrong)?;

    let target_start = range.start + method_len + 1;
    Ok((Span::new(range.start..range.start + method_len), Span::new(target_start..target_start + target_len), version))
}

/// What only requests say.
#[derive(Default)]
struct Wishes {
    host: bool,
    expect_continue: bool,
    te_trailers: bool,
}

impl Wishes {
    fn note(&mut self, known: Known, value: &[u8]) -> Result<(), Fault> {
        match known {
            Known::Host if self.host => return Err(Fault::HostDuplicate),
            Known::Host if !is_host(value) => return Err(Fault::HostInvalid),
            Known::Host => self.host = true,
            Known::Expect if !eq_ignore_case(value, b"100-continue") => return Err(Fault::Expectation),
            Known::Expect => self.expect_continue = true,
            Known::Te => self.te_trailers |= members(value).any(|coding| eq_ignore_case(coding, b"trailers")),
            _ => {}
        }
        Ok(())
    }
}

/// A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port of one to five digits. Narrower than the
/// RFC (nothing percent-encoded, none of `!$&'()*+,;=`, not empty): no published name needs more.
fn is_host(value: &[u8]) -> bool {
    let (host_len, valid) = match value {
        [b'[', inside @ ..] => {
            let len = inside.iter().take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')).count();
            (len + 2, len > 0 && inside.get(len) == Some(&b']'))
        }
        _ => {
            let is_name_byte = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            let len = value.iter().take_while(|byte| is_name_byte(byte)).count();
            (len, len > 0)
        }
    };
    valid
        && match &value[host_len..] {
            [] => true,
            [b':', port @ ..] => (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}
