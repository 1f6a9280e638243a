//! Text of strangers, made safe for headers and logs; digests and base64 as tokens have them.
//!
//! Printable ASCII stays as it is. Everything else becomes `\xx`, one for each byte, so that no two texts become the same text.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Digits of serial numbers.
pub(crate) const UPPER_HEX: &[u8; 16] = b"0123456789ABCDEF";
const LOWER_HEX: &[u8; 16] = b"0123456789abcdef";

/// Base64 for URLs, without padding, as in every part of a token.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Escapes what is not printable ASCII, and the backslash itself.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    push_printable(&mut text, bytes);
    text
}

/// The same, at the end of `text`.
pub(crate) fn push_printable(text: &mut String, bytes: &[u8]) {
    push_escaped(text, bytes, |_| false);
}

/// The same for a value inside a distinguished name: the special characters of RFC 4514 are escaped too, so that a value cannot
/// pretend to be several.
pub(crate) fn push_name_value(text: &mut String, bytes: &[u8]) {
    let last = bytes.len().saturating_sub(1);
    let mut place = 0;
    push_escaped(text, bytes, |byte| {
        let outer_blank = byte == b' ' && (place == 0 || place == last);
        let leading_hash = byte == b'#' && place == 0;
        place += 1;
        outer_blank || leading_hash || b",+\"<>;=".contains(&byte)
    });
}

fn push_escaped(text: &mut String, bytes: &[u8], mut is_special: impl FnMut(u8) -> bool) {
    text.reserve(bytes.len());
    for &byte in bytes {
        let special = is_special(byte);
        if special && byte != b' ' {
            text.push('\\');
            text.push(char::from(byte));
        } else if special || byte == b'\\' || !(0x20..0x7f).contains(&byte) {
            let digit = |half: u8| char::from(LOWER_HEX[usize::from(half)]);
            text.extend(['\\', digit(byte >> 4), digit(byte & 0xf)]);
        } else {
            text.push(char::from(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_text_stays() {
        assert_eq!(printable(b"PC-1 (lab), O=x"), "PC-1 (lab), O=x");
    }

    #[test]
    fn control_and_non_ascii_bytes_become_hex() {
        assert_eq!(printable("a\r\nX: 1\0\u{fc}\\".as_bytes()), "a\\0d\\0aX: 1\\00\\c3\\bc\\5c");
    }

    fn name_value(bytes: &[u8]) -> String {
        let mut text = String::new();
        push_name_value(&mut text, bytes);
        text
    }

    #[test]
    fn a_name_value_cannot_pretend_to_be_two() {
        assert_eq!(name_value(b"pc1, O=Evil"), "pc1\\, O\\=Evil");
        assert_eq!(name_value(b" #x "), "\\20#x\\20");
        assert_eq!(name_value(b"#x"), "\\#x");
    }
}
