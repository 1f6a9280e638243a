//! What a command tells when it succeeds: data for standard output, notes for standard error.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::surroundings::Surroundings;
use crate::table::{Column, Table, time};

/// What a command tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    value: Value,
    heading: Option<String>,
    text: Text,
    notes: Vec<String>,
}

/// The same for people.
#[derive(Debug, Default)]
enum Text {
    #[default]
    Nothing,
    Table(Table),
    Words(String),
}

impl Told {
    /// A note about what was done.
    pub(crate) fn note(note: impl Into<String>) -> Self {
        Self { notes: vec![note.into()], ..Self::default() }
    }

    /// A list, by these columns.
    pub(crate) fn list(value: Value, columns: &[Column]) -> Self {
        let table = Table::of(columns, value["items"].as_array().map_or(&[][..], Vec::as_slice));
        Self::table(value, table)
    }

    /// A table of something.
    pub(crate) fn table(value: Value, table: Table) -> Self {
        Self { value, text: Text::Table(table), ..Self::default() }
    }

    /// One thing, as TOML, which `--file` and `apply` take.
    pub(crate) fn thing(value: Value) -> Self {
        let text = toml_text(&value);
        Self::words(value, text)
    }

    /// Words of its own.
    pub(crate) fn words(value: Value, text: String) -> Self {
        Self { value, text: Text::Words(text), ..Self::default() }
    }

    /// The same, with what the site server said, for scripts.
    pub(crate) fn value(self, value: Value) -> Self {
        Self { value, ..self }
    }

    /// The same below the one sentence that matters most.
    pub(crate) fn below(self, heading: impl Into<String>) -> Self {
        Self { heading: Some(heading.into()), ..self }
    }

    /// The same with another note.
    pub(crate) fn and_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// What the site server said.
    pub(crate) fn said(&self) -> &Value {
        &self.value
    }

    /// Writes it.
    pub(crate) fn write(&self, json: bool, surroundings: &mut Surroundings) -> io::Result<()> {
        for note in &self.notes {
            writeln!(surroundings.err, "{note}")?;
        }
        let out = &mut surroundings.out;
        if let Some(heading) = self.heading.as_ref().filter(|_| !json) {
            writeln!(out, "{heading}\n")?;
        }
        match (json, &self.text) {
            (true, _) if self.value.is_null() => {}
            (true, _) => writeln!(out, "{}", serde_json::to_string_pretty(&self.value).unwrap_or_default())?,
            (false, Text::Nothing) => {}
            (false, Text::Table(table)) => write!(out, "{}", table.text(surroundings.width))?,
            (false, Text::Words(words)) => writeln!(out, "{}", words.trim_end())?,
        }
        out.flush()
    }
}

/// TOML has no null, and people read dates.
fn toml_text(value: &Value) -> String {
    let Some(entries) = for_people(value) else { return String::new() };
    toml::to_string_pretty(&entries).unwrap_or_else(|_| value.to_string())
}

fn for_people(value: &Value) -> Option<Value> {
    Some(match value {
        Value::Null => return None,
        Value::Object(entries) => {
            Value::Object(entries.iter().filter_map(|(key, value)| Some((key.clone(), entry(key, value)?))).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().filter_map(for_people).collect()),
        other => other.clone(),
    })
}

fn entry(key: &str, value: &Value) -> Option<Value> {
    let is_time =
        key.ends_with("_at") || ["at", "since", "ends", "not_before", "not_after", "last_sign_in", "certificate_ends"].contains(&key);
    match time(value).filter(|_| is_time) {
        Some(date) => Some(Value::String(date)),
        None => for_people(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_thing_is_shown_as_a_file_that_can_be_sent_back() {
        let text = toml_text(&json!({"name": "main", "instances": [{"name": "a"}], "site": null, "limits": {"burst": 1}}));

        assert_eq!(text, "name = \"main\"\n\n[[instances]]\nname = \"a\"\n\n[limits]\nburst = 1\n");
    }

    #[test]
    fn times_are_dates_for_people() {
        assert_eq!(toml_text(&json!({"not_after": 0})), "not_after = \"1970-01-01T00:00:00Z\"\n");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert!(!toml_text(&json!({"note": "a\u{1b}[2J"})).contains('\u{1b}'));
    }
}
