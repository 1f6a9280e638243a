//! The program under test, built once by the same cargo and in the same profile as the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Where it is.
pub(crate) fn binary() -> &'static Path {
    static BINARY: LazyLock<PathBuf> = LazyLock::new(build);
    &BINARY
}

fn build() -> PathBuf {
    // .../target/<profile>/deps/system-<hash>
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "cmg", "--bin", "cmg", "--target-dir"]).arg(folder.parent().unwrap());
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(built.success(), "the program under test cannot be built");
    folder.join("cmg")
}
