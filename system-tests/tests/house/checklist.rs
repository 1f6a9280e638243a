//! `docs/checklist.md`: every feature once, in a state of a closed set, and with tests that exist where it says done.

use std::collections::BTreeSet;

use super::tree;

/// Features in the checklist.
const FEATURES: usize = 264;

/// One row: number, state, and test names or a reason.
struct Row {
    number: usize,
    state: String,
    why: String,
}

#[test]
fn every_feature_has_one_row_in_order() {
    let numbers: Vec<usize> = rows().iter().map(|row| row.number).collect();

    assert_eq!(numbers, (1..=FEATURES).collect::<Vec<_>>());
}

#[test]
fn a_feature_is_done_not_yet_or_ruled_out() {
    for row in rows() {
        assert!(matches!(row.state.as_str(), "done" | "not yet" | "ruled out"), "{}: {}", row.number, row.state);
    }
}

#[test]
fn what_is_done_names_tests_that_exist() {
    let tests = test_functions();
    let mut wrong = Vec::new();

    for row in rows().iter().filter(|row| row.state == "done") {
        let named = tree::quoted(&row.why, '`');
        assert!(!named.is_empty(), "{} is done and names no test", row.number);
        wrong.extend(named.into_iter().filter(|name| !tests.contains(*name)).map(|name| format!("{}: {name}", row.number)));
    }
    assert!(wrong.is_empty(), "these are no tests: {wrong:?}");
}

#[test]
fn what_is_not_done_says_why() {
    for row in rows().iter().filter(|row| row.state != "done") {
        assert!(!row.why.is_empty(), "{} is {} and does not say why", row.number, row.state);
    }
}

/// Rows of the tables: those whose first cell is a number.
fn rows() -> Vec<Row> {
    let text = tree::text("docs/checklist.md");
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Row> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let number = cells.next()?.parse().ok()?;
    Some(Row { number, state: cells.next()?.to_owned(), why: cells.next()?.to_owned() })
}

/// Names of the functions that an attribute makes a test, anywhere in the tree.
fn test_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in ["crates", "system-tests", "bench"].into_iter().flat_map(tree::rust_files) {
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            is_test |= line == "#[test]" || line.starts_with("#[tokio::test");
            if let Some(name) = function_name(line) {
                names.extend(is_test.then(|| name.to_owned()));
                is_test = false;
            }
        }
    }
    names
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}
