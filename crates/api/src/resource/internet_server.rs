//! An internet-facing server of the site, or a reverse proxy in front of management points (internet-based client management, IBCM).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::{RouteCredential, ServiceRoute};

/// An internet-facing server. Clients on the internet treat it as a gateway's equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct InternetServer {
    /// Its name, which no gateway has.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The code of its site. Default: the site that the site server was set up with.
    #[serde(default)]
    pub site: Option<String>,
    /// Where management points are reached through it, such as `https://ibcm.example.com`: clients append `/cmg/v1/...`. No two have the
    /// same host and port. Default empty.
    #[serde(default)]
    pub management_points: Vec<String>,
    /// Roots that its server certificate must chain to, PEM. Default empty: those of the device's operating system.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// How often clients choose it beside others. Default 1; 0: never by itself.
    #[serde(default = "one")]
    pub weight: u32,
    /// How site systems are reached through it, by their names. Default empty.
    #[serde(default)]
    pub servers: BTreeMap<String, Vec<ServerRoute>>,
}

/// One way to a site system through an internet-facing server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ServerRoute {
    /// Which paths of the site system: those that begin with this one. Default `/`.
    #[serde(default = "root")]
    pub path: String,
    /// What stands in its place, such as `https://ibcm.example.com/wiki`.
    pub url: String,
    /// What the server wants to see of a client: `certificate`, `token`, `either`, `nothing`. Default `certificate`.
    #[serde(default = "certificate")]
    pub credential: RouteCredential,
}

impl From<&ServerRoute> for ServiceRoute {
    fn from(route: &ServerRoute) -> Self {
        Self { path: route.path.clone(), url: route.url.clone(), credential: route.credential }
    }
}

const fn one() -> u32 {
    1
}

fn root() -> String {
    "/".to_owned()
}

const fn certificate() -> RouteCredential {
    RouteCredential::Certificate
}
