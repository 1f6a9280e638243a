//! A new gateway's end of the connection over which it asks for its certificate: it knows nothing but the digest of a root.
//!
//! What the handshake proves to it: the peer holds the key of a certificate that an authority with this root has issued to a connection
//! point. The root has to be in the chain that is shown. What is proven to the connection point: nothing; the site proves who the
//! gateway is, by its code.
use std::sync::Arc;

use pki_types::{CertificateDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{DistinguishedName, Error, ServerConfig};

use super::provider;
use super::tls13::signed_by_holder;
use super::tunnel::{End, Peers, shown};

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
        Peers::pinned(self.0, others, End::ConnectionPoint)?.verify(leaf, others, now).map(|()| ClientCertVerified::assertion())
    }

    signed_by_holder!();
}
