//! Addresses: an origin (scheme, host, port), and a base (an origin and what every path begins with).

use std::fmt;

use http::Uri;

/// Scheme, host and port of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Whether it speaks TLS.
    pub secure: bool,
    /// Host name or address, in lower case; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// An origin, and what every path there begins with: no `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The origin.
    pub origin: Origin,
    /// Empty, or `/` and more.
    pub path: String,
}

impl Origin {
    /// Reads `https://host:port`; what follows is passed over. None: it is no such address.
    pub fn parse(text: &str) -> Option<Self> {
        Base::parse(text).map(|base| base.origin)
    }

    /// Host and port as `Host` and URLs have them: a default port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl Base {
    /// Reads `https://host:port/path`; none: it is no such address.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let path = uri.path().trim_end_matches('/').to_owned();
        (!host.is_empty()).then_some(Self { origin: Origin { secure, host, port }, path })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl fmt::Display for Base {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_without_what_goes_without_saying() {
        for (text, written) in [
            ("https://CMG.example.com", "https://cmg.example.com"),
            ("https://cmg.example.com:443/wiki/", "https://cmg.example.com/wiki"),
            ("http://[2001:db8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
            ("http://a:80", "http://a"),
        ] {
            assert_eq!(Base::parse(text).map(|base| base.to_string()).as_deref(), Some(written));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "cmg.example.com", "ftp://a", "https://", "https://user@a", "https://a/?b"] {
            assert_eq!(Base::parse(text), None, "{text}");
        }
    }
}
