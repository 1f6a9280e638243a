//! Text forms: PEM, hexadecimal, base64 for URLs, and GUIDs.
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// Characters in one line of PEM.
const PEM_LINE: usize = 64;

/// `der` as PEM.
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let frame = 2 * label.len() + "-----BEGIN -----\n-----END -----\n".len();
    let mut text = Zeroizing::new(String::with_capacity(frame + der.len() * 3 / 2 + 8));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    push_lines(&mut text, der);
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// `bytes` in base64, as lines of PEM.
pub(crate) fn push_lines(text: &mut String, bytes: &[u8]) {
    let encoded = Zeroizing::new(BASE64_STANDARD.encode(bytes));
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(PEM_LINE.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.as_bytes().chunks(2) {
        let [high, low] = pair else { return None };
        bytes.push((digit(high)? << 4 | digit(low)?) as u8);
    }
    Some(bytes)
}

/// Base64 for URLs, without padding, as in every part of a token.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// 16 random bytes as a random GUID (RFC 9562, version 4), lower case.
pub(crate) fn guid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let digits = hex(&random);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_reads_back() {
        assert_eq!(hex(&[0, 0xaf, 7]), "00af07");
        assert_eq!(from_hex("00af07").as_deref(), Some(&vec![0, 0xaf, 7]));
        assert!(from_hex("0").is_none() && from_hex("0g").is_none());
    }

    #[test]
    fn a_guid_is_of_version_4() {
        let guid = guid([0xff; 16]);

        assert_eq!(guid, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
