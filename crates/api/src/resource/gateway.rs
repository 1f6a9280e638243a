//! A cloud management gateway: one service name, and the instances behind it.

use serde::{Deserialize, Serialize};

use crate::gateway::WhenWithheld;
use crate::limits::LimitsFile;

/// A cloud management gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Its name.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// The service name that clients use: a DNS name. What is published without a host name of its own appears under it.
    pub host: String,
    /// The port that clients use. Default 443.
    #[serde(default = "https")]
    pub port: u16,
    /// Server certificates by name; the first is shown to who asks for no name.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// The instances. Each is enrolled by a one-time code of its own.
    #[serde(default)]
    pub instances: Vec<Instance>,
    /// What strangers may cost, at each instance.
    #[serde(default)]
    pub limits: LimitsFile,
    /// What becomes of a connection point that withholds the newest configuration: `serve`, or `avoid` after 30 s as long as there are
    /// others. Default `serve`.
    #[serde(default)]
    pub when_withheld: WhenWithheld,
    /// Roots that its server certificate chains to, PEM, for clients: they believe it by these alone. Default empty: those of the device's
    /// operating system.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// How often clients choose it beside other internet-based services. Default 1; 0: never by itself.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether it publishes anything. Default true; false refuses every client at once and keeps the instances.
    #[serde(default = "yes")]
    pub running: bool,
}

/// One running gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its name, unique among all instances.
    pub name: String,
    /// Host and port where connection points reach it: its own, or those of a balancer in front of several.
    pub address: String,
}

const fn yes() -> bool {
    true
}

const fn one() -> u32 {
    1
}

const fn https() -> u16 {
    443
}
