//! How members inside ask the site servers, which nobody else does: connection points and management points.
//!
//! A member comes in by its one-time code (`enrolment`), asks as who it is (`member`, `client`), and renews its certificate (`renewal`).
//! Waits after failures have jitter, so that many who lost the same server do not come back together. Absent on purpose: what the
//! answers mean, which each program knows for itself.

mod backoff;
mod client;
mod enrolment;
mod member;
mod renewal;
mod servers;
mod trouble;

pub use backoff::Backoff;
pub use client::{Answered, HELD, SiteClient, SiteError};
pub use enrolment::{Applying, enrol};
pub use member::{Member, Site, of_data};
pub use renewal::renew_until_dropped;
pub use trouble::Trouble;

use std::time::{SystemTime, UNIX_EPOCH};

use cmg_core::time::WallTime;

fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
