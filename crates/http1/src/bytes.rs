//! Classes of bytes, as RFC 9110 names them, and what is read with them.

/// `tchar`: what names and methods are made of.
const TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        byte += 1;
    }
    table
}

/// Whether `bytes` is a token: not empty, only letters, digits and ``!#$%&'*+-.^_`|~``.
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

/// Whether `bytes` may stand in a field value or a reason phrase: no control character but the tab, no DEL.
/// Bytes from 0x80 on pass.
#[must_use]
pub fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early exit the compiler turns this into vector instructions.
    !bytes.iter().fold(false, |found, &byte| found | is_control(byte))
}

/// Whether two names or options are the same; ASCII letters count alike in both cases.
#[inline]
#[must_use]
pub fn eq_ignore_case(a: &[u8], b: &[u8]) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// How many bytes at the start of `bytes` belong to a token.
pub(crate) fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| !is_tchar(byte)).unwrap_or(bytes.len())
}

pub(crate) fn is_tchar(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// A control character that no value may hold. Tab is none, DEL is one.
pub(crate) fn is_control(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without the blanks at both ends.
pub(crate) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_blank(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_blank(*last)
    {
        bytes = rest;
    }
    bytes
}

/// The members of a comma-separated list, trimmed; empty ones are skipped.
pub(crate) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty())
}
