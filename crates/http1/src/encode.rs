//! The pieces of a message that every writer needs. Whole heads are put together by those who send them.

use alloc::vec::Vec;

/// Ends a line; alone on its line, a head or trailers.
pub const CRLF: &[u8] = b"\r\n";

/// Follows the data of each chunk.
pub const CHUNK_END: &[u8] = CRLF;

/// Ends a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Ends the chunks of a body with trailers: these follow, then [`CRLF`].
pub const LAST_CHUNK_HEAD: &[u8] = b"0\r\n";

/// Writes the line before a chunk of `len` bytes of data; [`CHUNK_END`] goes behind the data. Without data there
/// is no chunk to write: for 0 nothing is written here, since a chunk of size 0 would end the body.
pub fn push_chunk_head(len: usize, out: &mut Vec<u8>) {
    if len == 0 {
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for position in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * position) & 0xf]);
    }
    out.extend_from_slice(CRLF);
}

/// Writes one field line. The name has to be a token and the value a field value, as every parsed one is; whoever makes
/// them from other bytes checks with [`is_token`](crate::is_token) and [`is_field_value`](crate::is_field_value).
pub fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(crate::is_token(name) && crate::is_field_value(value), "a field that would break the head");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}
