//! The administrator's command line against a real site server on SQLite, over a real loopback connection.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod access;
mod apply;
mod house;
mod kinds;
mod output;
mod sign_in;
mod site;
