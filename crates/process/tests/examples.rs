//! The documented examples and the types know the same keys, and whatever else is written is named.

use std::collections::BTreeSet;

use cmg_api::site::SiteFile;
use cmg_api::{ClientFile, ConnectionPointFile, GatewayFile, ManagementPointFile};
use cmg_process::file::{keys, parse};
use proptest::prelude::*;
use serde::de::DeserializeOwned;

const GATEWAY: &str = include_str!("../../../docs/examples/gateway.toml");
const SITE: &str = include_str!("../../../docs/examples/site.toml");
const MANAGEMENT_POINT: &str = include_str!("../../../docs/examples/management-point.toml");
const CLIENT: &str = include_str!("../../../docs/examples/client.toml");
const CONNECTION_POINT: &str = include_str!("../../../docs/examples/connection-point.toml");

/// The example with its alternatives, which are written `#key = value` there.
fn with_alternatives(example: &str) -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    example.lines().map(uncomment).collect()
}

/// The paths of all keys in a file, written as [`keys`] does.
fn written(value: &toml::Value, path: &str, chosen_names: &[&str], found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = if chosen_names.contains(&path) { "*" } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                found.insert(path.clone());
                written(value, &path, chosen_names, found);
            }
        }
        toml::Value::Array(items) => items.iter().for_each(|item| written(item, &format!("{path}[]"), chosen_names, found)),
        _ => {}
    }
}

fn assert_complete<T: DeserializeOwned>(example: &str) {
    let example = with_alternatives(example);
    parse::<T>(&example).finish().unwrap_or_else(|problems| panic!("{problems}"));

    let mut documented = BTreeSet::new();
    let value = toml::Value::Table(example.parse().expect("it has been parsed above"));
    written(&value, "", &["trust", "endpoint[].identity_headers", "acme_hooks", "resolve"], &mut documented);
    let known: BTreeSet<String> = keys::<T>().into_iter().collect();
    assert_eq!(documented, known);
}

#[test]
fn the_gateway_example_has_every_key() {
    assert_complete::<GatewayFile>(GATEWAY);
}

#[test]
fn the_clients_example_has_every_key() {
    assert_complete::<ClientFile>(CLIENT);
}

#[test]
fn the_site_servers_example_has_every_key() {
    assert_complete::<SiteFile>(SITE);
}

#[test]
fn the_management_points_example_has_every_key() {
    assert_complete::<ManagementPointFile>(MANAGEMENT_POINT);
}

#[test]
fn the_connection_point_example_has_every_key() {
    assert_complete::<ConnectionPointFile>(CONNECTION_POINT);
}

/// Each table of the example with one more key in it.
fn with_a_stray_key_in_each_table(example: &str) -> (String, usize) {
    let mut text = "stray = 1\n".to_owned();
    let mut count = 1;
    for line in example.lines() {
        text += line;
        text.push('\n');
        if line.starts_with('[') {
            text += "stray = 1\n";
            count += 1;
        }
    }
    (text, count)
}

fn assert_all_named<T: DeserializeOwned>(example: &str) {
    let (text, count) = with_a_stray_key_in_each_table(example);

    let reading = parse::<T>(&text);

    assert!(reading.value.is_some());
    assert_eq!(reading.problems.0.len(), count);
    for problem in reading.problems.0 {
        assert!(problem.key.ends_with("stray") && problem.what == "no such key", "{problem}");
    }
}

#[test]
fn every_unknown_key_of_a_gateway_file_is_named() {
    assert_all_named::<GatewayFile>(GATEWAY);
}

#[test]
fn every_unknown_key_of_a_connection_point_file_is_named() {
    assert_all_named::<ConnectionPointFile>(CONNECTION_POINT);
}

#[test]
fn internal_servers_are_no_keys_of_a_gateway_file() {
    let problems = parse::<GatewayFile>(CONNECTION_POINT).finish().expect_err("it is the other file").to_string();

    assert!(problems.contains("endpoint[0].servers: no such key"), "{problems}");
    assert!(problems.contains("tunnel.gateways: no such key"), "{problems}");
    assert!(problems.contains("listen: is missing"), "{problems}");
}

#[test]
fn an_empty_file_lacks_what_is_required() {
    let problems = parse::<GatewayFile>("").finish().expect_err("it is empty").to_string();

    assert_eq!(
        problems,
        "name: is missing; write a text in quotes\nlisten: is missing; write a list in brackets\n\
         tunnel: is missing; write a table\ncertificate: is missing; write a list in brackets"
    );
}

proptest! {
    /// A piece of the example put elsewhere, with a few characters that mean something in TOML.
    #[test]
    fn a_damaged_file_is_read_or_has_problems(from in 0..6_000_usize, length in 0..300_usize, to in 0..6_000_usize, with in "[\\[\\]=\"'a-z0-9.\n]{0,5}") {
        let mut text: Vec<char> = GATEWAY.chars().collect();
        let from = from.min(text.len());
        let end = (from + length).min(text.len());
        let cut: Vec<char> = text.drain(from..end).collect();
        let to = to.min(text.len());
        text.splice(to..to, with.chars().chain(cut));

        let reading = parse::<GatewayFile>(&text.iter().collect::<String>());

        prop_assert!(reading.value.is_some() || !reading.problems.is_empty());
    }

    #[test]
    fn any_text_is_read_or_has_problems(text in any::<String>()) {
        prop_assert!(!parse::<GatewayFile>(&text).problems.is_empty());
    }
}
