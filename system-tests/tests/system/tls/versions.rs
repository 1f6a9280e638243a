//! Versions, ciphers, and what is taken for the end of a request.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

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
    let site = Site::start(|_| {});
    if Command::new("openssl").arg("version").output().is_err() {
        println!("skipped: openssl is not installed");
        return;
    }
    let handshake = |options: &[&str]| {
        let address = format!("127.0.0.1:{}", site.lab().gateways[0].port);
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-servername", "localhost"]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
    };

    assert!(handshake(&["-tls1_2"]));
    assert!(handshake(&["-tls1_3"]));
    assert!(!handshake(&["-tls1_1", "-cipher", "ALL@SECLEVEL=0"]));
    for cipher in ["ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA", "AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"] {
        assert!(!handshake(&["-tls1_2", "-cipher", &format!("{cipher}:@SECLEVEL=0")]), "{cipher}");
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
