//! The policy of clients: what the site tells every device, signed, so that it finds its way wherever it is.
//!
//! It is sent as a [`crate::control::Signed`] whose payload is a [`Policy`] in JSON and whose context is [`POLICY_CONTEXT`], signed by the
//! key that signs snapshots. A client verifies it under the roots of the site's infrastructure authority that it holds, and takes only one
//! that is newer than its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bytes::Base64;
use crate::control::GenerationId;

/// Context of the signature over a [`Policy`].
pub const POLICY_CONTEXT: &str = "cmg-policy/1";

/// The largest policy, in bytes.
pub const LARGEST_POLICY: usize = 8 << 20;

/// What a client knows about its site. Members that a client does not know are no error: an older client reads what it understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The name of the site, as in role URIs (`spiffe://NAME/...`).
    pub site_name: String,
    /// The site code.
    pub site: String,
    /// The generation that this policy came with: it is the same as long as nothing in it changes.
    pub generation: GenerationId,
    /// When it was made, in seconds since 1970.
    pub made_at: u64,
    /// The roots of the infrastructure authority, DER. Management points and later policies are believed by these.
    pub roots: Vec<Base64>,
    /// Management points of the intranet.
    pub management_points: Vec<IntranetManagementPoint>,
    /// Every internet-based service: gateways (CMG) and internet-facing servers (IBCM), one like the other.
    pub services: Vec<InternetService>,
    /// The servers that clients may ask for, by name.
    pub servers: Vec<PolicyServer>,
    /// Boundary groups.
    pub boundary_groups: Vec<PolicyBoundaryGroup>,
    /// How a client chooses, and how often it does what.
    pub client: ClientSettingsPolicy,
    /// Settings for agents on the device, by the name of who reads them. The client writes them to disk and does not look inside.
    pub agents: BTreeMap<String, serde_json::Value>,
}

/// A management point of the intranet. It proves itself by a certificate with the role URI `spiffe://SITE/management-point/NAME`
/// of the infrastructure authority; its address alone proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntranetManagementPoint {
    /// Its name.
    pub name: String,
    /// Its address inside, such as `https://mp1.corp.example:8446`, without a path.
    pub url: String,
}

/// What an internet-based service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// A cloud management gateway.
    Cmg,
    /// An internet-facing server, or a reverse proxy in front of one (internet-based client management).
    Ibcm,
}

/// An internet-based service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetService {
    /// Its name, unique among services.
    pub name: String,
    /// What it is.
    pub kind: ServiceKind,
    /// How often it is chosen beside others: 1 for all, unless the administrator says so. Zero: never by itself.
    pub weight: u32,
    /// Roots (PEM) that its server certificate must chain to. Empty: those of the operating system.
    pub authorities: Vec<String>,
    /// Where a management point is reached through it: the client appends `/cmg/v1/...`. Several do the same work.
    pub management_points: Vec<String>,
    /// How the servers of [`Policy::servers`] are reached through it, by their name.
    pub servers: BTreeMap<String, Vec<ServiceRoute>>,
}

/// One way to a server through a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRoute {
    /// Which paths of the server: those that begin with this one, `/` for all. The longest that fits counts.
    pub path: String,
    /// What stands in its place, such as `https://cmg.example.com/wiki` for `/`.
    pub url: String,
    /// What the service wants to see.
    pub credential: RouteCredential,
}

/// What a service wants to see of a client on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RouteCredential {
    /// A client certificate.
    Certificate,
    /// The site's token, with a proof of possession (RFC 9449).
    Token,
    /// Either.
    Either,
    /// Nothing.
    Nothing,
}

/// A server inside, by the name that agents on the device know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyServer {
    /// The name of the site system.
    pub name: String,
    /// Its addresses on the intranet: scheme, host and port, such as `https://wsus.corp.example:8531`.
    pub origins: Vec<String>,
    /// Roots (PEM) for `https` on the intranet. Empty: those of the operating system.
    pub authorities: Vec<String>,
    /// Whether it holds content: a distribution point.
    pub content: bool,
}

/// A boundary group, as clients use it: see [`crate::resource::BoundaryGroup`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyBoundaryGroup {
    /// Its name.
    pub name: String,
    /// Networks that belong to it: `ADDRESS/BITS`, or one address.
    pub networks: Vec<String>,
    /// Site systems and management points that its clients use, by name. Empty: all.
    pub site_systems: Vec<String>,
    /// Internet-based services that its clients use, by name. Empty: all.
    pub services: Vec<String>,
    /// Groups whose site systems are used when the own ones fail, in this order.
    pub fallback: Vec<String>,
    /// Whether internet-based services are used although the intranet is there: VPN networks that are to be kept free.
    pub prefer_cloud: bool,
}

/// How a client chooses among services, and how often it does what. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClientSettingsPolicy {
    /// Errors after which a service is left. Default 5.
    pub leave_after_errors: u32,
    /// Within which time they count. Default 600.
    pub leave_within: u64,
    /// How long a service that was left is not chosen while there are others. Default 900.
    pub avoid_for: u64,
    /// Over which time clients spread when all come back at once. Default 30.
    pub spread: u64,
    /// How often policy is asked for where no notification channel tells. Default 3,600.
    pub policy_every: u64,
    /// How often the location is evaluated anew. Default 86,400.
    pub location_every: u64,
    /// How often a heartbeat is sent. Default 86,400.
    pub heartbeat_every: u64,
    /// How often the inventory is sent. Default 604,800.
    pub inventory_every: u64,
    /// How long a request for notifications is held. Default 600.
    pub notification_wait: u64,
}

impl Default for ClientSettingsPolicy {
    fn default() -> Self {
        Self {
            leave_after_errors: 5,
            leave_within: 600,
            avoid_for: 900,
            spread: 30,
            policy_every: 3_600,
            location_every: 86_400,
            heartbeat_every: 86_400,
            inventory_every: 604_800,
            notification_wait: 600,
        }
    }
}
