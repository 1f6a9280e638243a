//! What an enrolled program holds: its identity, the last good snapshot, the parts that it is made of.
//!
//! Everything is in one folder of the machine, `[site] data`. With it a program starts and serves though nobody answers: the site may
//! be gone for a week. Absent on purpose: the network, and any waiting. Gateways ask down their tunnels, connection points ask site
//! servers; when to ask is decided in `cmg_core::subscription`.

mod application;
mod data;
pub mod ephemeral;
mod identity;
mod parts;
mod renewal;
mod snapshot;
mod status;

pub use application::{Applicant, ApplyError, CodeError, EnrolError, read_code};
pub use data::{DataError, DataFolder};
pub use identity::Identity;
pub use parts::{PartError, Parts};
pub use renewal::{Renewal, renewal_due};
pub use snapshot::{MOST_COMING, ManifestRefused, SnapshotFiles, Snapshots, freshness, judged, manifest};
