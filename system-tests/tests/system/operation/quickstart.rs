//! `cmg quickstart`: everything on this machine, and proof that it works.

use std::process::Command;

use serde_json::Value;

use crate::support::binary;

#[test]
fn a_check_works_and_tells_in_json_what_there_is() {
    let dir = tempfile::tempdir().unwrap();

    let output = Command::new(binary()).args(["quickstart", "--check", "--json", "--dir"]).arg(dir.path()).output().unwrap();

    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!(told.is_object(), "{told}");
    let summary: Value = serde_json::from_slice(&std::fs::read(dir.path().join("lab.json")).unwrap()).unwrap();
    for key in ["service_url", "ca_cert", "client_cert", "client_key", "token", "published", "gateways", "connection_points", "site_dir"] {
        assert!(!summary[key].is_null(), "{key}: {summary}");
    }
    assert_eq!((summary["gateways"].as_array().unwrap().len(), summary["connection_points"].as_array().unwrap().len()), (2, 2));
    for key in ["name", "internal_url", "mutual_url", "server_url", "root_url"] {
        assert!(summary["published"][0][key].is_string(), "{key}: {summary}");
    }
}

#[test]
fn a_server_that_is_down_fails_the_check() {
    let dir = tempfile::tempdir().unwrap();
    let publish = "down=http://127.0.0.1:1";

    let output = Command::new(binary()).args(["quickstart", "--check", "--publish", publish, "--dir"]).arg(dir.path()).output().unwrap();

    assert_eq!(output.status.code(), Some(1));
}
