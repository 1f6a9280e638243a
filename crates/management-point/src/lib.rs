//! A management point of the site: clients register, renew their tokens and exchange credentials here, and get their policy.
//!
//! It decides little. Who a client is and what it gets, the site decides, by keys that never come here; the management point verifies
//! once more what a connection point passes on, and lets through only what can be asked. Connection points of the site, which prove
//! their role by certificate, it believes about clients; whoever else comes is a stranger that has to prove everything itself.
//!
//! Registered devices send messages (`messages`, `bits`), which are on disk before they are acknowledged (`spool`, `uploads`), and hold
//! a request until there is something to do (`notifications`, `board`); `passing` is what goes between here and the site. Absent on
//! purpose: a database.

mod addresses;
mod bits;
mod board;
mod claim;
pub mod config;
mod desk;
mod device;
mod follow;
mod listener;
mod location;
mod messages;
mod notifications;
mod passing;
mod point;
mod policy;
mod proof;
mod refused;
mod report;
mod requests;
mod run;
mod spool;
mod uploads;
mod verify;

pub use run::{RunError, run};
