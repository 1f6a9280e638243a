//! The site's roots follow each other while everything runs, and while a gateway is away.

use std::path::Path;
use std::process::{Command, Output};
use std::{fs, str};

use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use serde_json::Value;

use super::absence::{kill, restart_killed};
use crate::support::{ManagedSite, PATIENCE, binary, until, until_within, wait};

#[test]
fn members_follow_to_a_new_root_one_that_was_away_too_and_the_earlier_one_is_removed() {
    let mut managed = ManagedSite::of(2, 1);
    let folder = managed.site.lab().site_dir();
    let path = managed.site.mutual() + "/echo";
    managed.everywhere();
    let [comes_back, stays] = [1, 0].map(|place: usize| managed.site.lab().gateways[place].name.clone());
    let point = managed.site.lab().connection_points[0].name.clone();
    kill(&mut managed.site.system.gateways[1]);

    let added = site(&managed, &["add-root", "--out", "second-root.txt", "--passphrase-file", "root-passphrase"]);
    assert!(added.status.success(), "{}", said(&added));
    until("the site server follows", || (states(&managed) == ["signs", "next"]).then_some(()));
    let serves = |managed: &ManagedSite| until("it serves", || (managed.answer(&path)? == 200).then_some(()));
    until("those that are there know the new root", || [&stays, &point].iter().all(|name| roots(&folder, name) == 2).then_some(()));
    serves(&managed);
    let refused = site(&managed, &["remove-root"]);
    assert!(!refused.status.success() && said(&refused).contains(&format!("gateway/{comes_back}: it does not know")), "{}", said(&refused));

    restart_killed(&mut managed.site.system.gateways[1]);
    wait(managed.site.system.gateways[1].wait_for("/readyz", PATIENCE)).unwrap();
    until_within(4 * PATIENCE, "the new root issues", || (states(&managed) == ["signs", "earlier"]).then_some(()));
    until_within(4 * PATIENCE, "nobody needs the earlier root", || site(&managed, &["remove-root"]).status.success().then_some(()));

    until("the site server follows", || (states(&managed) == ["signs"]).then_some(()));
    managed.everywhere();
    managed.publish("after");
    managed.everywhere();
    for device in managed.devices() {
        until("it serves", || (device.get("/after/echo").status == 200).then_some(()));
    }
    for name in [&comes_back, &stays, &point] {
        assert_eq!(roots(&folder, name), 1);
    }

    // One more comes in under the new root.
    kill(&mut managed.site.system.connection_points[0]);
    fs::remove_dir_all(folder.join(format!("{point}-data"))).unwrap();
    let code = managed.api.ask("POST", &format!("/connection-points/{point}/enrolment-code"), None).unwrap();
    fs::write(folder.join(format!("{point}.code")), code["file"].as_str().unwrap()).unwrap();
    restart_killed(&mut managed.site.system.connection_points[0]);
    wait(managed.site.system.connection_points[0].wait_for("/readyz", PATIENCE)).unwrap();
    serves(&managed);
    assert_eq!(roots(&folder, &point), 1);
}

/// Runs a command of `cmg site` beside the site server.
fn site(managed: &ManagedSite, arguments: &[&str]) -> Output {
    let config = &managed.site.lab().site.as_ref().unwrap().config;
    let mut command = Command::new(binary());
    command.arg("site").args(arguments).arg("--config").arg(config).current_dir(managed.site.lab().site_dir());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|said| str::from_utf8(said).unwrap()).concat()
}

/// The states of the roots.
fn states(managed: &ManagedSite) -> Vec<String> {
    let keys = managed.api.ask("GET", "/keys", None).unwrap();
    let roots = keys["items"].as_array().unwrap().iter().filter(|key| key["purpose"] == "roots");
    roots.map(|key: &Value| key["state"].as_str().unwrap().to_owned()).collect()
}

/// How many roots a member believes; none: it is no member.
fn roots(folder: &Path, member: &str) -> usize {
    let pem = fs::read(folder.join(format!("{member}-data/authority.pem"))).unwrap_or_default();
    CertificateDer::pem_slice_iter(&pem).count()
}
