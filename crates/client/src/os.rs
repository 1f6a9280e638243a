//! What differs between operating systems: word of a changed network, and what the device is. Everything else of the client is the same
//! everywhere.

#[cfg(target_os = "linux")]
#[path = "os/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "os/other.rs"]
mod system;

use std::collections::BTreeSet;
use std::net::IpAddr;

pub(crate) use system::{Watch, inventory, os_name, routes};

/// The device's own addresses, without those of the loopback and of a link alone.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let own: BTreeSet<_> =
        all.iter().filter(|interface| !interface.is_loopback() && !interface.is_link_local()).map(|own| own.ip()).collect();
    own.into_iter().collect()
}

/// The name of this device.
pub(crate) fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    name.or_else(|| std::env::var("COMPUTERNAME").ok())
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "device".to_owned())
}

/// What makes a network another one. The kernel has more to tell, such as that an address counts for another hour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// The device's own addresses.
    pub(crate) addresses: Vec<IpAddr>,
    routes: String,
}

impl Surroundings {
    pub(crate) fn now() -> Self {
        Self { addresses: addresses(), routes: routes() }
    }
}
