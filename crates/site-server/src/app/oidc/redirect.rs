//! Where a browser goes with the one-time code after a sign-in: to the command line on its own machine (RFC 8252), or to a page of the
//! site itself. The code is worth nothing to who did not begin the sign-in, and still it goes nowhere else.

use std::net::IpAddr;

use reqwest::Url;

/// The longest redirect, in bytes.
const LONGEST: usize = 512;

/// A place that a browser may be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redirect(String);

impl Redirect {
    /// Reads one; none: it may not be used.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_printable = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#');
        (is_printable && (is_own_page(text) || is_loopback(text))).then(|| Self(text.to_owned()))
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with a one-time code, which has no characters that a query would escape.
    pub(crate) fn with_code(&self, code: &str) -> String {
        let joint = if self.0.contains('?') { '&' } else { '?' };
        format!("{}{joint}code={code}", self.0)
    }
}

/// A path of the site itself; what begins with two slashes is another host.
fn is_own_page(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//")
}

/// A literal loopback address with a port: a name such as `localhost` may be somebody else's.
fn is_loopback(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let address = url.host_str().and_then(|host| host.trim_matches(['[', ']']).parse::<IpAddr>().ok());
    let written = ["http://127.0.0.1:", "http://[::1]:"].iter().any(|start| text.starts_with(start));
    written && address.is_some_and(|address| address.is_loopback()) && url.port().is_some() && url.username().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_goes_to_its_own_machine_or_to_a_page_of_the_site() {
        for good in ["http://127.0.0.1:4000/x", "http://[::1]:4000/x?y=1", "/console", "/console?page=1"] {
            assert!(Redirect::parse(good).is_some(), "{good}");
        }
        for wrong in [
            "",
            "http://localhost:4000/x",
            "https://127.0.0.1:4000/x",
            "http://127.0.0.1/x",
            "http://127.0.0.1:4000@evil.example/",
            "http://127.0.0.1.evil.example:1/",
            "http://192.0.2.1:4000/",
            "//evil.example/",
            "/\\evil.example",
            "/a#b",
            "/a b",
            "https://evil.example/",
            "javascript:alert(1)",
        ] {
            assert!(Redirect::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_code_joins_the_query() {
        let with_code = |text: &str| Redirect::parse(text).map(|redirect| redirect.with_code("c"));

        assert_eq!(with_code("/a").as_deref(), Some("/a?code=c"));
        assert_eq!(with_code("http://127.0.0.1:1/a?b=1").as_deref(), Some("http://127.0.0.1:1/a?b=1&code=c"));
    }
}
