//! A management point of the site: clients register, renew their tokens and exchange credentials here.
//!
//! It decides little. Who a client is and what it gets, the site decides, by keys that never come here; the management point verifies
//! once more what a connection point passes on, and lets through only what can be asked. It believes nobody but connection points of the
//! site, which prove their role by certificate. Absent on purpose: a database, and anything that a restart could lose.

pub mod config;
mod follow;
mod listener;
mod point;
mod report;
mod requests;
mod run;

pub use run::{RunError, run};
