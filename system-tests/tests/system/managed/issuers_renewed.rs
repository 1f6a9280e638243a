//! Issuing keys are renewed while everything runs: members of the earlier ones go on, and new ones come in.

use std::fs;
use std::path::Path;
use std::process::Command;

use cmg_lab::Program;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use super::absence::{kill, restart_killed};
use crate::support::{ManagedSite, PATIENCE, binary, sha256, until, wait};

#[test]
fn members_go_on_while_issuers_are_renewed_and_new_ones_come_in() {
    let mut managed = ManagedSite::of(2, 2);
    let folder = managed.site.lab().site_dir();
    let [stays, comes] = [0, 1].map(|place: usize| managed.site.lab().connection_points[place].name.clone());
    let path = managed.site.mutual();
    // Events for an hour.
    let mut wire = managed.devices()[0].open();
    wire.send("GET", &format!("{path}/events?count=36000&every=100"), &[], b"");
    assert_eq!(wire.read_head().unwrap().status, 200);
    wire.read_chunk().unwrap();
    let earlier = issuer(&folder, &stays);
    let serving = || managed.devices().iter().for_each(|device| assert_eq!(device.get(&format!("{path}/echo")).status, 200));

    let told = renew(&managed);
    serving();
    managed.everywhere();
    managed.publish("after");
    managed.everywhere();
    serving();
    wire.read_chunk().unwrap();

    // One more comes in, under a name that is free again.
    drop(wire);
    kill(&mut managed.site.system.connection_points[1]);
    fs::remove_dir_all(folder.join(format!("{comes}-data"))).unwrap();
    let code = managed.api.ask("POST", &format!("/connection-points/{comes}/enrolment-code"), None).unwrap();
    fs::write(folder.join(format!("{comes}.code")), code["file"].as_str().unwrap()).unwrap();
    restart_killed(&mut managed.site.system.connection_points[1]);
    wait(managed.site.system.connection_points[1].wait_for("/readyz", PATIENCE)).unwrap();
    managed.everywhere();
    assert!(told.contains(&issuer(&folder, &comes)), "{told}");
    assert_eq!(issuer(&folder, &stays), earlier);
    // It serves alone, to gateways whose certificates are older.
    kill(&mut managed.site.system.connection_points[0]);
    until("it serves", || (managed.answer(&format!("{path}/echo"))? == 200).then_some(()));

    // Whoever starts with a certificate of before is still one of them, at a site server that starts too.
    kill(managed.server());
    restart_killed(managed.server());
    restart_killed(&mut managed.site.system.connection_points[0]);
    restart(&mut managed.site.system.gateways[0]);
    managed.publish("later");
    managed.everywhere();
    for device in managed.devices() {
        until("it serves", || (device.get("/later/echo").status == 200).then_some(()));
    }
}

/// Runs the command beside the site server, and says what it said.
fn renew(managed: &ManagedSite) -> String {
    let site = managed.site.lab().site.as_ref().unwrap();
    let folder = managed.site.lab().site_dir();
    let mut command = Command::new(binary());
    command.args(["site", "renew-issuers", "--config"]).arg(&site.config);
    command.arg("--root-keys").arg(folder.join(format!("{}-data/site-root-keys.txt", site.name)));
    command.arg("--passphrase-file").arg(folder.join("root-passphrase"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// SHA-256 of the certificate that issued a member's own.
fn issuer(folder: &Path, member: &str) -> String {
    let chain = fs::read(folder.join(format!("{member}-data/role.pem"))).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&chain).map(Result::unwrap).collect();
    sha256(&chain[1])
}

pub(super) fn restart(program: &mut Program) {
    kill(program);
    restart_killed(program);
}
