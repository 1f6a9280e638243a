//! Boundary groups: which networks use which site systems.

use serde::{Deserialize, Serialize};

/// A boundary group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BoundaryGroup {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The networks that belong to it.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// Site systems and management points that its clients use, by name.
    #[serde(default)]
    pub site_systems: Vec<String>,
    /// Gateways that its clients use, by name.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Internet-facing servers that its clients use, by name.
    #[serde(default)]
    pub internet_servers: Vec<String>,
    /// Groups whose site systems are used when the own ones fail, in this order.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// Whether gateways and other sources on the internet are preferred to those on the intranet. Default false.
    #[serde(default)]
    pub prefer_cloud_based_sources: bool,
}

/// A network: `ADDRESS/BITS` such as `10.1.0.0/16`, or one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Network(pub String);
