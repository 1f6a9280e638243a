//! Where a client can be, and where its requests go from there.
use core::fmt;

use crate::ids::{ManagementPointId, ServiceId};

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a management point, and straight to other servers.
    ManagementPoint(ManagementPointId),
    /// Through a service.
    Service(ServiceId),
    /// Nowhere: they wait.
    Nothing,
}

/// Where the client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Not known: it is being searched for.
    Unknown,
    /// On the intranet: this management point has proven it.
    Intranet(ManagementPointId),
    /// In a network whose boundary group prefers the internet, such as a VPN's, and works through this service.
    Diverted(ServiceId),
    /// On the internet, and works through this service.
    Internet(ServiceId),
    /// Behind a captive portal.
    Portal,
    /// Nobody can be reached.
    Offline,
}

impl Place {
    /// Where requests go from there.
    pub fn route(&self) -> Route {
        match self {
            Self::Intranet(management_point) => Route::ManagementPoint(management_point.clone()),
            Self::Diverted(service) | Self::Internet(service) => Route::Service(service.clone()),
            Self::Unknown | Self::Portal | Self::Offline => Route::Nothing,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("Not known where"),
            Self::Intranet(point) => write!(f, "On the intranet, with management point {point}"),
            Self::Diverted(service) => write!(f, "Through {service}, which this network prefers"),
            Self::Internet(service) => write!(f, "On the internet, through {service}"),
            Self::Portal => f.write_str("Behind a captive portal"),
            Self::Offline => f.write_str("Offline"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ManagementPoint(point) => write!(f, "management point {point}"),
            Self::Service(service) => write!(f, "service {service}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}
