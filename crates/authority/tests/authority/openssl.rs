//! What openssl's command line says about a certificate, a list and an export. Skipped where there is none.
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cmg_authority::{RevokedCertificate, RootExport};

use crate::site::{NOW, gateway, later, member, site};

fn openssl(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}");
    Some(text)
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn openssl_believes_a_chain_and_its_list() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let (good, bad) = (member(&gateway()).1, member(&gateway()).1);
    let revoked = [RevokedCertificate { serial: bad.serial, at: NOW }];
    let list = site().infrastructure.revocation_list(&revoked, 3, NOW, later(86_400)).unwrap();
    write("root.pem", pem("CERTIFICATE", site().roots.infrastructure_certificate()));
    write("issuing.pem", pem("CERTIFICATE", &good.chain[1]));
    write("good.pem", pem("CERTIFICATE", &good.chain[0]));
    write("list.pem", pem("X509 CRL", &list));

    let at = later(10).0.to_string();
    let check = ["verify", "-x509_strict", "-crl_check", "-attime", &at, "-CAfile", "root.pem", "-untrusted", "issuing.pem"];
    let Some(verdict) = openssl(dir.path(), &[&check[..], &["-CRLfile", "list.pem", "good.pem"]].concat()) else { return };
    let listed = openssl(dir.path(), &["crl", "-in", "list.pem", "-noout", "-text"]).unwrap();

    assert!(verdict.contains("good.pem: OK"), "{verdict}");
    assert!(listed.contains("X509v3 CRL Number: \n                3\n"), "{listed}");
}

#[test]
fn openssl_reads_the_certificates_of_an_export() {
    let dir = tempfile::tempdir().unwrap();
    RootExport::seal(&site().roots, "a long enough passphrase").unwrap().write(&dir.path().join("roots.txt")).unwrap();

    let Some(_) = openssl(dir.path(), &["crl2pkcs7", "-nocrl", "-certfile", "roots.txt", "-out", "roots.p7"]) else { return };
    let text = openssl(dir.path(), &["pkcs7", "-in", "roots.p7", "-print_certs", "-noout"]).unwrap();

    assert!(text.contains("ABC infrastructure root") && text.contains("ABC client root"), "{text}");
}
