//! What crosses a process boundary: configuration files as they are written, and what site and members say to each other.
//!
//! Only shapes live here. Whether an address is an address, whether a named trust policy exists, whether two keys
//! may stand together is judged where the file becomes a snapshot, so that every problem can be reported with the
//! others. Unknown keys are refused everywhere: a misspelt limit must not be a limit that is absent.
//!
//! The files can be written as well as read, for those who generate them.

pub mod bytes;
mod client;
pub mod clients;
mod connection_point;
pub mod control;
mod defaults;
pub mod device;
mod document;
mod endpoint;
mod gateway;
mod limits;
mod log;
mod management_point;
pub mod policy;
pub mod resource;
#[cfg(feature = "openapi")]
mod schema;
pub mod site;
pub mod text;
mod trust;

pub use client::{ClientFile, DoorFile, DoorListenerFile};
pub use connection_point::{ConnectionPointFile, DialFile};
pub use document::{
    AcmeChallenge, ConnectionPointDocument, DialledGateway, EnrolledConnectionPointFile, EnrolledGatewayFile, EnrolmentCode,
    GatewayDocument, ManagementPointDocument, MembershipFile,
};
pub use endpoint::{EndpointFile, Face, Forwarded, HealthFile, ProofDemand, ServedEndpointFile, Stickiness};
pub use gateway::{CertificateFile, GatewayFile, ServiceFile, TunnelEndFile, WhenWithheld};
pub use limits::LimitsFile;
pub use log::{LogFile, LogFormat, LogLevel};
pub use management_point::ManagementPointFile;
pub use trust::{Algorithm, BlockFile, EntraTenantFile, TokenKeyFile, TokenKind, TrustFile, WhenStale, WhenUnsure};
