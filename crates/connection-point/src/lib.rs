//! The CMG connection point: runs inside, dials out, re-issues each request to a published server.
//!
//! It treats the gateway as hostile: what may be asked for, by whom and where it goes is decided here again, from this side's own
//! copy. Absent on purpose: a listening port for requests.

mod answer;
mod claim;
pub mod config;
mod deliver;
mod events;
mod health;
mod identity;
mod pool;
mod proof;
mod relay;
mod run;
mod running;
mod servers;
mod site;
mod state;
mod tunnels;
mod upstream;

pub use run::{RunError, run};
