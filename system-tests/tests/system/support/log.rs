//! What a program has logged: one JSON object a line.

use std::path::Path;

use serde_json::Value;

/// Every whole line so far.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A field of a line as text; empty if it is not there.
pub(crate) fn field<'l>(line: &'l Value, name: &str) -> &'l str {
    line.get(name).and_then(Value::as_str).unwrap_or_default()
}
