//! The decisions of opencmg: who may do what, where a request goes, when a peer counts as dead.
//!
//! Absent on purpose: IO, clocks, dice, logs, serde, hash maps. Time and random draws are arguments, so that every run with the
//! same arguments is the same run, and every test is a function call.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod backoff;
pub mod boundary;
pub mod challenge;
pub mod choice;
pub mod dice;
pub mod endpoint;
pub mod entra;
pub mod identity;
pub mod ids;
pub mod method;
pub mod permit;
pub mod problem;
pub mod rate;
pub mod refusal;
pub mod replay;
pub mod revocation;
pub mod roaming;
pub mod selection;
pub mod server;
pub mod session;
pub mod snapshot;
pub mod subscription;
pub mod target;
pub mod time;
pub mod trust;
