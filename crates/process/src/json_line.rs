//! One JSON object on one line, written straight into a buffer: no tree, no allocation, no way to break the line.
//!
//! Values come from strangers. Whatever bytes they are, the line stays one line of valid JSON without control
//! characters: those become `\u00xx`, and so do bytes that are not UTF-8 (read as Latin-1, so that a byte can still
//! be told from its neighbours).

use std::time::SystemTime;

use crate::clock::push_timestamp;

/// A line under construction. Names of fields are the program's own words and are written as they are.
pub struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl<'a> JsonLine<'a> {
    /// Begins a line with its timestamp, `ts`.
    pub fn start(at: SystemTime, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(b"{\"ts\":\"");
        push_timestamp(at, out);
        out.push(b'"');
        Self { out }
    }

    /// A field with text, or with what a stranger sent in its place.
    pub fn text(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.name(name);
        self.out.push(b'"');
        push_escaped(value.as_ref(), self.out);
        self.out.push(b'"');
        self
    }

    /// A field with a number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        self
    }

    /// A field with true or false.
    pub fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.name(name);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        self
    }

    /// Ends the line.
    pub fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }

    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

fn push_escaped(value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        out.extend_from_slice(value);
        return;
    }
    for chunk in value.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push_character(character, out));
        chunk.invalid().iter().for_each(|byte| push_code(*byte, out));
    }
}

/// Whether nothing needs to be escaped, which is so for nearly every value. Every byte is looked at whatever the
/// others were, so that the compiler can look at many at once.
fn is_plain(value: &[u8]) -> bool {
    value.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\'))
}

fn push_character(character: char, out: &mut Vec<u8>) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        // All control characters, DEL among them, are below U+00A0.
        control if control.is_control() => push_code(u8::try_from(control).unwrap_or(b'?'), out),
        harmless => out.extend_from_slice(harmless.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn push_code(byte: u8, out: &mut Vec<u8>) {
    let [high, low] = [byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]);
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn text(value: &[u8]) -> String {
        let mut out = Vec::new();
        push_escaped(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_its_fields_in_order() {
        let mut out = Vec::new();
        let mut line = JsonLine::start(UNIX_EPOCH, &mut out);
        line.text("method", "GET").number("status", 200).flag("resumed", true);
        line.end();

        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"ts\":\"1970-01-01T00:00:00.000Z\",\"method\":\"GET\",\"status\":200,\"resumed\":true}\n"
        );
    }

    #[test]
    fn what_would_break_the_line_is_escaped() {
        assert_eq!(text(b"a\"b\\c\r\n\t\0\x1b[2J\x7f"), r#"a\"b\\c\u000d\u000a\u0009\u0000\u001b[2J\u007f"#);
    }

    #[test]
    fn unicode_stays_as_it_is() {
        assert_eq!(text("grüße £ 世界".as_bytes()), "grüße £ 世界");
    }

    #[test]
    fn control_characters_above_ascii_are_escaped() {
        assert_eq!(text("\u{9b}2J\u{85}".as_bytes()), r"\u009b2J\u0085");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_read_as_latin_1() {
        assert_eq!(text(b"gr\xfc\xdfe \xe4\xb8"), r"gr\u00fc\u00dfe \u00e4\u00b8");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_from_a_json_parser(value in ".*") {
            let mut out = Vec::new();
            let mut line = JsonLine::start(UNIX_EPOCH, &mut out);
            line.text("value", &value);
            line.end();

            let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(parsed["value"].as_str(), Some(value.as_str()));
        }

        #[test]
        fn any_bytes_make_one_line_of_json(value in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            let mut line = JsonLine::start(UNIX_EPOCH, &mut out);
            line.text("value", &value);
            line.end();

            prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            prop_assert_eq!(out.iter().filter(|byte| **byte < 0x20).count(), 1);
        }
    }
}
