//! What the device says about itself: a heartbeat, and an inventory in plain JSON.

use cmg_api::control::GenerationId;
use cmg_api::device::Heartbeat;
use serde_json::{Value, json};

use crate::os;

/// A heartbeat.
pub(crate) fn heartbeat(name: &str, policy: Option<GenerationId>) -> Value {
    let heartbeat = Heartbeat {
        name: name.to_owned(),
        client_version: env!("CARGO_PKG_VERSION").to_owned(),
        os: os::os_name(),
        policy,
        addresses: os::addresses().iter().map(ToString::to_string).collect(),
    };
    json!(heartbeat)
}

/// An inventory.
pub(crate) fn inventory(name: &str) -> Value {
    let mut inventory = os::inventory();
    inventory["name"] = name.into();
    inventory["client_version"] = env!("CARGO_PKG_VERSION").into();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let interfaces: Vec<_> =
        interfaces.iter().map(|interface| json!({ "name": interface.name, "address": interface.ip().to_string() })).collect();
    inventory["interfaces"] = interfaces.into();
    inventory
}
