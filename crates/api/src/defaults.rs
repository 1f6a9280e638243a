//! Defaults that a program's file has with a site and without one.

use crate::text::Duration;

pub(crate) fn gateway_metrics() -> String {
    "127.0.0.1:9180".to_owned()
}

pub(crate) fn connection_point_metrics() -> String {
    "127.0.0.1:9181".to_owned()
}

/// Service managers wait as long.
pub(crate) const fn drain() -> Duration {
    Duration::seconds(30)
}
