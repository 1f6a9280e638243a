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
    /// Where it comes from, if it is not uploaded. Until it has come for the first time, `chain` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
}

/// A server certificate, as it is written: `chain` and `key`, or `pfx` and `password`, or `acme`.
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
    /// The ACME server that issues it.
    #[serde(default)]
    pub acme: Option<Acme>,
}

/// An ACME server (RFC 8555), and what is ordered there. The site server makes the key, orders, renews at two thirds of the lifetime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Acme {
    /// The address of its directory, such as `https://acme-v02.api.letsencrypt.org/directory`.
    pub directory: String,
    /// The DNS names of the certificate, at most 100. `*.example.com` needs `dns-01`.
    pub names: Vec<String>,
    /// How the names are proven. Default `tls-alpn-01`: on the public port, by every instance of the gateways that show it.
    #[serde(default)]
    pub challenge: AcmeChallengeKind,
    /// An e-mail address that the server may write to. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Whether you agree to the server's terms of service. Must be true.
    #[serde(default)]
    pub terms_agreed: bool,
    /// Roots of a private ACME server's own certificate, PEM; no others count then. Default none: those that the system believes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directory_authorities: Vec<String>,
    /// Whether the server may have a private address. Default false.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// The account that the server already knows, where it demands one. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_account: Option<ExternalAccount>,
    /// The program that changes DNS, of `dns-01`: a name out of `acme_hooks` in `site.toml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
}

/// How names are proven to an ACME server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum AcmeChallengeKind {
    /// By a TLS handshake on port 443 (RFC 8737).
    #[default]
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a TXT record.
    #[serde(rename = "dns-01")]
    Dns01,
    /// By plain HTTP on port 80, which gateways open in their own files (`acme_listen`).
    #[serde(rename = "http-01")]
    Http01,
}

/// External account binding (RFC 8555, 7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ExternalAccount {
    /// The id of the key.
    pub key_id: String,
    /// The key, base64url. It is written and never shown; left out, the one that is there stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hmac_key: Option<HmacKey>,
}

/// The key of an external account, base64url: it never prints.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct HmacKey(pub String);

impl std::fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HmacKey")
    }
}
