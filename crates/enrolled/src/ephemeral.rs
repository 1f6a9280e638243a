//! A certificate that proves nothing: what a gateway shows that has no other yet.
use std::sync::Arc;

use pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::sign::CertifiedKey;

use crate::application::CodeError;

/// A new self-signed certificate without a name.
pub fn certificate() -> Result<Arc<CertifiedKey>, CodeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CodeError::Keys)?;
    let certificate = CertificateParams::default().self_signed(&key).map_err(|_| CodeError::Keys)?;
    let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let signing = cmg_credentials::tls::provider().key_provider.load_private_key(private_key).map_err(|_| CodeError::Keys)?;
    Ok(Arc::new(CertifiedKey::new(chain, signing)))
}
