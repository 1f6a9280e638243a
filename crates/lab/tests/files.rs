//! The files of a laboratory: complete, parseable, and keys for their owner only.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cmg_lab::{Lab, LabOptions, Published, config};
use toml::{Table, Value};

#[test]
fn every_file_that_a_configuration_names_is_there() {
    let (dir, lab) = a_lab();
    for config in configs(&lab) {
        for (key, path) in named_files(&Value::Table(read(config))) {
            assert!(dir.path().join("site").join(&path).exists(), "{}: {key} = {path}", config.display());
        }
    }
}

#[test]
fn every_path_of_a_laboratory_is_absolute() {
    let dir = tempfile::tempdir().unwrap();
    let to_root: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
    let relative = to_root.join(dir.path().strip_prefix("/").unwrap());

    let lab = Lab::new(&relative, LabOptions::default()).unwrap();

    assert!(relative.is_relative() && configs(&lab).iter().all(|config| config.is_absolute()), "{:?}", configs(&lab));
}

#[test]
fn every_configuration_has_the_shape_that_the_programs_read() {
    let (_dir, lab) = a_lab();
    for gateway in &lab.gateways {
        toml::from_str::<cmg_api::GatewayFile>(&std::fs::read_to_string(&gateway.config).unwrap()).unwrap();
    }
    for point in &lab.connection_points {
        toml::from_str::<cmg_api::ConnectionPointFile>(&std::fs::read_to_string(&point.config).unwrap()).unwrap();
    }
}

#[test]
fn keys_are_for_their_owner_only() {
    let (dir, _lab) = a_lab();
    let secrets = ["site/server.key", "site/gateway-1.key", "site/connection-point-2.key", "client/client.key", "client/token"];
    for secret in secrets {
        let mode = std::fs::metadata(dir.path().join(secret)).unwrap().permissions().mode();

        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
}

#[test]
fn both_sides_publish_the_same_endpoints() {
    let (_dir, lab) = a_lab();
    let ids = ["app", "app-root", "free", "free-root"];
    for config in configs(&lab) {
        assert_eq!(endpoints(config).iter().map(|endpoint| text(endpoint, "id")).collect::<Vec<_>>(), ids);
    }
}

#[test]
fn an_open_server_is_open_in_both_forms() {
    let (_dir, lab) = a_lab();

    let faces: Vec<_> = endpoints(&lab.gateways[0].config).iter().map(|endpoint| text(endpoint, "face")).collect();

    assert_eq!(faces, ["either", "either", "open", "open"]);
}

#[test]
fn only_connection_points_know_the_internal_url() {
    let (_dir, lab) = a_lab();

    let gateway = std::fs::read_to_string(&lab.gateways[0].config).unwrap();
    let inside = std::fs::read_to_string(&lab.connection_points[0].config).unwrap();

    assert!(!gateway.contains("127.0.0.1:9/base"));
    assert!(inside.contains("http://127.0.0.1:9/base"));
}

#[test]
fn a_role_id_above_two_to_the_53_stays_text() {
    assert_eq!(config::role_id(2), "72057594037927939");
}

#[test]
fn a_file_can_be_edited() {
    let (_dir, lab) = a_lab();
    let path = &lab.gateways[0].config;

    config::edit(path, |table| drop(table.insert("drain".to_owned(), "1s".into()))).unwrap();

    assert_eq!(read(path)["drain"].as_str(), Some("1s"));
}

#[test]
fn a_name_that_would_not_fit_a_url_is_refused() {
    for text in ["a/b=http://x", "=http://x", "a", "a=ftp://x", "a=http://", "a=http:///x", "a=http://x/?q", "a=http://u@x"] {
        assert!(text.parse::<Published>().is_err(), "{text}");
    }
}

#[test]
fn two_servers_cannot_have_one_name() {
    let dir = tempfile::tempdir().unwrap();
    let published = ["app", "App"].map(|name| Published::new(name, "http://127.0.0.1:9").unwrap()).to_vec();

    let error = Lab::new(dir.path(), LabOptions { published, ..LabOptions::default() }).err().unwrap();

    assert_eq!(error.to_string(), "App: two servers cannot have one name");
}

fn a_lab() -> (tempfile::TempDir, Lab) {
    let dir = tempfile::tempdir().unwrap();
    let app = Published::new("app", "http://127.0.0.1:9/base/").unwrap().identity_header("X-Client-DN", "subject");
    let free = Published::new("free", "https://127.0.0.1:9").unwrap().open();
    let lab = Lab::new(dir.path(), LabOptions { published: vec![app, free], ..LabOptions::default() }).unwrap();
    (dir, lab)
}

fn configs(lab: &Lab) -> Vec<&Path> {
    let gateways = lab.gateways.iter().map(|gateway| gateway.config.as_path());
    gateways.chain(lab.connection_points.iter().map(|point| point.config.as_path())).collect()
}

fn read(path: &Path) -> Table {
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn endpoints(path: &Path) -> Vec<Value> {
    read(path)["endpoint"].as_array().unwrap().clone()
}

fn text(endpoint: &Value, key: &str) -> String {
    endpoint[key].as_str().unwrap().to_owned()
}

/// Every text in the file that ends like a file name, with its key.
fn named_files(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::String(text) if [".pem", ".key", ".crl"].iter().any(|end| text.ends_with(end)) => {
            vec![(String::new(), text.clone())]
        }
        Value::Array(values) => values.iter().flat_map(named_files).collect(),
        Value::Table(table) => {
            table.iter().flat_map(|(key, value)| named_files(value).into_iter().map(move |(_, path)| (key.clone(), path))).collect()
        }
        _ => Vec::new(),
    }
}
