//! The administrator's interface, asked as a client asks it, over a real database.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod accounts;
mod apply;
mod authorities;
mod bad_input;
mod certificates;
mod connections;
mod control;
mod house;
mod idempotency;
mod openapi;
mod resources;
mod routes;
mod setup;
mod sign_in;
mod status;
