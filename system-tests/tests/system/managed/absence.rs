//! Members need nobody to go on, and follow a site that was restored.

use std::fs;
use std::process::Command;

use cmg_lab::{Program, Signal};

use crate::support::{ManagedSite, PATIENCE, binary, until, wait};

#[test]
fn members_start_and_serve_without_the_site_server() {
    let mut managed = ManagedSite::of(1, 1);
    let path = managed.site.mutual() + "/echo";
    kill(managed.server());

    restart(&mut managed.site.system.gateways[0]);
    restart(&mut managed.site.system.connection_points[0]);

    until("requests are answered", || (managed.answer(&path)? == 200).then_some(()));
}

#[test]
fn a_site_server_that_was_killed_has_lost_nothing_acknowledged() {
    let mut managed = ManagedSite::of(1, 1);
    managed.publish("before");
    let generation = managed.status()["generation"].clone();

    kill(managed.server());
    restart_killed(managed.server());

    assert_eq!(managed.status()["generation"], generation);
    managed.api.ask("GET", "/endpoints/before", None).unwrap();
    managed.publish("after");
    managed.everywhere();
    assert_eq!(managed.devices()[0].get("/after/echo").status, 200);
}

#[test]
fn members_follow_a_restored_site() {
    let mut managed = ManagedSite::of(1, 1);
    let folder = managed.site.lab().site_dir();
    let words = folder.join("backup-words");
    fs::write(&words, "five words that nobody guesses\n").unwrap();
    fs::set_permissions(&words, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let archive = folder.join("site.backup");
    managed.publish("kept");
    let config = managed.site.lab().site.as_ref().unwrap().config.clone();
    let site = move |what: &str, more: &[&str]| {
        let mut command = Command::new(binary());
        command.args(["site", what, "--config"]).arg(&config).arg("--passphrase-file").arg(&words).args(more);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    site("backup", &["--out", archive.to_str().unwrap()]);
    managed.publish("lost");
    managed.everywhere();

    let data = folder.join("site-1-data");
    let aside = folder.join("site-1-data-aside");
    let mut program = managed.site.system.site.take().unwrap();
    kill(&mut program);
    fs::rename(&data, &aside).unwrap();
    site("restore", &["--in", archive.to_str().unwrap(), "--keep-api-tokens"]);
    restart_killed(&mut program);
    managed.site.system.site = Some(program);
    managed.publish("after");
    let status = managed.everywhere();

    let (epoch, _) = status["generation"].as_str().unwrap().split_once('.').unwrap();
    assert!(epoch.parse::<u64>().unwrap() > 1, "{status}");
    let device = &managed.devices()[0];
    assert_eq!(device.get("/kept/echo").status, 200);
    assert_eq!(device.get("/after/echo").status, 200);
    assert_eq!(device.get("/lost/echo").status, 404);
}

pub(super) fn kill(program: &mut Program) {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
}

fn restart(program: &mut Program) {
    kill(program);
    restart_killed(program);
}

pub(super) fn restart_killed(program: &mut Program) {
    let plan = program.plan.clone();
    *program = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(program.wait_for("/livez", PATIENCE)).unwrap();
}
