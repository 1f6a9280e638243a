//! `cmg check`: what is wrong with a file, all of it, and what should be known about one that is right.

use std::path::Path;
use std::process::{Command, Output};

use cmg_lab::{Lab, LabOptions, Published, config, file};
use toml::Value;

use crate::support::binary;

fn lab() -> (tempfile::TempDir, Lab) {
    let dir = tempfile::tempdir().unwrap();
    let published = vec![Published::new("app", "http://127.0.0.1:1").unwrap()];
    let lab = Lab::new(dir.path(), LabOptions { published, ..LabOptions::default() }).unwrap();
    (dir, lab)
}

fn check(program: &str, config: &Path) -> Output {
    Command::new(binary()).args(["check", program]).arg(config).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_right_file_is_right_and_its_findings_are_told() {
    let (_dir, lab) = lab();
    for (program, file) in [("gateway", &lab.gateways[0].config), ("connection-point", &lab.connection_points[0].config)] {
        let output = check(program, file);

        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(text(&output.stdout).contains("sound"), "{}", text(&output.stdout));
    }
    let output = check("gateway", &lab.gateways[0].config);
    assert!(text(&output.stdout).contains("finding: "), "a port of its own is a finding: {}", text(&output.stdout));
}

#[test]
fn every_problem_is_named_with_its_key_and_what_to_write() {
    let (_dir, lab) = lab();
    let gateway = &lab.gateways[0].config;
    config::edit(gateway, |file| {
        file.insert("listen".to_owned(), Value::Array(vec![Value::from("everywhere")]));
        file["tunnel"]["authority"] = Value::from("missing.pem");
        file["endpoint"][0]["trust"] = Value::from("nobody");
        file["endpoint"][1]["port"] = Value::from(0);
    })
    .unwrap();

    named(gateway, &["listen[0]", "tunnel.authority", "trust", "endpoint[1].port"]);
}

#[test]
fn every_key_that_is_unknown_or_of_the_wrong_kind_is_named() {
    let (_dir, lab) = lab();
    let gateway = &lab.gateways[0].config;
    config::edit(gateway, |file| {
        file.insert("nonsense".to_owned(), Value::from(1));
        file.insert("drain".to_owned(), Value::from("soon"));
        file["endpoint"][0]["body_limit"] = Value::from("plenty");
    })
    .unwrap();

    named(gateway, &["nonsense", "drain", "body_limit"]);
}

/// Asserts that a check names each of these keys, and what to write instead.
#[track_caller]
fn named(gateway: &Path, keys: &[&str]) {
    let output = check("gateway", gateway);

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    for key in keys {
        assert!(told.lines().any(|line| line.contains(key) && line.contains("; ")), "{key} is named:\n{told}");
    }
}

#[test]
fn a_program_does_not_start_with_a_wrong_file_and_says_why() {
    let (_dir, lab) = lab();
    let gateway = &lab.gateways[0].config;
    config::edit(gateway, |file| drop(file.insert("nonsense".to_owned(), Value::from(1)))).unwrap();

    let output = Command::new(binary()).args(["run", "gateway", "--config"]).arg(gateway).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("nonsense"), "{}", text(&output.stderr));
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let (_dir, lab) = lab();
    let key = lab.site_dir().join("server.key");
    file::write(&key, std::fs::read(&key).unwrap()).unwrap();

    let output = check("gateway", &lab.gateways[0].config);

    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("server.key") && told.contains("0600"), "{told}");
    assert!(!told.contains("PRIVATE KEY"), "{told}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = check("gateway", Path::new("/nowhere/gateway.toml"));

    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nowhere/gateway.toml"), "{}", text(&output.stderr));
}
