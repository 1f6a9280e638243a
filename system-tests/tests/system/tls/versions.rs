//! Versions, ciphers, and what is taken for the end of a request.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use cmg_lab::{KeyType, Profile};
use rustls::version::{TLS12, TLS13};

use crate::support::Site;

#[test]
fn both_versions_of_tls_are_spoken() {
    let site = Site::start(|_| {});
    for version in [&TLS12, &TLS13] {
        let caller = site.device().version(site.lab(), Some(&site.lab().client), version);
        let mut wire = caller.open();
        assert_eq!(wire.stream.conn.protocol_version(), Some(version.version));
        wire.send("GET", &(site.mutual() + "/bytes/300000"), &[], b"");

        assert_eq!(wire.read().body.len(), 300_000);
    }
}

#[test]
fn old_versions_and_old_ciphers_are_refused() {
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed");
        return;
    }
    let site = Site::start(|setup| {
        // A key of each kind, so that no cipher is refused for want of one.
        let rsa = setup.lab.servers.issue(&Profile::server(&["rsa.lab"]).key(KeyType::Rsa2048)).unwrap();
        rsa.write(&setup.lab.site_dir(), "rsa").unwrap();
        setup.gateway("[[certificate]]\nchain = \"rsa.pem\"\nkey = \"rsa.key\"");
    });
    let handshake = |name: &str, options: &[&str]| {
        let address = format!("127.0.0.1:{}", site.lab().gateways[0].port);
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-servername", name]).args(options);
        let output = command.stdin(Stdio::null()).output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    };
    let cipher = |name: &str, cipher: &str| handshake(name, &["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]);

    assert_eq!(handshake("localhost", &["-tls1_2"]), Ok(()));
    assert_eq!(handshake("localhost", &["-tls1_3"]), Ok(()));
    let told = handshake("localhost", &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).unwrap_err();
    assert!(told.contains("alert"), "it is the gateway that declines: {told}");
    assert_eq!(cipher("localhost", "ECDHE-ECDSA-AES128-GCM-SHA256"), Ok(()));
    assert_eq!(cipher("rsa.lab", "ECDHE-RSA-AES128-GCM-SHA256"), Ok(()));
    for (name, old) in [
        ("localhost", "ECDHE-ECDSA-AES128-SHA256"),
        ("localhost", "ECDHE-ECDSA-AES256-SHA"),
        ("rsa.lab", "ECDHE-RSA-AES128-SHA256"),
        ("rsa.lab", "DHE-RSA-AES128-GCM-SHA256"),
        ("rsa.lab", "AES128-GCM-SHA256"),
        ("rsa.lab", "AES128-SHA"),
    ] {
        let told = cipher(name, old).unwrap_err();
        assert!(told.contains("alert"), "{old}: it is the gateway that declines: {told}");
    }
}

#[test]
fn bytes_behind_a_refused_request_are_not_taken_for_another() {
    let site = Site::start(|_| {});
    let mut wire = site.device().open();
    let smuggled = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {}/echo HTTP/1.1\r\nHost: localhost\r\n\r\n",
        site.mutual()
    );
    wire.stream.write_all(smuggled.as_bytes()).unwrap();

    assert_eq!(wire.read().status, 400);
    assert_eq!(wire.stream.read(&mut [0; 100]).unwrap_or(0), 0, "one answer and no more");
    assert_eq!(site.origin.requests(), 0);
}
