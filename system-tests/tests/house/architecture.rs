//! The floors of the house: a crate may know those that are listed for it here, and no other.
//!
//! A new edge is a decision: it is written into this table in the same change, with a reason in its message.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use super::tree;

/// A package, the packages of the workspace that it may be built with, and those that its tests may use besides.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Ground first. The order is the order of the floors: an edge may only point to a row above.
const ALLOWED: &[Row] = &[
    // Ground: decisions and bytes, no IO.
    ("cmg-core", &[], &[]),
    ("cmg-http1", &[], &[]),
    // Wire: what crosses a process boundary.
    ("cmg-api", &[], &[]),
    // A laboratory for quickstart and tests. It issues certificates and tokens, which is why no program below may know it.
    ("cmg-lab", &[], &["cmg-api"]),
    // Messages of Configuration Manager clients as bytes, no IO.
    ("cmg-ccm", &[], &["cmg-lab"]),
    // Adapters.
    ("cmg-transport", &[], &[]),
    ("cmg-credentials", &["cmg-core"], &[]),
    ("cmg-process", &["cmg-core", "cmg-api"], &[]),
    ("cmg-tunnel", &["cmg-core", "cmg-http1", "cmg-transport"], &["cmg-credentials", "cmg-lab"]),
    ("cmg-standalone", &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process"], &["cmg-lab"]),
    ("cmg-enrolled", &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process"], &["cmg-lab"]),
    // How members inside ask the site.
    ("cmg-site-client", &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process", "cmg-enrolled"], &[]),
    // Adapters of the site server only: a database, and what may issue.
    ("cmg-store", &[], &[]),
    ("cmg-authority", &["cmg-core", "cmg-api", "cmg-credentials"], &[]),
    // Programs.
    (
        "cmg-gateway",
        &[
            "cmg-core",
            "cmg-http1",
            "cmg-api",
            "cmg-transport",
            "cmg-credentials",
            "cmg-process",
            "cmg-tunnel",
            "cmg-standalone",
            "cmg-enrolled",
        ],
        &["cmg-lab"],
    ),
    (
        "cmg-connection-point",
        &[
            "cmg-core",
            "cmg-http1",
            "cmg-api",
            "cmg-transport",
            "cmg-credentials",
            "cmg-process",
            "cmg-tunnel",
            "cmg-standalone",
            "cmg-enrolled",
            "cmg-site-client",
        ],
        &["cmg-lab", "cmg-authority"],
    ),
    (
        "cmg-management-point",
        &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process", "cmg-standalone", "cmg-enrolled", "cmg-site-client"],
        &[],
    ),
    (
        "cmg-site-server",
        &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process", "cmg-standalone", "cmg-store", "cmg-authority"],
        &["cmg-lab"],
    ),
    // The client on a device: it meets the site over the network alone, so it knows no other program.
    ("cmg-client", &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process"], &["cmg-lab", "cmg-authority"]),
    // The administrator's end of the site server's API: it asks, and decides nothing, so it knows no program.
    ("cmg-cli", &["cmg-core", "cmg-api", "cmg-credentials", "cmg-process"], &["cmg-site-server", "cmg-lab"]),
    (
        "cmg",
        &[
            "cmg-core",
            "cmg-gateway",
            "cmg-connection-point",
            "cmg-management-point",
            "cmg-site-server",
            "cmg-cli",
            "cmg-client",
            "cmg-process",
            "cmg-lab",
        ],
        &[],
    ),
    // Tools that are not shipped.
    ("cmg-link", &[], &[]),
    ("cmg-bench", &["cmg-core", "cmg-api", "cmg-lab", "cmg-store"], &[]),
    ("cmg-system-tests", &[], &["cmg-core", "cmg-http1", "cmg-api", "cmg-lab", "cmg-transport", "cmg-credentials", "cmg-tunnel"]),
];

#[test]
fn every_edge_is_allowed() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().map(|(package, normal, dev)| (*package, (*normal, *dev))).collect();

    for (package, dependency, kind) in edges() {
        let Some((normal, dev)) = allowed.get(package.as_str()) else { panic!("{package} has no row in the table of allowed edges") };
        let for_tests = kind == "dev" && dev.contains(&dependency.as_str());
        assert!(
            for_tests || normal.contains(&dependency.as_str()),
            "{package} -> {dependency} ({kind}) is not in the table of allowed edges"
        );
    }
}

#[test]
fn every_edge_points_down() {
    for (place, (package, normal, dev)) in ALLOWED.iter().enumerate() {
        for dependency in normal.iter().chain(dev.iter()) {
            let below = ALLOWED[..place].iter().any(|(other, ..)| other == dependency);
            assert!(below, "{package} -> {dependency} points up or to nothing");
        }
    }
}

#[test]
fn only_the_composition_knows_the_laboratory() {
    for (package, normal, _) in ALLOWED {
        let may = ["cmg", "cmg-bench"].contains(package);
        assert!(!normal.contains(&"cmg-lab") || may, "{package} would ship a laboratory");
    }
}

#[test]
fn every_package_has_a_row() {
    for package in packages() {
        let name = name_of(package);
        assert!(ALLOWED.iter().any(|(known, ..)| *known == name), "{name} has no row in the table of allowed edges");
    }
}

#[test]
fn the_core_depends_on_nothing_and_not_on_std() {
    let core = packages().iter().find(|package| name_of(package) == "cmg-core").expect("there is a core");
    let shipped = dependencies(core).filter(|dependency| dependency["kind"] != "dev").count();

    assert_eq!(shipped, 0);
    assert!(tree::text("crates/core/src/lib.rs").lines().any(|line| line == "#![no_std]"));
}

/// What stands on the internet has no other HTTP stack than ours, no database, no console and nothing that issues for the site.
#[test]
fn the_gateway_has_no_database_and_no_other_http_stack() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let asked = ["tree", "--package", "cmg-gateway", "--edges", "normal", "--prefix", "none", "--locked"];
    let output = Command::new(cargo).args(asked).current_dir(tree::root()).output().expect("cargo tells the tree");
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let names: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();

    assert!(names.contains(&"cmg-tunnel"), "{}", String::from_utf8_lossy(&output.stderr));
    for absent in ["hyper", "axum", "reqwest", "sqlx", "cmg-store", "cmg-authority", "cmg-site-server", "cmg-cli", "cmg-lab"] {
        assert!(!names.contains(&absent), "cmg-gateway has {absent} in it");
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_package() {
    let workspace: toml::Table = tree::text("Cargo.toml").parse().expect("the manifest is TOML");
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));

    for package in packages() {
        let path = package["manifest_path"].as_str().expect("a package has a manifest");
        let manifest: toml::Table = std::fs::read_to_string(path).expect("a manifest is text").parse().expect("a manifest is TOML");
        let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherited, Some(true), "{path} does not take the lints of the workspace");
    }
}

#[test]
fn cargo_run_builds_the_one_binary_and_its_floors_only() {
    let default = metadata()["workspace_default_members"].as_array().expect("cargo says its default members");

    assert_eq!(default.len(), 1);
    assert!(packages().iter().any(|package| package["id"] == default[0] && name_of(package) == "cmg"));
}

fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(tree::root());
        let output = cargo.output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo writes JSON")
    })
}

fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().expect("cargo lists the packages")
}

fn name_of(package: &Value) -> &str {
    package["name"].as_str().expect("a package has a name")
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().expect("a package has dependencies").iter()
}

/// Package, dependency within the workspace, and kind: `normal`, `build` or `dev`.
fn edges() -> Vec<(String, String, String)> {
    let mut edges = Vec::new();
    for package in packages() {
        for dependency in dependencies(package).filter(|dependency| dependency.get("path").is_some_and(Value::is_string)) {
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            edges.push((name_of(package).to_owned(), name_of(dependency).to_owned(), kind.to_owned()));
        }
    }
    edges
}
