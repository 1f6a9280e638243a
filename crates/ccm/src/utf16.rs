//! Texts as the protocol writes them: UTF-16, little-endian.

use crate::Fault;

/// Reads up to the first NUL; a byte order mark may stand before the text.
pub(crate) fn decode(bytes: &[u8]) -> Result<String, Fault> {
    let (units, _odd) = bytes.as_chunks::<2>();
    let is_big_endian = units.first() == Some(&[0xfe, 0xff]);
    let units = units.iter().map(|unit| if is_big_endian { u16::from_be_bytes(*unit) } else { u16::from_le_bytes(*unit) });
    let text: Vec<u16> = units.skip_while(|unit| *unit == 0xfeff).take_while(|unit| *unit != 0).collect();
    String::from_utf16(&text).map_err(|_| Fault::Text)
}

/// The text without a mark and without a NUL.
pub(crate) fn encode(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The text with a byte order mark before it.
pub(crate) fn with_mark(text: &str) -> Vec<u8> {
    [&[0xff, 0xfe], encode(text).as_slice()].concat()
}

/// The text with a NUL behind it.
pub(crate) fn with_nul(text: &str) -> Vec<u8> {
    [encode(text).as_slice(), &[0, 0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["", "abc", "Grüße", "𝄞"] {
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text));
            assert_eq!(decode(&with_mark(text)).as_deref(), Ok(text));
            assert_eq!(decode(&[with_nul(text), b"\r\n".to_vec()].concat()).as_deref(), Ok(text));
        }
        assert_eq!(decode(&[0xfe, 0xff, 0, b'a']).as_deref(), Ok("a"));
        assert_eq!(decode(&[0x00, 0xd8]), Err(Fault::Text));
    }
}
