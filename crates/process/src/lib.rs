//! What every long-running program needs: configuration files, secrets, log, metrics, health, shutdown, a runtime.
//!
//! Nothing here knows what a gateway or a connection point is.

pub mod file;
mod secret;

pub use secret::{Secret, public_file, secret_file};
