//! Certificates that last as long as the process: one that proves nothing, for a gateway that has no other yet, and those that answer an
//! ACME server.
use std::sync::Arc;

use pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::CertifiedKey;

use crate::application::CodeError;

/// A new self-signed certificate without a name.
pub fn certificate() -> Result<Arc<CertifiedKey>, CodeError> {
    self_signed(CertificateParams::default())
}

/// A new self-signed certificate that answers an ACME server which asks whose `name` is (RFC 8737): it holds the digest of the key
/// authorization.
pub fn challenge(name: &str, digest: &[u8; 32]) -> Result<Arc<CertifiedKey>, CodeError> {
    let mut params = CertificateParams::new([name.to_owned()]).map_err(|_| CodeError::Keys)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    self_signed(params)
}

fn self_signed(params: CertificateParams) -> Result<Arc<CertifiedKey>, CodeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CodeError::Keys)?;
    let certificate = params.self_signed(&key).map_err(|_| CodeError::Keys)?;
    let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let signing = cmg_credentials::tls::provider().key_provider.load_private_key(private_key).map_err(|_| CodeError::Keys)?;
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}
