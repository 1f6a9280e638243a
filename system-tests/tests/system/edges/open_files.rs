//! The system's limit of open files: raised as far as it goes, told where it does not suffice, outlived when it is reached.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;

use cmg_lab::Program;

use crate::support::{PATIENCE, Site, binary, field, until, wait};

#[test]
fn the_limit_is_raised_as_far_as_it_goes() {
    let mut site = Site::start(|_| {});
    start_again(&mut site, "ulimit -Sn 200");

    let limits = std::fs::read_to_string(format!("/proc/{}/limits", site.gateway().pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();

    assert!(numbers[0] == numbers[1] && numbers[0] != "200", "{line}");
}

#[test]
fn a_limit_that_does_not_suffice_is_a_finding_and_no_reason_to_stop() {
    let mut site = Site::start(|_| {});
    start_again(&mut site, "ulimit -n 500");

    let line = site.log_line("the finding", |line| line.to_string().contains("the system allows 500"));

    assert_eq!((field(&line, "level"), field(&line, "key")), ("WARN", "limits.connections"), "{line}");
    assert_eq!(site.device().get(&(site.mutual() + "/echo")).status, 200);
}

#[test]
fn a_gateway_that_is_out_of_files_serves_again_when_there_are_some() {
    let mut site = Site::start(|_| {});
    start_again(&mut site, "ulimit -n 100");
    let address = ("127.0.0.1", site.lab().gateways[0].port);
    let idle: Vec<_> = (0..120).map(|_| TcpStream::connect(address).unwrap()).collect();
    site.log_line("it has none left", |line| line.to_string().contains("No connection accepted"));

    drop(idle);

    until("a client is served again", || {
        let mut wire = site.device().try_open().ok()?;
        wire.send("GET", &(site.mutual() + "/echo"), &[], b"");
        wire.try_read().ok().filter(|reply| reply.status == 200)
    });
}

/// Starts the gateway once more, in a shell that first says `limit`.
fn start_again(site: &mut Site, limit: &str) {
    let script = site.lab().dir.join("limited");
    std::fs::write(&script, format!("#!/bin/sh\n{limit}\nexec {} \"$@\"\n", binary().display())).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let plan = site.gateway().plan.clone();
    wait(site.system.gateways[0].stop(PATIENCE)).unwrap();
    let mut program = wait(async { Program::start(&script, plan) }).unwrap();
    wait(program.wait_for("/readyz", PATIENCE)).unwrap();
    site.system.gateways[0] = program;
}
