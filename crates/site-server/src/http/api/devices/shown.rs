//! How devices are shown.

use cmg_api::device::Heartbeat;
use cmg_store::{ClientCounts, Device, Online};
use serde::Serialize;
use utoipa::ToSchema;

/// A device, as it is shown.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownDevice {
    /// Its id.
    id: String,
    /// What it called itself when it registered.
    name: String,
    /// How it proves who it is, and who that is: `key/pc1`.
    identity: String,
    /// SHA-256 thumbprint of its key.
    key_thumbprint: String,
    /// `pending`, `approved` or `blocked`.
    state: String,
    /// When it was registered, in seconds since 1970.
    created_at: i64,
    /// When it was seen last, in seconds since 1970.
    last_seen_at: Option<i64>,
    /// Where it is online; none: it is not.
    online: Option<ShownOnline>,
    /// What it said last of itself; none: nothing yet.
    heartbeat: Option<Heartbeat>,
    /// When that came, in seconds since 1970.
    heartbeat_at: Option<i64>,
    /// When its latest inventory came, in seconds since 1970.
    inventory_at: Option<i64>,
    /// How large that is, in bytes.
    inventory_size: Option<u64>,
    /// What somebody should look at. Only where one device is shown.
    findings: Vec<String>,
}

/// Where a device is online.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownOnline {
    /// At which management point.
    management_point: String,
    /// Through what: `intranet`, `cmg/NAME` or `ibcm/NAME`.
    through: String,
    /// Since when, in seconds since 1970.
    since: i64,
}

/// A page of devices.
#[derive(Serialize, ToSchema)]
pub(super) struct DevicePage {
    /// By id.
    pub(super) items: Vec<ShownDevice>,
    /// What to send as `after` to get the next page; none: this is the last one.
    pub(super) next: Option<String>,
    /// How many there are of each state, whatever is searched for.
    pub(super) total: Counts,
}

/// How many devices there are.
#[derive(Serialize, ToSchema)]
pub(super) struct Counts {
    /// Waiting for approval.
    pending: u64,
    /// That count.
    approved: u64,
    /// That are refused.
    blocked: u64,
    /// That are online.
    online: u64,
}

impl Counts {
    pub(super) fn of(counts: ClientCounts, online: u64) -> Self {
        Self { pending: counts.pending, approved: counts.approved, blocked: counts.blocked, online }
    }
}

impl ShownDevice {
    /// With what somebody should look at.
    pub(super) fn with_findings(device: Device, namesakes: &[String]) -> Self {
        let others = namesakes.join(", ");
        let of_name = format!("other devices have the same name and other keys: {others}; remove those that are not there any more");
        let findings = (!namesakes.is_empty()).then_some(of_name).into_iter().collect();
        Self { findings, ..device.into() }
    }
}

impl From<Device> for ShownDevice {
    fn from(device: Device) -> Self {
        let Device { client, heartbeat, heartbeat_at, inventory_at, inventory_size, online } = device;
        Self {
            id: client.id,
            name: client.name,
            identity: client.identity,
            key_thumbprint: client.key_thumbprint,
            state: client.state.word().to_owned(),
            created_at: client.created_at,
            last_seen_at: client.last_seen_at,
            online: online.map(ShownOnline::from),
            heartbeat: heartbeat.and_then(|text| serde_json::from_str(&text).ok()),
            heartbeat_at,
            inventory_at,
            inventory_size,
            findings: Vec::new(),
        }
    }
}

impl From<Online> for ShownOnline {
    fn from(Online { management_point, through, since }: Online) -> Self {
        Self { management_point, through, since }
    }
}
