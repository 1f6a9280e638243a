//! Linux: the kernel tells over netlink when links, addresses or routes change.

use std::fs;
use std::io;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use serde_json::{Value, json};

/// Groups of netlink: links; addresses and routes of IPv4 and IPv6 (`RTMGRP_*` of the kernel).
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// Where the kernel cannot be listened to, the network is looked at as often.
const LOOK: Duration = Duration::from_secs(5);

/// Word of changes.
pub(crate) struct Watch(Option<TokioSocket>);

impl Watch {
    /// Listens; where that is not allowed, looks from time to time.
    pub(crate) fn new() -> Self {
        Self(
            listening()
                .inspect_err(
                    |error| tracing::warn!(%error, "The kernel does not tell of changes of the network, which is looked at instead"),
                )
                .ok(),
        )
    }

    /// Returns when something has changed; what, is for the caller to find out.
    pub(crate) async fn changed(&mut self) {
        let Some(socket) = &mut self.0 else { return tokio::time::sleep(LOOK).await };
        let mut bytes = bytes::BytesMut::with_capacity(4 << 10);
        // An overflow says that there was more than could be told: something has changed then, too.
        if let Err(error) = socket.recv(&mut bytes).await
            && error.raw_os_error().is_none()
        {
            self.0 = None;
        }
    }
}

fn listening() -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    Ok(socket)
}

/// The routes out of here, without counters.
pub(crate) fn routes() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let default = |text: &str, skip: usize| -> String {
        // The first columns: interface, destination and gateway; the counters stand behind.
        let lines = text.lines().filter(|line| line.contains("00000000"));
        lines.map(|line| line.split_whitespace().take(skip).collect::<Vec<_>>().join(" ") + "\n").collect()
    };
    default(&read("/proc/net/route"), 3) + &default(&read("/proc/net/ipv6_route"), 6)
}

/// The operating system, such as `Debian GNU/Linux 12 (bookworm)`.
pub(crate) fn os_name() -> String {
    release("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned())
}

fn release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches('"').to_owned())
}

/// What the device is, as an inventory says it.
pub(crate) fn inventory() -> Value {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (memory, processors, packages) = (read("/proc/meminfo"), read("/proc/cpuinfo"), read("/var/lib/dpkg/status"));
    let kibibytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<u64>().ok());
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, model)| model.to_owned()));
    json!({
        "os": { "name": os_name(), "id": release("ID"), "version": release("VERSION_ID"), "kernel": read("/proc/sys/kernel/osrelease").trim() },
        "memory_bytes": kibibytes.map(|kibibytes| kibibytes * 1024),
        "processors": { "count": processors.lines().filter(|line| line.starts_with("processor")).count(), "model": model },
        "packages": packages.lines().filter(|line| *line == "Status: install ok installed").count(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_says_what_the_device_is() {
        let inventory = inventory();

        assert!(inventory["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{inventory}");
        assert!(inventory["processors"]["count"].as_u64().is_some_and(|count| count > 0), "{inventory}");
    }
}
