//! Child processes, with the shell in the part of a program.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::Path;
use std::time::Duration;

use cmg_lab::ports::free_port;
use cmg_lab::{Plan, Program, Role};

#[tokio::test]
async fn a_program_that_ends_at_once_is_named_with_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(Path::new("/bin/sh"), plan(dir.path())).unwrap();

    let error = program.wait_for("/livez", Duration::from_secs(60)).await.unwrap_err().to_string();

    assert!(error.starts_with("gateway-1: ended with exit status"), "{error}");
    assert!(error.contains("run"), "the shell says which script it cannot open: {error}");
}

#[tokio::test]
async fn a_program_that_never_answers_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let silent = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/never-answers.sh"));
    let mut program = Program::start(silent, plan(dir.path())).unwrap();

    let error = program.wait_for("/readyz", Duration::ZERO).await.unwrap_err().to_string();

    assert!(error.starts_with("gateway-1: /readyz does not answer"), "{error}");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_named() {
    let dir = tempfile::tempdir().unwrap();

    let error = Program::start(Path::new("/nowhere"), plan(dir.path())).err().unwrap();

    assert_eq!(error.to_string(), "gateway-1: cannot be started");
}

fn plan(dir: &Path) -> Plan {
    Plan {
        name: "gateway-1".to_owned(),
        role: Role::Gateway,
        config: dir.join("gateway-1.toml"),
        metrics_port: free_port().unwrap(),
        log: dir.join("gateway-1.log"),
    }
}
