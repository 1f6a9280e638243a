//! OpenID Connect providers that administrators sign in by.

use serde::{Deserialize, Serialize};

/// A provider that administrators sign in by, as it is read. The client secret stays in the site server's vault.
///
/// Only full administrators write these: whoever says who is believed could make himself anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignInProvider {
    /// Its name, which accounts refer to.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// What `iss` of its ID tokens is; its discovery document is found there.
    pub issuer: String,
    /// The id under which the site is registered there.
    pub client_id: String,
    /// Changes when the client secret does; empty: there is none, as for a public client. Set by the site server.
    #[serde(default)]
    pub client_secret_id: String,
    /// What is asked for. Default `openid`, which is enough.
    #[serde(default = "openid")]
    pub scopes: Vec<String>,
    /// How browsers reach the site server's API, such as `https://site.corp.example:8444`. The redirect URI that is registered at the
    /// provider is this with `/api/v1/sign-in/oidc/callback/NAME` behind it, which ends with the name of this resource.
    pub site_url: String,
    /// Whether accounts sign in by it. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether the provider may be at private addresses. Default false.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Root certificates that its server is believed by, PEM, besides those of the system. Default none.
    #[serde(default)]
    pub authorities: Vec<String>,
}

/// The same, as it is written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SignInProviderUpload {
    /// Its name, which accounts refer to.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// What `iss` of its ID tokens is; its discovery document is found there.
    pub issuer: String,
    /// The id under which the site is registered there.
    pub client_id: String,
    /// The secret of that registration, 16 characters or more. Default none, which is right for a public client.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// As it was read: the secret stays as it is. Default empty: there is none.
    #[serde(default)]
    pub client_secret_id: String,
    /// What is asked for. Default `openid`, which is enough.
    #[serde(default = "openid")]
    pub scopes: Vec<String>,
    /// How browsers reach the site server's API, such as `https://site.corp.example:8444`. The redirect URI that is registered at the
    /// provider is this with `/api/v1/sign-in/oidc/callback/NAME` behind it, which ends with the name of this resource.
    pub site_url: String,
    /// Whether accounts sign in by it. Default true.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether the provider may be at private addresses. Default false.
    #[serde(default)]
    pub allow_private_addresses: bool,
    /// Root certificates that its server is believed by, PEM, besides those of the system. Default none.
    #[serde(default)]
    pub authorities: Vec<String>,
}

fn openid() -> Vec<String> {
    vec!["openid".to_owned()]
}

const fn yes() -> bool {
    true
}
