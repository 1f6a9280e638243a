//! The client on a device. It finds its way to the site wherever it is, keeps the site's policy, and carries what is asked by the way in
//! force.
//!
//! `carrier` knows how to send, `policy` what is true, `agent` does what `cmg_core` decides, `command` is what people type, `door` lets agents of the device in. Nothing listens
//! on a network.

mod agent;
pub mod carrier;
mod clock;
pub mod command;
pub mod config;
pub mod desk;
pub mod disk;
pub mod door;
pub mod identity;
mod install;
mod inventory;
pub mod key;
pub mod origin;
mod os;
pub mod policy;
mod probe;
mod properties;
pub mod queue;
mod register;
mod run;
pub mod status;

pub use install::{Install, Repair, Shown};
pub use register::NotRegistered;
pub use run::{RunError, run};
