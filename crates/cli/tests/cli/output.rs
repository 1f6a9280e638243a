//! What is written where: tables, JSON, exit codes, completions.

use std::io::{self, ErrorKind, Write};

use clap::{CommandFactory, Parser};
use cmg_cli::Surroundings;
use serde_json::json;

use crate::house::{Cli, House, Shared};

#[tokio::test]
async fn json_is_what_the_api_gives() {
    let house = House::signed_in().await;
    house.cmg(&["boundary-group", "new", "vpn", "networks=10.0.0.0/8"]).await.done();

    let shown = house.cmg(&["boundary-group", "show", "vpn", "--json"]).await.done();
    let listed = house.cmg(&["--json", "boundary-group", "list"]).await;
    let listed_by_area = house.cmg(&["boundary-group", "--json", "list"]).await.json();

    let group = json!({"name": "vpn", "description": "", "networks": ["10.0.0.0/8"], "site_systems": [], "gateways": [],
        "internet_servers": [], "fallback": [], "prefer_cloud_based_sources": false, "version": 1});
    assert_eq!((shown.json(), shown.err.as_str()), (group.clone(), ""));
    assert_eq!(listed_by_area, json!({"items": [group], "next": null, "total": 1}));
    assert_eq!(listed.code, 2);
}

#[tokio::test]
async fn a_refusal_is_json_for_scripts_and_leaves_standard_output_empty() {
    let house = House::signed_in().await;

    let ran = house.cmg(&["gateway", "show", "absent", "--json"]).await.refused(&[]);

    let problem: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&problem["type"], &problem["status"]), (&json!("/problems/not-found"), &json!(404)));
}

#[tokio::test]
async fn a_list_has_all_pages_or_as_many_as_wanted() {
    let house = House::signed_in().await;
    let groups: Vec<_> = (0..501).map(|place| json!({"name": format!("g{place:03}")})).collect();
    let file = house.file("groups.json", json!({"boundary-group": groups}).to_string());
    house.cmg(&["apply", "-f", &file]).await.done();
    let names = async |arguments: &[&str]| house.cmg(arguments).await.json()["items"].as_array().unwrap().len();

    assert_eq!(names(&["boundary-group", "list", "--json"]).await, 501);
    assert_eq!(names(&["boundary-group", "list", "--json", "--limit", "3"]).await, 3);
    assert_eq!(names(&["boundary-group", "list", "--json", "--search", "g10"]).await, 10);
}

#[tokio::test]
async fn a_command_that_makes_no_sense_is_two() {
    let house = House::signed_in().await;

    for wrong in [
        &["gateway", "new", "main", "host"][..],
        &["gateway", "set", "main"],
        &["gateway", "new", "main", "name=other"],
        &["gateway", "lst"],
        &["gateway", "list", "--server", "no address"],
        &["account", "new", "ann", "--role", "queen"],
    ] {
        let ran = house.cmg(wrong).await;
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{wrong:?}: {ran:?}");
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn who_has_read_enough_ends_a_command_well() {
    let mut surroundings = Surroundings { out: Box::new(Closed(ErrorKind::BrokenPipe)), ..nowhere() };
    let command = || Cli::parse_from(["cmg", "gateway", "keys"]).command;

    assert_eq!(cmg_cli::run(command(), &mut surroundings).await, 0);
    assert_eq!(cmg_cli::completions(cmg_cli::Shell::Bash, &mut Cli::command(), &mut surroundings), 0);
    surroundings.out = Box::new(Closed(ErrorKind::StorageFull));
    assert_eq!(cmg_cli::run(command(), &mut surroundings).await, 1);
}

#[tokio::test]
async fn every_shell_completes_the_kinds() {
    for shell in [cmg_cli::Shell::Bash, cmg_cli::Shell::Zsh, cmg_cli::Shell::Fish] {
        let script = Shared::default();
        let mut surroundings = Surroundings { out: Box::new(script.clone()), ..nowhere() };

        cmg_cli::completions(shell, &mut Cli::command(), &mut surroundings);

        assert!(script.text().contains("boundary-group") && script.text().contains("enrol"), "{shell}");
    }
}

/// What cannot be written to.
struct Closed(ErrorKind);

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

fn nowhere() -> Surroundings {
    Surroundings {
        variable: Box::new(|name| (name == "HOME").then(|| "/no/such/home".into())),
        out: Box::new(io::sink()),
        err: Box::new(io::sink()),
        width: 80,
        ask: Box::new(|_| Err(ErrorKind::Unsupported.into())),
        browse: Box::new(|_| Err(ErrorKind::Unsupported.into())),
    }
}
