//! A CMG connection point.

use serde::{Deserialize, Serialize};

/// A CMG connection point. It is enrolled by a one-time code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ConnectionPoint {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The code of the site whose servers it reaches. Default: the site that the site server was set up with.
    #[serde(default)]
    pub site: Option<String>,
    /// Gateways that it connects to, by name. Default empty: every gateway.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// Multiplexed connections to each instance. Default 2, so that one lost packet does not hold up everything.
    #[serde(default = "two")]
    pub connections: u32,
    /// Idle one-at-a-time connections beside each of those, for bodies. Default 4.
    #[serde(default = "four")]
    pub lanes: u32,
}

const fn two() -> u32 {
    2
}

const fn four() -> u32 {
    4
}
