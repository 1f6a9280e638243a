//! Text of strangers, made safe for headers and logs.
//!
//! Printable ASCII stays as it is. Everything else becomes `\xx`, one for each byte, so that no two texts become the same text.
use std::fmt::Write;

/// Escapes what is not printable ASCII, and the backslash itself.
pub(crate) fn printable(bytes: &[u8]) -> String {
    escaped(bytes, |_| false)
}

/// The same for a value inside a distinguished name: the special characters of RFC 4514 are escaped too, so that a value cannot
/// pretend to be several.
pub(crate) fn name_value(bytes: &[u8]) -> String {
    let last = bytes.len().saturating_sub(1);
    let mut place = 0;
    escaped(bytes, |byte| {
        let outer_blank = byte == b' ' && (place == 0 || place == last);
        let leading_hash = byte == b'#' && place == 0;
        place += 1;
        outer_blank || leading_hash || b",+\"<>;=".contains(&byte)
    })
}

fn escaped(bytes: &[u8], mut is_special: impl FnMut(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        let special = is_special(byte);
        if special && byte != b' ' {
            text.push('\\');
            text.push(char::from(byte));
        } else if special || byte == b'\\' || !(0x20..0x7f).contains(&byte) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\{byte:02x}");
        } else {
            text.push(char::from(byte));
        }
    }
    text
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

    #[test]
    fn a_name_value_cannot_pretend_to_be_two() {
        assert_eq!(name_value(b"pc1, O=Evil"), "pc1\\, O\\=Evil");
        assert_eq!(name_value(b" #x "), "\\20#x\\20");
        assert_eq!(name_value(b"#x"), "\\#x");
    }
}
