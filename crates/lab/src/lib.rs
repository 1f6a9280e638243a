//! A laboratory: everything that quickstart, the system tests and the benchmark need around the programs under test.
//!
//! Certificate authorities, tokens, a complete set of configuration files, an origin to publish, a relay in front of
//! several gateways, a small client, and the programs themselves as child processes. Nothing in here is used by a
//! gateway or a connection point, and nothing is meant for production.

pub mod api;
pub mod authority;
pub mod ccm;
pub mod client;
pub mod config;
pub mod device;
pub mod error;
pub mod file;
pub mod flaw;
pub mod issued;
pub mod lab;
pub mod managed;
pub mod origin;
pub mod ports;
pub mod probe;
pub mod profile;
pub mod program;
pub mod proof;
pub mod published;
pub mod relay;
pub mod request;
pub mod system;
pub mod token;

pub use api::Api;
pub use authority::Authority;
pub use ccm::{FakeCcmClient, FakeCcmMessage};
pub use client::{Answer, Client};
pub use device::Device;
pub use error::LabError;
pub use flaw::Flaw;
pub use issued::{Issued, RevocationList};
pub use lab::{Discovery, Lab, LabOptions};
pub use managed::{Managed, ManagementPoint, SiteServer};
pub use origin::Origin;
pub use probe::{Probe, probe};
pub use profile::{KeyType, Profile, Role};
pub use program::{Plan, Program, Signal};
pub use proof::ProofKey;
pub use published::Published;
pub use relay::{Front, Instance, Relay};
pub use request::Request;
pub use system::{Hop, System};
pub use token::{Algorithm, TokenSigner};
