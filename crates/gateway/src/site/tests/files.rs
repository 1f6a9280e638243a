//! The file of an enrolled gateway, alone and with a snapshot.

use std::sync::Arc;

use cmg_api::control::{GenerationId, Manifest};
use cmg_core::problem::Problem;
use cmg_enrolled::{Identity, Snapshots, manifest};

use super::office::{Machine, Office, Snapshot};
use crate::config::enrolled::{Document, read};
use crate::config::{Config, check};
use crate::state::now;

const ENDPOINT: &str = "[[endpoint]]\nid = 'app'\nhost = 'cmg.example'\nprefix = '/'\nface = 'open'\nopen_acknowledged = true";

fn keep(machine: &Machine, office: &Office, snapshot: &Snapshot) -> (Snapshots, Manifest) {
    let snapshots = Snapshots::open(&machine.data()).unwrap();
    for (digest, bytes) in &snapshot.parts {
        snapshots.parts().write(digest, bytes).unwrap();
    }
    let manifest = manifest(&snapshot.signed, "gateway/gw-1", GenerationId::default(), &office.roots(), now()).unwrap();
    snapshots.keep(&snapshot.signed, &manifest, now()).unwrap();
    (snapshots, manifest)
}

fn merged(machine: &Machine, identity: &Identity, office: &Office, snapshot: &Snapshot) -> Result<Config, Vec<Problem>> {
    let (snapshots, manifest) = keep(machine, office, snapshot);
    let text = snapshots.document(&manifest).unwrap();
    let files = Arc::new(snapshots.files(manifest, &identity.sealing).unwrap());
    read(&machine.file(), &machine.data(), identity, Some(Document { text, files })).map(|(config, _)| config)
}

fn keys(problems: Vec<Problem>) -> Vec<String> {
    problems.into_iter().map(|problem| problem.key).collect()
}

#[test]
fn the_file_and_the_document_are_one_configuration() {
    let office = Office::new();
    let (machine, identity) = Machine::enrolled(&office);
    let lines = format!("service.instances = ['gw-1', 'gw-2']\nlimits.connections = 77\n{ENDPOINT}");

    let config = merged(&machine, &identity, &office, &office.snapshot(&machine, 1, &lines)).unwrap();

    assert_eq!((config.name.as_str(), config.listen.as_slice()), ("gw-1", &[machine.address][..]));
    assert_eq!((config.instances.as_slice(), config.limits.connections), (&["gw-1".to_owned(), "gw-2".to_owned()][..], 77));
    assert_eq!(config.parts.endpoints.len(), 1);
    assert_eq!(config.identities[0].names, ["cmg.example"]);
    assert_eq!(config.infrastructure, office.roots());
}

#[test]
fn what_belongs_to_the_site_is_refused_in_the_file_with_the_reason() {
    let office = Office::new();
    let (machine, _) = Machine::enrolled(&office);
    machine.write("[limits]\nconnections = 5\n[[endpoint]]\nid = 'app'\n[trust.devices]\n[speed]\n");

    let problems = check(&machine.file()).unwrap_err();

    let told = |key: &str| problems.iter().find(|problem| problem.key == key).unwrap().to_string();
    for key in ["limits", "endpoint", "trust"] {
        assert!(told(key).contains("belongs to the site"), "{}", told(key));
    }
    assert!(told("endpoint").contains("`cmg endpoint`"));
    assert!(told("speed").contains("no such key"));
}

#[test]
fn a_problem_of_the_document_has_the_key_that_it_has_in_a_file() {
    let office = Office::new();
    let (machine, identity) = Machine::enrolled(&office);
    let lines =
        format!("block_lists = ['{}']\n[[endpoint]]\nid = 'app'\nhost = 'cmg.example'\nprefix = '/'\nface = 'both'", "ab".repeat(32));

    let problems = merged(&machine, &identity, &office, &office.snapshot(&machine, 1, &lines)).map(drop).unwrap_err();

    assert_eq!(keys(problems), ["endpoint[0].face"]);
}

#[test]
fn a_part_that_the_snapshot_has_not_and_a_key_in_the_open_are_problems() {
    let office = Office::new();
    let (machine, identity) = Machine::enrolled(&office);
    let absent = format!("block_lists = ['{}', '/etc/passwd']", "ab".repeat(32));

    let problems = merged(&machine, &identity, &office, &office.snapshot(&machine, 1, &absent)).map(drop).unwrap_err();
    assert_eq!(keys(problems), ["block_lists[0]", "block_lists[1]"]);

    let chain = b"no secret".to_vec();
    let name = super::office::sha256(&chain);
    let open = office.signed(2, &format!("[[certificate]]\nchain = '{name}'\nkey = '{name}'"), vec![chain], Default::default());
    let problems = merged(&machine, &identity, &office, &open).map(drop).unwrap_err();
    assert_eq!(keys(problems), ["certificate[0].chain"]);
}

#[test]
fn check_reads_both_shapes_at_every_stage() {
    let office = Office::new();
    let stranger = Machine::new(&office);
    let (member, _) = Machine::enrolled(&office);
    let found = |machine: &Machine| check(&machine.file()).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();

    assert!(found(&stranger)[0].contains("not enrolled yet"));
    assert!(!stranger.path().join("data").exists(), "a check makes nothing");
    assert!(found(&member)[0].contains("no configuration has come"));
    keep(&member, &office, &office.snapshot(&member, 1, ENDPOINT));
    assert!(found(&member).iter().all(|finding| finding.starts_with("endpoint[0]")), "{:?}", found(&member));
    std::fs::write(member.path().join("data/current.json"), "{}").unwrap();
    assert_eq!(keys(check(&member.file()).unwrap_err()), ["site.data"]);
}

#[test]
fn a_code_that_is_of_no_use_is_told_before_the_start() {
    let office = Office::new();
    let machine = Machine::new(&office);
    let with = |change: fn(&mut cmg_api::EnrolmentCode)| {
        let mut code = office.code();
        change(&mut code);
        std::fs::write(machine.path().join("code.toml"), toml::to_string(&code).unwrap()).unwrap();
        let problems = check(&machine.file()).unwrap_err();
        assert_eq!(problems[0].key, "site.enrolment");
        problems[0].what.clone()
    };

    assert!(with(|code| code.ends = 1).contains("run out"));
    assert!(with(|code| code.kind = "connection-point".into()).contains("connection-point"));
    std::fs::write(machine.path().join("code.toml"), "kind = 1").unwrap();
    assert_eq!(keys(check(&machine.file()).unwrap_err()), ["site.enrolment"]);
}
