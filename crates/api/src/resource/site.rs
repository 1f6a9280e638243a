//! A site: what owns site systems, connection points and clients.

use serde::{Deserialize, Serialize};

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The site code, such as `LAB`: 1 to 8 letters and digits.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// How the tokens of clients are signed that register at management points of this site, their CCM tokens too: `RS256` or `ES256`.
    /// Those that were signed before count on. Default `RS256`; bulk registration tokens are always `RS256`, as ConfigMgr's are.
    #[serde(default)]
    pub token_algorithm: TokenAlgorithm,
    /// Whether devices that register by a bulk registration token or a provider's token count at once. Default `automatic`. A device with
    /// a certificate of an authority that counts waits for nobody.
    #[serde(default)]
    pub approval: Approval,
}

/// How the site signs tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum TokenAlgorithm {
    /// RSA of 2048 bits, PKCS#1 v1.5 with SHA-256.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256: smaller, and signed more quickly.
    #[serde(rename = "ES256")]
    Es256,
}

/// Whether a device counts as soon as it has registered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Approval {
    /// It does.
    #[default]
    Automatic,
    /// It waits for an administrator.
    Manual,
}
