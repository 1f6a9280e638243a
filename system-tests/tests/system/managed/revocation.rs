//! Whoever is blocked is refused everywhere within seconds, what is under way included.

use std::fs;
use std::path::Path;
use std::process::Command;

use cmg_lab::ports::free_port;
use cmg_lab::{Plan, Program, Signal};
use serde_json::json;

use crate::support::{ManagedSite, PATIENCE, binary, field, lines, sha256, until, wait};

#[test]
fn a_blocked_certificate_is_refused_everywhere_and_its_download_ends() {
    let managed = ManagedSite::of(2, 2);
    let path = managed.site.mutual();
    // Events for an hour.
    let mut wire = managed.devices()[0].open();
    wire.send("GET", &format!("{path}/events?count=36000&every=100"), &[], b"");
    assert_eq!(wire.read_head().unwrap().status, 200);
    wire.read_chunk().unwrap();

    let thumbprint = sha256(&managed.site.lab().client.der);
    managed.api.add("blocks", &json!({ "thumbprint": thumbprint })).unwrap();

    until("the certificate is refused everywhere", || {
        managed.devices().iter().all(|device| device.get(&format!("{path}/echo")).status == 403).then_some(())
    });
    until("the answer under way ends", || wire.read_chunk().err());
}

#[test]
fn a_bulk_token_is_blocked_by_its_id_and_unblocked() {
    let managed = ManagedSite::of(1, 1);
    let endpoint = json!({
        "name": "register",
        "prefix": "/register",
        "face": "server",
        "token_kinds": ["bulk"],
        "audiences": ["urn:sccm:service"],
        "registration": true,
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
    managed.everywhere();
    let made = managed.api.add("bulk-tokens", &json!({ "note": "test" })).unwrap();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let status = |path: &str| {
        let caller = managed.callers(None).remove(0).field("Authorization", &format!("Bearer {token}"));
        caller.get(path).status
    };
    assert_eq!(status("/register/echo"), 200);
    assert_eq!(status(&(managed.site.server() + "/echo")), 403, "it counts where devices register only");

    managed.api.ask("POST", &format!("/bulk-tokens/{id}/block"), None).unwrap();
    until("it is blocked", || (status("/register/echo") == 401).then_some(()));

    managed.api.ask("POST", &format!("/bulk-tokens/{id}/unblock"), None).unwrap();
    until("it counts again", || (status("/register/echo") == 200).then_some(()));
}

#[test]
fn a_revocation_arrives_through_the_other_connection_point() {
    let managed = ManagedSite::of(1, 2);
    let path = managed.site.mutual() + "/echo";
    managed.everywhere();
    wait(managed.site.point().signal(Signal::Freeze)).unwrap();

    let thumbprint = sha256(&managed.site.lab().client.der);
    managed.api.add("blocks", &json!({ "thumbprint": thumbprint })).unwrap();

    until("the certificate is refused", || (managed.answer(&path)? == 403).then_some(()));
    wait(managed.site.point().signal(Signal::Resume)).unwrap();
}

#[test]
fn a_copy_of_a_member_counts_no_more_when_the_member_is_enrolled_again() {
    let mut managed = ManagedSite::of(1, 1);
    let path = managed.site.mutual() + "/echo";
    let folder = managed.site.lab().site_dir();
    let name = managed.site.lab().connection_points[0].name.clone();
    managed.everywhere();
    let copied = stop_and_copy(&mut managed.site.system.connection_points[0], &folder);

    enrol_again(&mut managed, &folder, &name);
    let copied = wait(async { Program::start(binary(), copied) }).unwrap();

    let says = |log: &Path, text: &str| lines(log).iter().any(|line| line.to_string().contains(text));
    until("a gateway refuses the copy", || says(&copied.plan.log, "received fatal alert: CertificateUnknown").then_some(()));
    until("the site refuses the copy", || says(&copied.plan.log, "its certificate was revoked: enrol it again").then_some(()));
    assert!(!lines(&copied.plan.log).iter().any(|line| field(line, "message") == "Connected to gateway"), "it has no tunnel");
    assert_eq!(managed.answer(&path), Some(200), "the real one goes on");
    wait(copied.signal(Signal::Kill)).unwrap();
}

/// Stops a member, and copies what it holds: how to start the copy.
fn stop_and_copy(program: &mut Program, folder: &Path) -> Plan {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
    let name = &program.plan.name;
    let (from, to) = (format!("{name}-data"), format!("{name}-stolen"));
    let copied = Command::new("cp").arg("-a").arg(folder.join(&from)).arg(folder.join(&to)).status().unwrap();
    assert!(copied.success());
    let metrics_port = free_port().unwrap();
    let text = fs::read_to_string(&program.plan.config).unwrap();
    let text = text.replace(&from, &to).replace(&program.plan.metrics_port.to_string(), &metrics_port.to_string());
    let config = folder.join(format!("{to}.toml"));
    fs::write(&config, text).unwrap();
    Plan { config, metrics_port, log: folder.join(format!("{to}.log")), ..program.plan.clone() }
}

/// Makes the stopped connection point a member once more, with a new code in an empty folder.
fn enrol_again(managed: &mut ManagedSite, folder: &Path, name: &str) {
    fs::remove_dir_all(folder.join(format!("{name}-data"))).unwrap();
    let code = managed.api.ask("POST", &format!("/connection-points/{name}/enrolment-code"), None).unwrap();
    fs::write(folder.join(format!("{name}.code")), code["file"].as_str().unwrap()).unwrap();
    let plan = managed.site.point().plan.clone();
    managed.site.system.connection_points[0] = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(managed.site.system.connection_points[0].wait_for("/readyz", PATIENCE)).unwrap();
    managed.everywhere();
}
