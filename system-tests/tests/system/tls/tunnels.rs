//! Who may hold the other end of a tunnel.

use std::sync::Arc;

use cmg_lab::{Profile, Role};
use pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::support::{Caller, Site, until};

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
pub(crate) struct AnyServer;

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
    let a_management_point = lab.infrastructure.issue(&Profile::role(Role::ManagementPoint, "management-point-1")).unwrap();
    let no_role = lab.infrastructure.client("nobody").unwrap();
    let old = lab.infrastructure.issue(&Profile::role(Role::ConnectionPoint, "connection-point-1").expired()).unwrap();

    for certificate in [Some(&lab.client), Some(&of_clients), Some(&a_gateway), Some(&a_management_point), Some(&no_role), Some(&old), None]
    {
        let caller = match certificate {
            Some(certificate) => site.with_certificate(certificate),
            None => site.stranger(),
        };
        assert!(!is_welcome(&caller), "{:?}", certificate.map(cmg_lab::Issued::serial_hex));
    }
    until("all are counted", || (site.metric("cmg_gateway_connections_refused_total{reason=\"tunnel_refused\"}") >= 7.0).then_some(()));
}
