//! The store against real engines: every rule on SQLite and on PostgreSQL, and the faults of each.
//!
//! `engines` makes the databases, `postgres` the server. Where PostgreSQL is not installed its half is skipped, except in CI.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod clients;
mod configuration;
mod devices;
mod dumps;
mod engines;
mod members;
mod postgres;
mod postgres_faults;
mod sign_in;
mod sqlite_faults;
mod turns;
