//! A site system: a server inside, what it does, and whether clients reach it through a gateway.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::endpoint::{Face, Forwarded, HealthFile};
use crate::text::{Duration, Size};
use crate::trust::TokenKind;

/// A server inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SiteSystem {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The code of its site. Default: the site that the site server was set up with.
    #[serde(default)]
    pub site: Option<String>,
    /// What it does; decides what *allow CMG traffic* publishes.
    pub role: SiteSystemRole,
    /// Its addresses inside, such as `https://mp1.corp.example`: several do the same work.
    pub urls: Vec<String>,
    /// The number that stands in the ConfigMgr form of its published addresses, as text: above 2^53. Default: given by the site.
    #[serde(default)]
    pub role_id: Option<String>,
    /// Root certificates for `https`, PEM. Default none, which trusts no server.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// The certificate that is shown to it, by the name of a certificate resource. Default none.
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// Whether and how clients on the internet reach it. Default: not at all.
    #[serde(default)]
    pub allow_cmg_traffic: Option<AllowCmgTraffic>,
}

/// What a site system does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SiteSystemRole {
    /// A ConfigMgr management point: `ccm_system`, `ccm_system_tokenauth`, `ccm_incoming`, `sms_mp`, `ccm_client`, `ccm_sts`, `bgb`.
    ManagementPoint,
    /// A software update point (WSUS): the web services that clients scan with.
    SoftwareUpdatePoint,
    /// A distribution point: content, for reading.
    DistributionPoint,
    /// The administration service, which nothing but its own switch publishes.
    AdministrationService,
    /// Any web server.
    Web,
}

/// How clients on the internet reach a site system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowCmgTraffic {
    /// Gateways that publish it, by name. Default empty: every gateway.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The external host name. Default: the gateway's service name.
    #[serde(default)]
    pub host: Option<String>,
    /// Of `web`: the path under which it appears. Default `/`, which wants a host name or a port of its own.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Of `web`: a port of its own on gateways, for agents that send no server name. Default none.
    #[serde(default)]
    pub port: Option<u16>,
    /// The credential that clients show. Default `either`.
    #[serde(default = "either")]
    pub face: Face,
    /// Has to stand beside `face = "open"`.
    #[serde(default)]
    pub open_acknowledged: bool,
    /// Whose client certificates count, by the name of a trust. Needed for `mutual` and `either`.
    #[serde(default)]
    pub trust: Option<String>,
    /// Kinds of token that count. Default `site` and `ccm`.
    #[serde(default = "site_and_ccm")]
    pub token_kinds: Vec<TokenKind>,
    /// What a token's `aud` may be. Default `urn:sccm:service`.
    #[serde(default = "service")]
    pub audiences: Vec<String>,
    /// The longest request body. Default: what fits the role.
    #[serde(default)]
    pub body_limit: Option<Size>,
    /// The longest that an exchange may take. Default: what fits the role.
    #[serde(default)]
    pub total: Option<Duration>,
    /// How to find out that the server is well. Default none.
    #[serde(default)]
    pub health: Option<HealthFile>,
    /// Header fields that tell the server who the client is. Default none.
    #[serde(default)]
    pub identity_headers: BTreeMap<String, String>,
    /// Whether the server learns the client's address, and how. Default `none`.
    #[serde(default)]
    pub forwarded: Forwarded,
}

const fn either() -> Face {
    Face::Either
}

fn site_and_ccm() -> Vec<TokenKind> {
    vec![TokenKind::Site, TokenKind::Ccm]
}

fn service() -> Vec<String> {
    vec!["urn:sccm:service".to_owned()]
}
