//! A new gateway's end of the connection over which it asks for its certificate: it knows nothing but the digest of a root.
//!
//! What the handshake proves to it: the peer holds the key of a certificate that an authority with this root has issued to a connection
//! point. The root has to be in the chain that is shown. What is proven to the connection point: nothing; the site proves who the
//! gateway is, by its code.
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use pki_types::{CertificateDer, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

use super::provider;
use super::tunnel::{End, Peers, no_tls12, shown, signed_by_holder};

/// Shows `key`, which proves nothing, and demands a connection point under the root with the SHA-256 `root`; `protocol` is the name in
/// ALPN.
pub fn new_gateway(root: [u8; 32], key: &Arc<CertifiedKey>, protocol: &[u8]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(PinnedConnectionPoint(root)))
        .with_cert_resolver(shown(key));
    config.alpn_protocols = vec![protocol.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Believes a connection point under one root.
#[derive(Debug)]
struct PinnedConnectionPoint([u8; 32]);

impl ClientCertVerifier for PinnedConnectionPoint {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(root) = others.iter().find(|certificate| digest(&SHA256, certificate).as_ref() == self.0) else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        let peers = Peers::new(&[root.to_vec()], End::ConnectionPoint).map_err(|_| CertificateError::BadEncoding)?;
        peers.verify(leaf, others, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed_by_holder(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
