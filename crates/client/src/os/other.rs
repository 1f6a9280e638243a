//! Other systems, until somebody writes what is theirs: the network is looked at from time to time.

use std::time::Duration;

use serde_json::{Value, json};

/// How often the network is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Word of changes.
pub(crate) struct Watch;

impl Watch {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Returns when something may have changed.
    pub(crate) async fn changed(&mut self) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Not known here: addresses alone tell.
pub(crate) fn routes() -> String {
    String::new()
}

/// The operating system.
pub(crate) fn os_name() -> String {
    std::env::consts::OS.to_owned()
}

/// What the device is.
pub(crate) fn inventory() -> Value {
    json!({ "os": { "name": os_name() } })
}
