//! Resumed sessions, and what is checked again.

use cmg_lab::config::edit;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};

use crate::support::{Caller, Site};

#[test]
fn sessions_resume_in_both_versions() {
    let site = Site::start(|_| {});
    for version in [&TLS12, &TLS13] {
        let caller = site.device().version(site.lab(), Some(&site.lab().client), version);
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let mut wire = caller.open();
            wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");

            assert_eq!(wire.read().status, 200);
            assert_eq!(wire.stream.conn.handshake_kind(), Some(kind), "{version:?}");
        }
    }
}

#[test]
fn a_resumed_session_resumes_after_a_reload_too() {
    let site = Site::start(|_| {});
    let caller = site.device();
    assert_eq!(caller.get(&(site.mutual() + "/bytes/1")).status, 200);

    site.reload();

    let mut wire = caller.open();
    wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    assert_eq!(wire.read().status, 200);
    assert_eq!(wire.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_revocation_reaches_open_and_resumed_connections() {
    let site = Site::start(|_| {});
    let lab = site.lab();
    let callers = [&TLS12, &TLS13].map(|version| site.device().version(lab, Some(&lab.client), version));
    let mut open: Vec<_> = callers.iter().map(Caller::open).collect();
    for wire in &mut open {
        wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
        assert_eq!(wire.read().status, 200);
    }

    lab.revoke(&[&lab.client.serial]).unwrap();
    site.reload();

    for wire in &mut open {
        wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
        site.assert_refused(&wire.read(), 403, "CMGService_Client_Certificate_Refused", "certificate_revoked");
    }
    for caller in &callers {
        let mut wire = caller.open();
        wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
        assert_eq!(wire.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
        site.assert_refused(&wire.read(), 403, "CMGService_Client_Certificate_Refused", "certificate_revoked");
    }
}

#[test]
fn a_session_of_one_port_does_not_resume_at_another() {
    let site = Site::start(|_| {});
    let own_port = site.lab().gateways[0].root_ports[0];
    let caller = site.device();
    assert_eq!(caller.get(&(site.mutual() + "/bytes/1")).status, 200);

    let mut wire = caller.port(own_port).open();

    wire.send("GET", "/bytes/1", &[], b"");
    assert_eq!(wire.read().status, 200);
    assert_eq!(wire.stream.conn.handshake_kind(), Some(HandshakeKind::Full));
}

#[test]
fn a_block_reaches_open_and_resumed_connections() {
    let site = Site::start(|_| {});
    let (lab, caller) = (site.lab(), site.device());
    let mut open = caller.open();
    open.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    assert_eq!(open.read().status, 200);

    edit(&lab.gateways[0].config, |file| {
        let mut block = toml::Table::new();
        block.insert("thumbprint".to_owned(), lab.client.thumbprint().into());
        file.insert("block".to_owned(), vec![toml::Value::from(block)].into());
    })
    .unwrap();
    site.reload();

    open.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    site.assert_refused(&open.read(), 403, "CMGService_Client_Certificate_Refused", "certificate_blocked");
    let mut resumed = caller.open();
    resumed.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    assert_eq!(resumed.stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    site.assert_refused(&resumed.read(), 403, "CMGService_Client_Certificate_Refused", "certificate_blocked");
}
