//! Server authentication certificates, which gateways show to clients.

use serde::{Deserialize, Serialize};

/// A server certificate, as it is read. Its private key stays in the site server's vault, and goes to gateways sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Its name, which gateways refer to.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The certificate and its issuers, PEM.
    pub chain: String,
    /// SHA-256 of the public key's private half as it is stored: changes when the key does. Set by the site server.
    #[serde(default)]
    pub key_id: String,
}

/// A server certificate, as it is written: `chain` and `key`, or `pfx` and `password`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CertificateUpload {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The certificate and its issuers, PEM.
    #[serde(default)]
    pub chain: Option<String>,
    /// The private key, PEM, not encrypted.
    #[serde(default)]
    pub key: Option<String>,
    /// Certificate, issuers and key as PKCS#12, base64.
    #[serde(default)]
    pub pfx: Option<crate::bytes::Base64>,
    /// The password of `pfx`.
    #[serde(default)]
    pub password: Option<String>,
}
