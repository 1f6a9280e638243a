//! How clients behave: when they leave a service, and how often they ask and send.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::ClientSettingsPolicy;
use crate::text::Duration;

/// The settings of all clients. There is one, called `default`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ClientSettings {
    /// `default`.
    pub name: String,
    /// For people. Default empty.
    #[serde(default)]
    pub description: String,
    /// Errors after which a client leaves an internet-based service. Default 5.
    #[serde(default = "leave_after_errors")]
    pub leave_after_errors: u32,
    /// Within which time they count. Default 10m.
    #[serde(default = "leave_within")]
    pub leave_within: Duration,
    /// How long a service that was left is not chosen while there are others. Default 15m.
    #[serde(default = "avoid_for")]
    pub avoid_for: Duration,
    /// Over which time clients spread when all come back at once. Default 30s.
    #[serde(default = "spread")]
    pub spread: Duration,
    /// How often policy is asked for where no notification tells. Default 60m.
    #[serde(default = "policy_every")]
    pub policy_every: Duration,
    /// How often a client finds out anew where it is. Default 24h.
    #[serde(default = "day")]
    pub location_every: Duration,
    /// How often a heartbeat is sent. Default 24h.
    #[serde(default = "day")]
    pub heartbeat_every: Duration,
    /// How often the inventory is sent. Default 7d.
    #[serde(default = "week")]
    pub inventory_every: Duration,
    /// How long a request for notifications is held; at most 15m. Default 10m.
    #[serde(default = "notification_wait")]
    pub notification_wait: Duration,
    /// Settings for agents on the device, by the name of who reads them: any JSON. Clients write it to disk. Default empty.
    #[serde(default)]
    pub agents: BTreeMap<String, serde_json::Value>,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            description: String::new(),
            leave_after_errors: leave_after_errors(),
            leave_within: leave_within(),
            avoid_for: avoid_for(),
            spread: spread(),
            policy_every: policy_every(),
            location_every: day(),
            heartbeat_every: day(),
            inventory_every: week(),
            notification_wait: notification_wait(),
            agents: BTreeMap::new(),
        }
    }
}

impl From<&ClientSettings> for ClientSettingsPolicy {
    fn from(settings: &ClientSettings) -> Self {
        let seconds = |time: Duration| time.time().as_secs();
        Self {
            leave_after_errors: settings.leave_after_errors,
            leave_within: seconds(settings.leave_within),
            avoid_for: seconds(settings.avoid_for),
            spread: seconds(settings.spread),
            policy_every: seconds(settings.policy_every),
            location_every: seconds(settings.location_every),
            heartbeat_every: seconds(settings.heartbeat_every),
            inventory_every: seconds(settings.inventory_every),
            notification_wait: seconds(settings.notification_wait),
        }
    }
}

const fn leave_after_errors() -> u32 {
    5
}

const fn leave_within() -> Duration {
    Duration::minutes(10)
}

const fn avoid_for() -> Duration {
    Duration::minutes(15)
}

const fn spread() -> Duration {
    Duration::seconds(30)
}

const fn policy_every() -> Duration {
    Duration::minutes(60)
}

const fn day() -> Duration {
    Duration::days(1)
}

const fn week() -> Duration {
    Duration::days(7)
}

const fn notification_wait() -> Duration {
    Duration::minutes(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_written_clients_do_what_they_do_without_settings() {
        let blank: ClientSettings = serde_json::from_str(r#"{"name":"default"}"#).expect("a resource");

        assert_eq!(blank, ClientSettings::default());
        assert_eq!(ClientSettingsPolicy::from(&blank), ClientSettingsPolicy::default());
    }
}
