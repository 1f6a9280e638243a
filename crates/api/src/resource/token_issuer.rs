//! Who issues tokens that count, besides the site itself: OIDC providers, Entra ID tenants.

use serde::{Deserialize, Serialize};

use crate::text::Duration;
use crate::trust::{Algorithm, TokenKind};

/// Who issues tokens that count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenIssuer {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// Where its keys come from.
    pub kind: IssuerKind,
    /// What `iss` must be, of `oidc` and `key`. Of `entra` it follows from the tenant.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The tenant's id, of `entra`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The id of the native (client) app that devices sign in with, of `entra`; told by `AADAuthInfo`.
    #[serde(default)]
    pub client_app_id: Option<String>,
    /// The resource URI (audience) of the web (server) app, of `entra`; told by `AADAuthInfo`.
    #[serde(default)]
    pub resource_uri: Option<String>,
    /// The public keys, of `key`: PEM, key or certificate, by their ids.
    #[serde(default)]
    pub keys: std::collections::BTreeMap<String, String>,
    /// What its tokens are.
    pub token_kind: TokenKind,
    /// Signature algorithms that count. Default `RS256`.
    #[serde(default = "rs256")]
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may be apart, at most `5m`. Default `60s`.
    #[serde(default = "minute")]
    pub leeway: Duration,
    /// Whether its tokens count. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether discovery and keys may be fetched from private addresses. Default false.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Root certificates that its server is believed by, PEM, besides those of the system: for a provider inside. Default none.
    #[serde(default)]
    pub authorities: Vec<String>,
}

/// Where the keys of an issuer come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum IssuerKind {
    /// A Microsoft Entra ID tenant.
    Entra,
    /// An OpenID Connect provider with discovery.
    Oidc,
    /// Keys that were uploaded.
    Key,
}

fn rs256() -> Vec<Algorithm> {
    vec![Algorithm::Rs256]
}

const fn minute() -> Duration {
    Duration::seconds(60)
}

const fn yes() -> bool {
    true
}
