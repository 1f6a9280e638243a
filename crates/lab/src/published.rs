//! A server to publish, as a person names it: `NAME=URL`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::LabError;

/// A server that the laboratory publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Name in URLs and endpoint ids: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// `http://host:port/base` or `https://...`, without a slash at the end.
    pub internal_url: String,
    /// Whether clients get in without a certificate or a token.
    pub open: bool,
    /// What the server is told about the client: header name and field.
    pub identity_headers: Vec<(String, String)>,
    /// Certificates of authorities for an `https` server, PEM files.
    pub server_authorities: Vec<PathBuf>,
}

impl Published {
    /// A server for authenticated clients, told nothing about them.
    pub fn new(name: &str, internal_url: &str) -> Result<Self, LabError> {
        let problem = |problem| Err(LabError::Published { name: name.to_owned(), problem });
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return problem("a name has letters, digits, '-', '_' and '.' only");
        }
        let rest = internal_url.strip_prefix("http://").or_else(|| internal_url.strip_prefix("https://"));
        let Some(rest) = rest else { return problem("the URL must begin with http:// or https://") };
        if rest.is_empty() || rest.starts_with('/') {
            return problem("the URL has no host");
        }
        if rest.contains(['?', '#', '"', '\\', '@']) || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return problem("the URL is a scheme, a host, a port and a path, nothing else");
        }

        Ok(Self {
            name: name.to_owned(),
            internal_url: internal_url.trim_end_matches('/').to_owned(),
            open: false,
            identity_headers: Vec::new(),
            server_authorities: Vec::new(),
        })
    }

    /// The same, for everybody.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.open = true;
        self
    }

    /// The same, with one more header that tells the server something about the client.
    #[must_use]
    pub fn identity_header(mut self, name: &str, field: &str) -> Self {
        self.identity_headers.push((name.to_owned(), field.to_owned()));
        self
    }
}

impl FromStr for Published {
    type Err = LabError;

    /// Reads `NAME=URL`.
    fn from_str(text: &str) -> Result<Self, LabError> {
        match text.split_once('=') {
            Some((name, url)) => Self::new(name, url),
            None => Err(LabError::Published { name: text.to_owned(), problem: "write NAME=URL" }),
        }
    }
}
