//! `multipart/mixed` (RFC 2046), as far as clients use it.

use crate::Fault;

/// The boundary of what we write; clients take any.
const BOUNDARY: &str = "aAbBcCdDv1234567890VxXyYzZ";

/// The longest boundary (RFC 2046, 5.1.1).
const LONGEST_BOUNDARY: usize = 70;

/// The content type of what [`write`] makes.
pub(crate) fn content_type() -> String {
    format!("multipart/mixed; boundary=\"{BOUNDARY}\"")
}

/// The boundary in a content type, with or without quotes.
pub(crate) fn boundary(content_type: &str) -> Result<&str, Fault> {
    let mut items = content_type.split(';').map(str::trim);
    if !items.next().is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/mixed")) {
        return Err(Fault::NotMultipart);
    }
    let named = items.filter_map(|item| item.split_once('=')).find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"));
    let boundary = named.map(|(_, value)| value.trim().trim_matches('"')).unwrap_or_default();
    if (1..=LONGEST_BOUNDARY).contains(&boundary.len()) { Ok(boundary) } else { Err(Fault::NotMultipart) }
}

/// The contents of the parts: what stands between the blank line behind the fields of each and the next boundary.
pub(crate) fn parts<'b>(body: &'b [u8], boundary: &str) -> Vec<&'b [u8]> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let mut places = find_all(body, &delimiter).peekable();
    let mut parts = Vec::new();
    while let Some(place) = places.next() {
        let from = place + delimiter.len();
        let Some(&to) = places.peek() else { break };
        let part = &body[from..to];
        if part.starts_with(b"--") {
            break;
        }
        if let Some(fields_end) = find_all(part, b"\r\n\r\n").next() {
            let content = &part[fields_end + 4..];
            parts.push(content.strip_suffix(b"\r\n").unwrap_or(content));
        }
    }
    parts
}

fn find_all<'h>(haystack: &'h [u8], needle: &'h [u8]) -> impl Iterator<Item = usize> + 'h {
    haystack.windows(needle.len()).enumerate().filter(move |(_, window)| *window == needle).map(|(place, _)| place)
}

/// Writes parts, each with its content type.
pub(crate) fn write(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (kind, content) in parts {
        body.extend_from_slice(format!("--{BOUNDARY}\r\ncontent-type: {kind}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_found_with_and_without_quotes() {
        assert_eq!(boundary("multipart/mixed; boundary=\"abc\""), Ok("abc"));
        assert_eq!(boundary("Multipart/Mixed;boundary=abc"), Ok("abc"));
        for other in ["multipart/mixed", "multipart/mixed; boundary=", "text/xml; boundary=abc", ""] {
            assert_eq!(boundary(other), Err(Fault::NotMultipart), "{other}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let body = write(&[("text/plain", b"one\r\ntwo"), ("application/octet-stream", &[0, 13, 10, 1])]);

        assert_eq!(parts(&body, BOUNDARY), [&b"one\r\ntwo"[..], &[0, 13, 10, 1]]);
    }

    #[test]
    fn what_is_cut_off_has_fewer_parts() {
        let body = write(&[("text/plain", b"one"), ("text/plain", b"two")]);

        for length in 0..body.len() - BOUNDARY.len() - 6 {
            assert!(parts(&body[..length], BOUNDARY).len() < 2, "{length}");
        }
    }
}
