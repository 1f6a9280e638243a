//! `docs/reference.md` leaves nothing out: every configuration key, every refusal, every metric is in it.

use super::tree;

/// Where the keys of the configuration files are declared.
const SHAPES: [&str; 9] = ["client", "connection_point", "endpoint", "gateway", "limits", "log", "management_point", "site", "trust"];

/// Metrics: what their names begin with, and where they are registered.
const METRICS: [(&str, &str); 2] = [("cmg_gateway", "crates/gateway/src"), ("cmg_connection_point", "crates/connection-point/src")];

#[test]
fn every_key_is_in_the_reference() {
    let reference = tree::text("docs/reference.md");
    let mut keys = 0;

    for shape in SHAPES {
        for key in fields(&tree::text(&format!("crates/api/src/{shape}.rs"))) {
            assert!(reference.contains(&format!("| `{key}` |")), "{key} of {shape}.rs has no row");
            keys += 1;
        }
    }
    assert!(keys > 60, "only {keys} keys were found");
}

#[test]
fn every_refusal_is_in_the_reference_as_it_is_answered() {
    let reference = tree::text("docs/reference.md");

    for (status, phrase, label) in refusals(&tree::text("crates/core/src/refusal.rs")) {
        let row = format!("| `{label}` | {status} | `{phrase}` |");
        assert!(reference.contains(&row), "there is no row {row}");
    }
}

#[test]
fn every_refusal_has_advice_in_the_guide() {
    let guide = tree::text("docs/administrator.md");

    for (_, _, label) in refusals(&tree::text("crates/core/src/refusal.rs")) {
        assert!(guide.contains(&format!("`{label}`")), "the guide does not say what to do about {label}");
    }
}

#[test]
fn every_metric_is_in_the_reference() {
    let reference = tree::text("docs/reference.md");

    for (prefix, folder) in METRICS {
        let names: Vec<_> = tree::rust_files(folder).iter().flat_map(|text| metrics(text)).collect();
        for name in &names {
            assert!(reference.contains(&format!("| `{prefix}_{name}")), "{prefix}_{name} has no row");
        }
        assert!(names.len() > 5, "only {} metrics were found in {folder}", names.len());
    }
}

#[test]
fn every_label_of_a_metric_is_in_the_reference() {
    let reference = tree::text("docs/reference.md");

    for (_, folder) in METRICS {
        let events = tree::text(&format!("{folder}/events.rs"));
        let labels = labels(&events);
        for label in &labels {
            assert!(reference.contains(&format!("`{label}`")), "{label} is not in the reference");
        }
        assert!(labels.len() > 5, "only {} labels were found in {folder}", labels.len());
    }
}

/// Public fields, by their names in the file.
fn fields(source: &str) -> Vec<&str> {
    let names = source.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "));
    names.map(|(name, _)| name).filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect()
}

/// The values in lists that are indexed by their own enum.
fn labels(source: &str) -> Vec<&str> {
    let ends = source.match_indices("[self as usize]").map(|(end, _)| &source[..end]);
    ends.filter_map(|before| before.rsplit_once('[')).flat_map(|(_, list)| tree::quoted(list, '"')).collect()
}

/// Status, phrase and label of every refusal.
fn refusals(table: &str) -> Vec<(&str, &str, &str)> {
    let rows: Vec<_> = tree::between(table, "=> (", "),").into_iter().filter_map(refusal).collect();
    assert!(rows.len() > 50, "only {} refusals were found", rows.len());
    rows
}

/// Status, phrase and label of `400, "Phrase", "label"`.
fn refusal(cells: &str) -> Option<(&str, &str, &str)> {
    let mut cells = cells.split(", ").map(|cell| cell.trim_matches('"'));
    let (status, phrase, label) = (cells.next()?, cells.next()?, cells.next()?);
    status.bytes().all(|byte| byte.is_ascii_digit()).then_some((status, phrase, label))
}

fn metrics(source: &str) -> Vec<String> {
    let kinds = ["counter", "counters", "counter_of", "gauge", "gauge_of", "histogram"];
    let names = kinds.iter().flat_map(|kind| tree::between(source, &format!("metrics.{kind}(\""), "\""));
    names.map(str::to_owned).collect()
}
