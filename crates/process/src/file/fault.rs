//! Why a value was not taken, in words for an administrator instead of serde's for a programmer.

use std::fmt;

use serde::de::{self, Unexpected};

/// Why a value was not taken.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) instead: Option<String>,
    /// The field that is missing from the table where the fault arose.
    pub(super) missing: Option<&'static str>,
    /// Where; known as soon as the fault has reached the table or list around the value.
    pub(super) key: Option<String>,
}

impl Fault {
    /// The same, which arose at `key` unless it is known to have arisen further inside.
    pub(super) fn at(self, key: String) -> Self {
        let here = match self.missing {
            Some(field) => format!("{key}.{field}"),
            None => key,
        };
        Self { key: Some(self.key.unwrap_or(here)), missing: None, ..self }
    }
}

impl de::Error for Fault {
    /// Words of the form `what is wrong; what to write` are split there.
    fn custom<T: fmt::Display>(words: T) -> Self {
        let words = words.to_string();
        let (what, instead) = match words.split_once("; ") {
            Some((what, instead)) => (what.to_owned(), Some(instead.to_owned())),
            None => (words, None),
        };
        Self { what, instead, missing: None, key: None }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let instead = Some(format!("write {}", in_words(&expected.to_string())));
        Self { what: format!("is {}", kind(found)), instead, missing: None, key: None }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let what = match found {
            Unexpected::Signed(number) => format!("{number} does not fit"),
            Unexpected::Str(text) => format!("`{text}` does not fit"),
            other => format!("{other} does not fit"),
        };
        let instead = Some(format!("write {}", in_words(&expected.to_string())));
        Self { what, instead, missing: None, key: None }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self { what: format!("`{variant}` is not known"), instead: Some(format!("write {}", one_of(expected))), missing: None, key: None }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { what: "is missing".to_owned(), instead: None, missing: Some(field), key: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

pub(super) fn one_of(variants: &[&str]) -> String {
    format!("one of {}", variants.join(", "))
}

/// What kind of value stands in the file.
fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
        Unexpected::Float(_) => "a number with a point",
        Unexpected::Str(_) => "a text",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

/// serde's names of types, as people say them.
fn in_words(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, not negative",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}
