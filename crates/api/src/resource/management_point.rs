//! A management point of the site: where clients register, and where their tokens are renewed and exchanged.

use serde::{Deserialize, Serialize};

use crate::trust::TokenKind;

/// A management point of the site's own. It is enrolled by a one-time code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ManagementPoint {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The code of its site. Default: the site that the site server was set up with.
    #[serde(default)]
    pub site: Option<String>,
    /// The DNS name by which connection points reach it; its certificate has this name. Another name wants another enrolment.
    pub host: String,
    /// The port there. Default 8446.
    #[serde(default = "port")]
    pub port: u16,
    /// The number that stands in the ConfigMgr form of its published address, as text: above 2^53. Default: given by the site.
    #[serde(default)]
    pub role_id: Option<String>,
    /// Whether and how clients on the internet reach it through gateways, and who registers. Default: not through gateways; whoever reaches
    /// it otherwise registers with a token of any of the three kinds.
    #[serde(default)]
    pub allow_cmg_traffic: Option<RegistrationTraffic>,
}

/// How clients on the internet reach a management point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RegistrationTraffic {
    /// Gateways that publish it, by name. Default empty: every gateway.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The external host name. Default: the gateway's service name.
    #[serde(default)]
    pub host: Option<String>,
    /// Whose client certificates register, by the name of a trust. Default none: tokens only.
    #[serde(default)]
    pub trust: Option<String>,
    /// Kinds of token that register: `bulk`, `oidc-device`, `oidc-user`. Default all three.
    #[serde(default = "registering")]
    pub token_kinds: Vec<TokenKind>,
    /// What a token's `aud` may be. Default `urn:sccm:service`; add the resource URI of each provider.
    #[serde(default = "service")]
    pub audiences: Vec<String>,
}

impl Default for RegistrationTraffic {
    fn default() -> Self {
        Self { gateways: Vec::new(), host: None, trust: None, token_kinds: registering(), audiences: service() }
    }
}

const fn port() -> u16 {
    8446
}

fn registering() -> Vec<TokenKind> {
    vec![TokenKind::Bulk, TokenKind::OidcDevice, TokenKind::OidcUser]
}

fn service() -> Vec<String> {
    vec!["urn:sccm:service".to_owned()]
}
