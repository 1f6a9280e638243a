//! What is wrong or worth knowing about a configuration, said so that somebody can act on it.
use alloc::string::String;
use core::fmt;

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the key as written in the file, for example `endpoint[2].face`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Problem {
    /// A problem at `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into(), instead: instead.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.key, self.what, self.instead)
    }
}

/// Something that works but that an administrator should know about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: the key as written in the file.
    pub key: String,
    /// What it means.
    pub what: String,
}

impl Finding {
    /// A finding at `key`.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}
