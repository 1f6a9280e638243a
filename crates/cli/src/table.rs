//! Plain tables that fit the terminal, and texts of others that cannot steer it.

use std::borrow::Cow;

use cmg_core::time::WallTime;
use cmg_process::clock;
use serde_json::Value;

/// Between columns.
const GAP: usize = 2;

/// No column is made narrower than this.
const NARROWEST: usize = 8;

/// A column: its title, which value of an item stands in it, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column(pub(crate) &'static str, pub(crate) &'static str, pub(crate) Form);

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Plain,
    /// Seconds since 1970, as a date.
    Time,
    /// A list, by its length.
    Count,
}

/// Rows of texts under titles.
#[derive(Debug)]
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// The items, each by these columns.
    pub(crate) fn of(columns: &[Column], items: &[Value]) -> Self {
        let row = |item| columns.iter().map(|Column(_, path, form)| cell(item, path, *form)).collect();
        Self { titles: columns.iter().map(|Column(title, ..)| *title).collect(), rows: items.iter().map(row).collect() }
    }

    /// As text of lines no longer than `width`.
    pub(crate) fn text(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut text = String::new();
        let titles: Vec<String> = self.titles.iter().map(|&title| title.to_owned()).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&fitted(cell, *width));
                line.push_str(&" ".repeat(GAP));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The widest columns give way first.
    fn widths(&self, width: usize) -> Vec<usize> {
        let of_column = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place)).map(|cell| cell.chars().count());
            cells.chain([self.titles[place].len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.titles.len()).map(of_column).collect();
        let gaps = GAP * widths.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        while over > 0 {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROWEST) else { break };
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}

/// The text in exactly so many columns.
fn fitted(text: &str, width: usize) -> String {
    let long = text.chars().count();
    if long <= width {
        return format!("{text}{}", " ".repeat(width - long));
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

fn cell(item: &Value, path: &str, form: Form) -> String {
    let values = pick(item, path);
    let text = match form {
        Form::Count => values.iter().map(|value| value.as_array().map_or(1, Vec::len)).sum::<usize>().to_string(),
        Form::Plain => values.iter().map(|value| words(value)).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", "),
        Form::Time => values.iter().filter_map(|value| time(value)).collect::<Vec<_>>().join(", "),
    };
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The values at a path such as `instances.name`, through lists.
fn pick<'v>(item: &'v Value, path: &str) -> Vec<&'v Value> {
    let mut values = vec![item];
    for part in path.split('.') {
        values = values
            .into_iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            })
            .filter_map(|value| value.get(part))
            .collect();
    }
    values
}

/// A value in words.
pub(crate) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => plain(text).into_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(_) => plain(&value.to_string()).into_owned(),
    }
}

/// Seconds since 1970 as `2026-11-24T05:41:48Z`.
pub(crate) fn time(value: &Value) -> Option<String> {
    let seconds = value.as_u64()?;
    // What is no date of people's is left a number.
    if seconds > 253_402_300_799 {
        return Some(seconds.to_string());
    }
    Some(clock::text(WallTime(seconds)))
}

/// The text without anything that a terminal takes as a command.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|letter| if steers(letter) { ' ' } else { letter }).collect())
}

/// Control characters, and those that turn the direction of writing.
fn steers(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[Column("NAME", "name", Form::Plain), Column("INSTANCES", "instances.name", Form::Plain)];

    fn text(items: &Value, width: usize) -> String {
        Table::of(COLUMNS, items.as_array().unwrap()).text(width)
    }

    #[test]
    fn columns_stand_under_each_other() {
        let items = json!([{"name": "main", "instances": [{"name": "a"}, {"name": "b"}]}, {"name": "x"}]);

        assert_eq!(text(&items, 80), "NAME  INSTANCES\nmain  a, b\nx     -\n");
    }

    #[test]
    fn a_table_fits_the_terminal() {
        let items = json!([{"name": "n".repeat(60), "instances": [{"name": "i".repeat(200)}]}]);

        for width in [40, 80, 132] {
            let text = text(&items, width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }

    #[test]
    fn names_of_others_do_not_steer_the_terminal() {
        let items = json!([{"name": "a\u{1b}]0;x\u{7}\n\u{202e}b"}]);

        assert_eq!(text(&items, 80).lines().count(), 2);
        assert!(!text(&items, 80).contains(['\u{1b}', '\u{7}', '\u{202e}']));
    }

    #[test]
    fn a_time_is_a_date() {
        assert_eq!(cell(&json!({"at": 1_795_521_535}), "at", Form::Time), "2026-11-24T11:58:55Z");
    }

    #[test]
    fn a_list_can_be_counted() {
        assert_eq!(cell(&json!({"crls": ["a", "b"]}), "crls", Form::Count), "2");
    }
}
