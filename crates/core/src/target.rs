//! Request targets: which part names an endpoint, and which spellings are refused because a server might read them otherwise.
//!
//! One form decides and the same bytes are forwarded: nothing here decodes, normalises or rewrites.
use crate::refusal::Refusal;

/// The path and query of a request target, with the authority where the client sent the absolute form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// Authority of the absolute form (`https://HOST/path`).
    pub authority: Option<&'a [u8]>,
    /// From the first `/` on, with the query, byte for byte.
    pub path_and_query: &'a [u8],
}

impl<'a> Target<'a> {
    /// Reads the target of a request line. The asterisk and authority forms name nothing published.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Refusal> {
        let target = match raw {
            [b'/', ..] => Self { authority: None, path_and_query: raw },
            _ => absolute(raw)?,
        };
        check_path(target.path())?;
        check_query(target.query())?;
        Ok(target)
    }

    /// The path, without the query.
    pub fn path(&self) -> &'a [u8] {
        match self.query_start() {
            Some(start) => &self.path_and_query[..start],
            None => self.path_and_query,
        }
    }

    /// The query with its question mark, or nothing.
    pub fn query(&self) -> &'a [u8] {
        match self.query_start() {
            Some(start) => &self.path_and_query[start..],
            None => &[],
        }
    }

    fn query_start(&self) -> Option<usize> {
        self.path_and_query.iter().position(|byte| *byte == b'?')
    }
}

fn absolute(raw: &[u8]) -> Result<Target<'_>, Refusal> {
    let rest = [&b"https://"[..], b"http://"]
        .into_iter()
        .find_map(|scheme| raw.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).map(|_| &raw[scheme.len()..]))
        .ok_or(Refusal::NotPublished)?;
    let path = rest.iter().position(|byte| *byte == b'/').ok_or(Refusal::NotPublished)?;
    if path == 0 {
        return Err(Refusal::AmbiguousTarget);
    }
    Ok(Target { authority: Some(&rest[..path]), path_and_query: &rest[path..] })
}

/// Refuses what may mean another path to a server: dot segments in any spelling, encoded separators, backslashes, controls, overlong
/// UTF-8.
fn check_path(path: &[u8]) -> Result<(), Refusal> {
    let mut segment_start = 0;
    let mut index = 0;
    while index < path.len() {
        match path[index] {
            0..=0x20 | 0x7f | b'\\' | b'#' => return Err(Refusal::AmbiguousTarget),
            b'%' | 0x80.. if is_overlong(&path[index..]) => return Err(Refusal::AmbiguousTarget),
            b'%' => check_escape(&path[index + 1..])?,
            b'/' => {
                check_segment(&path[segment_start..index])?;
                segment_start = index + 1;
            }
            _ => {}
        }
        index += 1;
    }
    check_segment(&path[segment_start..])
}

/// Refuses encoded `/`, `\`, controls, and an encoded percent sign that would make one of them when decoded twice. `%u002e` is a dot
/// to IIS, in no standard, and refused whatever it stands for.
fn check_escape(after_percent: &[u8]) -> Result<(), Refusal> {
    let mut rest = after_percent;
    loop {
        if is_unicode_escape(rest) {
            return Err(Refusal::AmbiguousTarget);
        }
        match decoded(rest) {
            Some(b'/' | b'\\' | 0..=0x1f | 0x7f) => return Err(Refusal::AmbiguousTarget),
            Some(b'%') => rest = &rest[2..],
            _ => return Ok(()),
        }
    }
}

/// Whether a character begins here that is written with more bytes than it needs, as no UTF-8 is: a careless decoder makes a dot of
/// `%c0%ae`. Of the first bytes that have no other use none passes, so that names in Latin-1 may not have a capital A with a grave or
/// an acute accent; their other letters may be there.
fn is_overlong(path: &[u8]) -> bool {
    let Some((first, rest)) = next_decoded(path) else { return false };
    let second = || next_decoded(rest).map_or(0, |(second, _)| second);
    match first {
        0xc0 | 0xc1 => true,
        0xe0 => (0x80..=0x9f).contains(&second()),
        0xf0 => (0x80..=0x8f).contains(&second()),
        0xf8 => (0x80..=0x87).contains(&second()),
        0xfc => (0x80..=0x83).contains(&second()),
        _ => false,
    }
}

/// Refuses `.` and `..` however encoded, also with a parameter behind (`..;x`).
fn check_segment(segment: &[u8]) -> Result<(), Refusal> {
    if !matches!(segment.first(), Some(b'.' | b'%')) {
        return Ok(());
    }
    let mut rest = segment;
    let mut dots = 0;
    while let Some((byte, after)) = next_decoded(rest) {
        match byte {
            b'.' => dots += 1,
            b';' => break,
            _ => return Ok(()),
        }
        rest = after;
    }
    if (1..=2).contains(&dots) { Err(Refusal::AmbiguousTarget) } else { Ok(()) }
}

/// Refuses controls and fragments; everything else in a query is the server's business.
fn check_query(query: &[u8]) -> Result<(), Refusal> {
    if query.iter().any(|byte| matches!(byte, 0..=0x20 | 0x7f | b'#')) {
        return Err(Refusal::AmbiguousTarget);
    }
    Ok(())
}

/// The next byte of a segment as a server that decodes any number of times would see it.
fn next_decoded(segment: &[u8]) -> Option<(u8, &[u8])> {
    let (first, mut rest) = segment.split_first()?;
    if *first != b'%' {
        return Some((*first, rest));
    }
    while let Some(byte) = decoded(rest) {
        rest = &rest[2..];
        if byte != b'%' {
            return Some((byte, rest));
        }
    }
    Some((b'%', rest))
}

/// Whether this makes `%` an escape of four digits, which only some servers know.
fn is_unicode_escape(after_percent: &[u8]) -> bool {
    matches!(after_percent, [b'u' | b'U', hex @ ..] if hex.len() >= 4 && hex[..4].iter().all(u8::is_ascii_hexdigit))
}

fn decoded(hex: &[u8]) -> Option<u8> {
    let [high, low, ..] = hex else { return None };
    Some(digit(*high)? << 4 | digit(*low)?)
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        b'A'..=b'F' => Some(hex - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_targets_pass_with_their_bytes() {
        for raw in [
            "/",
            "/a/b",
            "/SMS_MP/.sms_aut?MPLIST",
            "/SMS_MP/.sms_pol?{guid}.1_00",
            "/a%20b/c%7B$d",
            "/a//b",
            "/a?b=/../c",
            "/...",
            "/.well-known/x",
            "/..a",
            "/%zz",
            "/a%",
            "/x;v=1/y",
            "/a%25b",
            "/%user",
            "/a?%u002e",
            "/gr%C3%BC%C3%9F",
            "/grüß/%E0%A0%80/%F0%9F%98%80",
            "/latin/%FCber/%E0",
            "/a?%c0%ae",
        ] {
            let target = Target::parse(raw.as_bytes()).expect(raw);

            assert_eq!(target.path_and_query, raw.as_bytes());
        }
    }

    #[test]
    fn spellings_that_leave_a_prefix_are_refused() {
        for raw in [
            "/a/../b",
            "/..",
            "/.",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/.%2E/b",
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%252fb",
            "/a/%252e%252e/b",
            "/a/%25252e./b",
            "/a/..;x=1/b",
            "/a/%2e%2e;/b",
            "/a%00b",
            "/a%0d%0ab",
            "/a/%u002e%u002e/b",
            "/a%U002Fb",
            "/a%25u005cb",
            "/a#b",
            "/a?b#c",
            "/a\u{7f}",
            "/a/%c0%ae%c0%ae/b",
            "/a%C0%AFb",
            "/a%c1%9cb",
            "/a%c0%2eb",
            "/a%25c0%25aeb",
            "/a%e0%80%afb",
            "/a%f0%80%80%aeb",
            "/a%f8%80%80%80%aeb",
            "/a%fc%80%80%80%80%aeb",
        ] {
            assert_eq!(Target::parse(raw.as_bytes()), Err(Refusal::AmbiguousTarget), "{raw}");
        }
    }

    #[test]
    fn an_overlong_dot_is_refused_in_bytes_too() {
        assert_eq!(Target::parse(b"/a/\xc0\xae\xc0\xae/b"), Err(Refusal::AmbiguousTarget));
        assert_eq!(Target::parse(b"/a/%c0\xae/b"), Err(Refusal::AmbiguousTarget));
    }

    #[test]
    fn the_absolute_form_gives_its_authority() {
        let target = Target::parse(b"HTTPS://cmg.example:443/a?b").expect("absolute form");

        assert_eq!(target.authority, Some(&b"cmg.example:443"[..]));
        assert_eq!(target.path_and_query, b"/a?b");
    }

    #[test]
    fn other_forms_name_nothing() {
        for raw in ["*", "cmg.example:443", "ftp://x/y", "https://cmg.example", ""] {
            assert_eq!(Target::parse(raw.as_bytes()), Err(Refusal::NotPublished), "{raw}");
        }
    }
}
