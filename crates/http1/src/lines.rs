//! Lines and fields, the part that requests, answers and trailers have in common.

use alloc::vec::Vec;
use core::ops::Range;

use memchr::{memchr, memchr_iter};

use crate::bytes::{is_blank, is_field_value, token_len, trim};
use crate::{Fault, Known, Span};

/// Bytes that a field name may have: the longest in use have a fifth of it, and whoever passes names on can count them in one byte.
pub const MAX_FIELD_NAME: usize = 255;

/// One field of a head or a trailer section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name as it was spelled.
    pub name: Span,
    /// The value without blanks around it; it may be empty.
    pub value: Span,
    /// What the name means here.
    pub known: Known,
}

/// How large a head may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, from the start of the buffer to the end of the blank line.
    pub bytes: usize,
    /// Number of fields.
    pub fields: usize,
}

impl HeadLimits {
    /// The part of `buf` in which a head has to end. Offsets into it fit a [`Span`].
    pub(crate) fn window<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        &buf[..buf.len().min(self.longest())]
    }

    /// Whether a head that does not end in `window` may go on behind it.
    pub(crate) fn has_room(&self, window: &[u8]) -> bool {
        window.len() < self.longest()
    }

    /// Lines of the largest head, without the blank one.
    pub(crate) fn lines(&self) -> usize {
        self.fields.saturating_add(1)
    }

    fn longest(&self) -> usize {
        self.bytes.min(u32::MAX as usize)
    }
}

/// Whether `bytes` hold a blank line, so that reading them in earnest is worth it. Also finds what a peer is waited for in vain with:
/// bare LFs, and more than `limit` lines before the blank one, so that a head that comes byte by byte costs no more than a look at each
/// of the lines it may have.
pub(crate) fn has_blank_line(bytes: &[u8], limit: usize) -> Result<bool, Fault> {
    if bytes.ends_with(b"\r\n\r\n") {
        return Ok(true);
    }
    let mut start = 0;
    for (line, end) in memchr_iter(b'\n', bytes).enumerate() {
        if end == start || bytes[end - 1] != b'\r' {
            return Err(Fault::BareLf);
        }
        if end == start + 1 {
            return Ok(true);
        }
        if line == limit {
            return Err(Fault::TooManyFields);
        }
        start = end + 1;
    }
    Ok(false)
}

/// Takes lines off the front of a buffer.
pub(crate) struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl Lines<'_> {
    /// Where the next line is, without its CRLF. `None` if its end is not there.
    pub(crate) fn next_line(&mut self) -> Result<Option<Range<usize>>, Fault> {
        let start = self.at;
        let Some(len) = memchr(b'\n', &self.bytes[start..]) else {
            return Ok(None);
        };
        let end = start + len;
        if len == 0 || self.bytes[end - 1] != b'\r' {
            return Err(Fault::BareLf);
        }
        self.at = end + 1;
        Ok(Some(start..end - 1))
    }

    /// Reads fields up to and including the blank line and shows each to `note`. Answers with the offset behind the
    /// blank line, `None` if that is not there.
    pub(crate) fn read_fields(
        &mut self,
        limit: usize,
        fields: &mut Vec<Field>,
        mut note: impl FnMut(Field) -> Result<(), Fault>,
    ) -> Result<Option<usize>, Fault> {
        while let Some(line) = self.next_line()? {
            if line.is_empty() {
                return Ok(Some(self.at));
            }
            if fields.len() >= limit {
                return Err(Fault::TooManyFields);
            }
            let field = parse_field(self.bytes, line)?;
            note(field)?;
            fields.push(field);
        }
        Ok(None)
    }
}

/// The fault of a line that is wrong: a bare CR if it holds one, which explains all else.
pub(crate) fn bare_cr_or(fault: Fault, line: &[u8]) -> Fault {
    if memchr(b'\r', line).is_some() { Fault::BareCr } else { fault }
}

fn parse_field(bytes: &[u8], range: Range<usize>) -> Result<Field, Fault> {
    let line = &bytes[range.clone()];
    let name_len = token_len(line);
    if name_len == 0 || line.get(name_len) != Some(&b':') {
        return Err(bare_cr_or(name_fault(line, name_len), line));
    }
    if name_len > MAX_FIELD_NAME {
        return Err(Fault::FieldNameTooLong);
    }
    let (name, after) = (&line[..name_len], &line[name_len + 1..]);
    if !is_field_value(after) {
        return Err(bare_cr_or(Fault::FieldValue, line));
    }
    let value = trim(after);
    let value_start = range.end - trim_start_len(after);
    Ok(Field {
        name: Span::new(range.start..range.start + name_len),
        value: Span::new(value_start..value_start + value.len()),
        known: Known::of(name),
    })
}

/// Length of what is left when the blanks in front are gone.
fn trim_start_len(bytes: &[u8]) -> usize {
    bytes.len() - bytes.iter().take_while(|&&byte| is_blank(byte)).count()
}

fn name_fault(line: &[u8], name_len: usize) -> Fault {
    let rest = &line[name_len..];
    if name_len == 0 && rest.first().is_some_and(|&byte| is_blank(byte)) {
        return Fault::FoldedLine;
    }
    if memchr(b':', rest).is_none() {
        return Fault::MissingColon;
    }
    let blanks = rest.len() - trim_start_len(rest);
    if blanks > 0 && rest.get(blanks) == Some(&b':') { Fault::SpaceBeforeColon } else { Fault::FieldName }
}
