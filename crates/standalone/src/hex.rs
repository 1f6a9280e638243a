//! Hexadecimal numbers as administrators paste them out of other programs.

/// The digits of `text` in upper case, without the colons, blanks and invisible marks that certificate viewers put between and
/// before them; none where something else is left.
pub(crate) fn digits(text: &str) -> Option<String> {
    let is_filler = |c: char| c == ':' || c.is_whitespace() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{feff}');
    let digits: String = text.chars().filter(|c| !is_filler(*c)).map(|c| c.to_ascii_uppercase()).collect();
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(digits)
}

/// The bytes that exactly `2 * N` digits stand for.
pub(crate) fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (place, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_viewers_write_them() {
        for text in ["0a1B", "0A:1b", "0a 1b", "\u{200e}0a 1b ", " 0A1B\n"] {
            assert_eq!(digits(text).as_deref(), Some("0A1B"), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", " ", "0x1", "1g", "12-34", "é"] {
            assert_eq!(digits(text), None, "{text:?}");
        }
    }

    #[test]
    fn bytes_want_their_exact_length() {
        assert_eq!(bytes::<2>("0A1B"), Some([0x0a, 0x1b]));
        assert_eq!(bytes::<2>("0A1"), None);
        assert_eq!(bytes::<2>("0A1B0"), None);
    }
}
