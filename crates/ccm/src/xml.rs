//! Reading and writing the little XML that the protocol needs. Document types, and so entities, are refused.

use roxmltree::{Document, Node};

use crate::Fault;

pub(crate) fn parse(text: &str) -> Result<Document<'_>, Fault> {
    Document::parse(text).map_err(|_| Fault::Xml)
}

/// The first element of this name, whatever its letter case, anywhere below.
pub(crate) fn find<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.descendants().find(|node| node.is_element() && node.tag_name().name().eq_ignore_ascii_case(name))
}

/// The text of the first element of this name, trimmed.
pub(crate) fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    find(node, name).and_then(|node| node.text()).map(str::trim)
}

/// An attribute, whatever its letter case.
pub(crate) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|attribute| attribute.name().eq_ignore_ascii_case(name)).map(|attribute| attribute.value())
}

/// Text for use in an element or in an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' | ' '.. => out.push(letter),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

/// Bytes as hexadecimal digits in upper case, as the protocol writes them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Reads hexadecimal digits in either case.
pub(crate) fn of_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |letter: u8| char::from(letter).to_digit(16);
    let byte = |pair: &[u8; 2]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    if odd.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"cccccccc\">]><a>&b;&b;</a>";

        assert_eq!(parse(bomb).err(), Some(Fault::Xml));
    }

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        let text = "<\"a&b'>";
        let written = format!("<x y=\"{0}\">{0}</x>", escaped(text));
        let read = parse(&written).expect("XML");

        assert_eq!(text_of(read.root(), "X"), Some(text));
        assert_eq!(attribute(read.root_element(), "Y"), Some(text));
    }

    #[test]
    fn hexadecimal_is_read_in_both_cases() {
        assert_eq!(of_hex("00fFA0"), Some(vec![0, 255, 160]));
        assert_eq!(hex(&[0, 255, 160]), "00FFA0");
        assert_eq!((of_hex("0"), of_hex("0g"), of_hex("é")), (None, None, None));
    }
}
