//! How TLS is spoken on the public ports, and what stands in front of it.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cmg_lab::{KeyType, Profile, Role};
use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, HandshakeKind, SignatureScheme};
use rustls::version::{TLS12, TLS13};

use crate::support::{Caller, Site, until};

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

/// The certificate that a caller is shown.
fn shown(caller: &Caller) -> Vec<u8> {
    let wire = caller.open();
    wire.stream.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn the_certificate_is_chosen_by_the_server_name() {
    let mut made = None;
    let site = Site::start(|setup| {
        let servers = &setup.lab.servers;
        let rsa = servers.issue(&Profile::server(&["rsa.lab"]).key(KeyType::Rsa2048)).unwrap();
        let wild = servers.server(&["*.wild.lab"]).unwrap();
        let packed = servers.server(&["packed.lab"]).unwrap();
        rsa.write(&setup.lab.site_dir(), "rsa").unwrap();
        wild.write(&setup.lab.site_dir(), "wild").unwrap();
        setup.write_secret("packed.pfx", pfx(&packed, "open sesame"));
        setup.write_secret("packed.pass", "open sesame\n");
        setup.gateway(
            r#"
            [[certificate]]
            chain = "rsa.pem"
            key = "rsa.key"
            [[certificate]]
            chain = "wild.pem"
            key = "wild.key"
            [[certificate]]
            pfx = "packed.pfx"
            password_file = "packed.pass"
            "#,
        );
        made = Some((rsa.der, wild.der, packed.der));
    });
    let (rsa, wild, packed) = made.unwrap();

    assert_eq!(shown(&site.device().host("rsa.lab")), rsa);
    assert_eq!(shown(&site.device().host("any.wild.lab")), wild);
    assert_eq!(shown(&site.device().host("packed.lab")), packed);
    assert_ne!(shown(&site.device()), rsa, "the first one where no other fits");
}

fn pfx(issued: &cmg_lab::Issued, password: &str) -> Vec<u8> {
    let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).map(|der| Certificate::from_der(&der.unwrap()).unwrap());
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).unwrap();
    let chain = PrivateKeyChain::new(vec![1_u8], PrivateKey::from_der(key.secret_der()).unwrap(), chain.collect::<Vec<_>>());
    let mut store = KeyStore::new();
    store.add_entry("server", KeyStoreEntry::PrivateKeyChain(chain));
    store.writer(password).encryption_algorithm(EncryptionAlgorithm::PbeWithHmacSha256AndAes256).write().unwrap()
}

#[test]
fn a_reload_replaces_the_certificate_and_drops_no_connection() {
    let site = Site::start(|_| {});
    let before = shown(&site.device());
    let mut wire = site.device().open();
    wire.send("GET", &(site.mutual() + "/held"), &[], b"");
    until("it is there", || (site.origin.requests() == 1).then_some(()));

    let lab = site.lab();
    let renewed = lab.servers.server(&["localhost"]).unwrap();
    renewed.write(&lab.site_dir(), "server").unwrap();
    site.reload();

    assert_ne!(before, renewed.der);
    assert_eq!(shown(&site.device()), renewed.der);
    site.origin.release(1);
    assert_eq!(wire.read().status, 200, "the request in flight is answered");
    wire.send("GET", &(site.mutual() + "/bytes/1"), &[], b"");
    assert_eq!(wire.read().status, 200, "and the connection goes on");
}

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
fn an_endpoint_with_a_port_of_its_own_needs_no_server_name_and_no_prefix() {
    let site = Site::start(|_| {});
    let own_port = site.lab().gateways[0].root_ports[0];
    let nameless = site.device().port(own_port).tls(|tls| tls.enable_sni = false).host_field("whatever:1234");

    assert_eq!(nameless.get("/echo?own").report()["target"], "/echo?own");
    assert_eq!(site.with_token(&site.lab().token).port(own_port).get("/echo").status, 200);
    site.assert_refused(
        &site.stranger().port(own_port).get("/echo"),
        403,
        "CMGService_Client_Certificate_Required",
        "certificate_missing",
    );
}

#[test]
fn an_own_port_reaches_nothing_else() {
    let site = Site::start(|setup| setup.endpoint("shared", ""));
    let own_port = site.lab().gateways[0].root_ports[0];

    // What is a prefix at the public port is a path of the server's here.
    assert_eq!(site.device().port(own_port).get("/shared/x").status, 200);
    assert!(site.origin.seen().iter().any(|seen| seen.target == b"/shared/x"));
    site.assert_refused(&site.device().get("/echo"), 404, "CMGService_Not_Published", "not_published");
}

/// Whether a gateway takes a caller for a connection point: it then speaks first.
fn is_welcome(caller: &Caller) -> bool {
    let as_tunnel = caller.clone().tls(|tls| {
        tls.alpn_protocols = vec![b"cmg-tunnel/1".to_vec()];
        tls.dangerous().set_certificate_verifier(Arc::new(AnyServer));
    });
    // In TLS 1.3 the caller is through before the gateway has looked at its certificate.
    as_tunnel.try_open().and_then(|mut wire| wire.read_bytes(1)).is_ok()
}

/// Believes every server: these tests are about what gateways believe.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ED25519]
    }
}

#[test]
fn a_tunnel_is_refused_on_an_own_port() {
    let site = Site::start(|_| {});
    let role = site.lab().infrastructure.issue(&Profile::role(Role::ConnectionPoint, "connection-point-1")).unwrap();
    let caller = site.with_certificate(&role);
    assert!(is_welcome(&caller), "at the public port it is");

    assert!(!is_welcome(&caller.port(site.lab().gateways[0].root_ports[0])));
    until("counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"tunnel_refused\"}") >= 1.0).then_some(()));
}

#[test]
fn a_tunnel_is_refused_to_whoever_is_no_connection_point() {
    let site = Site::start(|_| {});
    let lab = site.lab();
    let of_clients = lab.clients.issue(&Profile::role(Role::ConnectionPoint, "connection-point-1")).unwrap();
    let a_gateway = lab.infrastructure.issue(&Profile::role(Role::Gateway, "gateway-1")).unwrap();
    let no_role = lab.infrastructure.client("nobody").unwrap();
    let old = lab.infrastructure.issue(&Profile::role(Role::ConnectionPoint, "connection-point-1").expired()).unwrap();

    for certificate in [Some(&lab.client), Some(&of_clients), Some(&a_gateway), Some(&no_role), Some(&old), None] {
        let caller = match certificate {
            Some(certificate) => site.with_certificate(certificate),
            None => site.stranger(),
        };
        assert!(!is_welcome(&caller), "{:?}", certificate.map(cmg_lab::Issued::serial_hex));
    }
    until("all are counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"tunnel_refused\"}") >= 6.0).then_some(()));
}

#[test]
fn ipv6_is_spoken() {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        println!("skipped: there is no IPv6 here");
        return;
    }
    let site = Site::start(|setup| {
        let port = setup.lab.gateways[0].port;
        setup.gateway(&format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]"));
        setup.delivered("forwarded", "forwarded = \"forwarded\"");
    });
    let address = SocketAddr::from((Ipv6Addr::LOCALHOST, site.lab().gateways[0].port));

    let reply = site.device().address(address).get("/forwarded/echo");

    assert_eq!(reply.echoed("Forwarded"), ["for=\"[::1]\";host=\"localhost\";proto=https"]);
}

/// A PROXY protocol header of version 2 for an IPv4 client.
fn proxy_header(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".as_slice(), &client, &[10, 0, 0, 1], &4000_u16.to_be_bytes(), &443_u16.to_be_bytes()].concat()
}

#[test]
fn a_trusted_balancer_says_who_the_client_is() {
    let site = Site::of(1, 1, |setup| {
        // The connection point does not come through the balancer, so it comes from another address of the loopback.
        let port = setup.lab.gateways[0].port;
        setup.gateway(&format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\"]\nproxy_protocol_from = [\"127.0.0.0/8\"]"));
        setup.point(&format!("[tunnel]\ngateways = [\"[::1]:{port}\"]"));
        setup.delivered("forwarded", "forwarded = \"x-forwarded\"");
    });
    let reply = site.device().before_tls(&proxy_header([203, 0, 113, 9])).get("/forwarded/echo");

    assert_eq!(reply.echoed("X-Forwarded-For"), ["203.0.113.9"]);
    assert_eq!(site.logged(&reply)["client"], "203.0.113.9");

    assert!(site.device().try_open().is_err(), "whoever comes from there without a header is refused");
    until("counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"proxy_header\"}") >= 1.0).then_some(()));
}

#[test]
fn a_client_cannot_say_who_it_is() {
    let site = Site::start(|_| {});

    assert!(site.device().before_tls(&proxy_header([203, 0, 113, 9])).try_open().is_err());
}

#[test]
fn bytes_behind_a_refused_request_are_not_taken_for_another() {
    let site = Site::start(|_| {});
    let mut wire = site.device().tls(|tls| tls.resumption = Resumption::disabled()).open();
    let smuggled = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET {}/echo HTTP/1.1\r\nHost: localhost\r\n\r\n", site.mutual());
    wire.stream.write_all(smuggled.as_bytes()).unwrap();

    assert_eq!(wire.read().status, 400);
    assert_eq!(wire.stream.read(&mut [0; 100]).unwrap_or(0), 0, "one answer and no more");
    assert_eq!(site.origin.requests(), 0);
}
