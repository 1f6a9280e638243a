//! One end of the link: a TUN device inside a network namespace.
//!
//! The device is made here and then moved, so that this process holds both ends and stands in neither namespace. It is gone when
//! the process ends. `ip` (iproute2) does what needs no packet.

use std::io::{Error, Result};
use std::process::Command;
use std::str::FromStr;

use tun_rs::{DeviceBuilder, SyncDevice};

/// Longest packet, bytes.
pub(crate) const MTU: u16 = 1500;

/// Packets the kernel keeps for this process. Deep, because every loss shall be the line's doing, not that of a busy processor.
const KERNEL_QUEUE: &str = "20000";

/// Where an end is: `NAMESPACE:ADDRESS/PREFIX`.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    namespace: String,
    address: String,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            Some((namespace, address)) if !namespace.is_empty() && address.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), address: address.to_owned() })
            }
            _ => Err("write an end as NAMESPACE:ADDRESS/PREFIX".to_owned()),
        }
    }
}

/// Makes the device `name`, moves it to its namespace, and gives it its address. `control`: the congestion control of TCP through
/// this device, which a namespace may not always choose for itself as a whole.
pub(crate) fn open(name: &str, place: &Place, control: Option<&str>) -> Result<SyncDevice> {
    let device = DeviceBuilder::new().name(name).enable(false).build_sync()?;
    let Place { namespace, address } = place;
    ip(&["link", "set", name, "netns", namespace])?;
    ip(&["-n", namespace, "link", "set", name, "mtu", &MTU.to_string(), "txqueuelen", KERNEL_QUEUE, "up"])?;
    ip(&["-n", namespace, "address", "add", address, "dev", name])?;
    if let Some(control) = control {
        let network = network(namespace, name)?;
        ip(&["-n", namespace, "route", "change", &network, "dev", name, "scope", "link", "congctl", control])?;
    }
    Ok(device)
}

/// The network behind a device, as the kernel's route to it says.
fn network(namespace: &str, name: &str) -> Result<String> {
    let output = Command::new("ip").args(["-n", namespace, "route", "show", "dev", name]).output()?;
    let routes = String::from_utf8_lossy(&output.stdout).into_owned();
    routes.split_whitespace().next().map(str::to_owned).ok_or_else(|| Error::other("no route to the other end"))
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(Error::other(format!("ip {}: {status}", arguments.join(" ")))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_namespace_and_an_address() {
        let place: Place = "cloud:10.77.0.1/30".parse().unwrap();

        assert_eq!((place.namespace.as_str(), place.address.as_str()), ("cloud", "10.77.0.1/30"));
    }

    #[test]
    fn an_end_without_a_prefix_is_refused() {
        assert!("cloud:10.77.0.1".parse::<Place>().is_err());
    }
}
