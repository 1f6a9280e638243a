//! The site: where an enrolled connection point is told what to do, and what it does for its gateways on the way.
//!
//! A connection point asks, nobody asks it. What it learns of its own it puts in force; what it learns for its gateways it hands to the
//! very instance that it is for (`relay`). Everything is verified by the site's signature before it counts and kept on disk, so that a
//! start needs nobody.
mod board;
pub(crate) mod enrolling;
mod follow;
mod metrics;
pub(crate) mod relay;
mod report;
mod run;
mod said;
mod store;

pub(crate) use run::run;
