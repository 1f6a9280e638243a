//! Members are not stranded: not by an answer that gets lost, and not by a site server that moves.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cmg_lab::ports::free_port;
use cmg_lab::{Program, Signal};

use crate::support::{ManagedSite, PATIENCE, binary, field, lines, until, wait};

#[test]
fn a_connection_point_whose_enrolment_was_answered_into_the_void_is_answered_again() {
    let mut managed = ManagedSite::of(1, 1);
    let folder = managed.site.lab().site_dir();
    let point = managed.site.lab().connection_points[0].name.clone();
    let site = managed.site.lab().site.as_ref().unwrap().clone();
    let site_log = managed.site.lab().log(&site.name);
    kill(&mut managed.site.system.connection_points[0]);
    fs::remove_dir_all(folder.join(format!("{point}-data"))).unwrap();
    let enrolled = || lines(&site_log).iter().filter(|line| field(line, "message") == "Member enrolled").count();
    let before = enrolled();
    let code = managed.api.ask("POST", &format!("/connection-points/{point}/enrolment-code"), None).unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = relay.local_addr().unwrap().port();
    let text = code["file"].as_str().unwrap().replace(&format!(":{}", site.control_port), &format!(":{port}"));
    fs::write(folder.join(format!("{point}.code")), text).unwrap();

    let told = site_log.clone();
    let losing = std::thread::spawn(move || {
        lose_answer(&relay, site.control_port, &told, before);
        // Whatever comes after that gets through.
        for client in relay.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", site.control_port)).unwrap());
            pipe(client.try_clone().unwrap(), server.try_clone().unwrap());
            pipe(server, client);
        }
    });
    restart_killed(&mut managed.site.system.connection_points[0]);
    wait(managed.site.system.connection_points[0].wait_for("/readyz", PATIENCE)).unwrap();

    managed.everywhere();
    assert_eq!(enrolled(), before + 1, "one certificate was issued");
    assert_eq!(managed.answer(&(managed.site.mutual() + "/echo")), Some(200));
    drop(losing);
}

#[test]
fn connection_points_follow_a_site_server_that_moves_and_a_wrong_address_strands_nobody() {
    let mut managed = ManagedSite::of(1, 1);
    let site = managed.site.lab().site.as_ref().unwrap().clone();
    let (old, new) = (site.control_port, free_port().unwrap());
    let path = managed.site.mutual() + "/echo";

    let restart_with = |managed: &mut ManagedSite, listen: u16, told: u16| {
        kill(managed.server());
        let text = fs::read_to_string(&site.config).unwrap();
        let changed = |line: &str| match line.split_once(" = ") {
            Some(("control_listen", _)) => format!("control_listen = \"127.0.0.1:{listen}\""),
            Some(("control_urls", _)) => format!("control_urls = [\"https://127.0.0.1:{told}\"]"),
            _ => line.to_owned(),
        };
        fs::write(&site.config, text.lines().map(changed).collect::<Vec<_>>().join("\n") + "\n").unwrap();
        restart_killed(managed.server());
        managed.everywhere();
    };
    restart_with(&mut managed, old, free_port().unwrap());
    managed.publish("after-a-wrong-address");
    managed.everywhere();
    // The members are told where it will be, and then it is there.
    restart_with(&mut managed, old, new);
    restart_with(&mut managed, new, new);
    managed.publish("after-the-move");
    managed.everywhere();

    assert_eq!(managed.devices()[0].get("/after-the-move/echo").status, 200);
    assert_eq!(managed.answer(&path), Some(200));
}

/// Lets the handshake and the request of one client through, and loses the answer, which is on its way when the site says so.
fn lose_answer(relay: &TcpListener, to: u16, site_log: &Path, before: usize) {
    let (mut client, _) = relay.accept().unwrap();
    let mut server = TcpStream::connect(("127.0.0.1", to)).unwrap();
    let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let said = Arc::new(AtomicUsize::new(0));
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut bytes = [0; 16 << 10];
        while let Ok(read @ 1..) = back.read(&mut bytes) {
            // The server's handshake answers the first thing that the client says. What comes later is the answer.
            if heard.load(Ordering::SeqCst) < 2 {
                let _ = forth.write_all(&bytes[..read]);
            }
        }
    });
    let mut bytes = [0; 16 << 10];
    client.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    until("the site has enrolled it", || {
        if let Ok(read @ 1..) = client.read(&mut bytes) {
            said.fetch_add(1, Ordering::SeqCst);
            server.write_all(&bytes[..read]).unwrap();
        }
        let enrolled = lines(site_log).iter().filter(|line| field(line, "message") == "Member enrolled").count();
        (enrolled > before).then_some(())
    });
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

fn pipe(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
}

fn kill(program: &mut Program) {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
}

fn restart_killed(program: &mut Program) {
    let plan = program.plan.clone();
    *program = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(program.wait_for("/livez", PATIENCE)).unwrap();
}
