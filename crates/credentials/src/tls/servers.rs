//! The connection point's way to the servers that it publishes: ordinary HTTPS, believed by name and configured authorities.
use std::sync::Arc;

use cmg_core::problem::Problem;
use pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore};

use super::tunnel::shown;
use super::{ALPN_HTTP1, provider};

/// A configuration that believes servers of the `authorities` (roots, DER) under their own names and shows `identity`, if any.
///
/// `key` is the configuration key of the authorities, for problems. The operating system's store is not consulted.
pub fn server_client(key: &str, authorities: &[Vec<u8>], identity: Option<&Arc<CertifiedKey>>) -> Result<Arc<ClientConfig>, Problem> {
    let instead = "name a file of root certificates for the servers";
    let mut roots = RootCertStore::empty();
    for der in authorities {
        roots
            .add(CertificateDer::from(der.as_slice()))
            .map_err(|error| Problem::new(key, format!("a certificate cannot be used: {error}"), instead))?;
    }
    if roots.is_empty() {
        return Err(Problem::new(key, "no authority is named", instead));
    }
    let believing = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for both versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => believing.with_client_cert_resolver(shown(identity)),
        None => believing.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(Arc::new(config))
}
