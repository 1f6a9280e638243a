//! What every long-running program needs: configuration files, secrets, log, metrics, health, shutdown, a runtime.
//!
//! Nothing here knows what a gateway or a connection point is.

mod access_log;
pub mod clock;
pub mod dice;
pub mod exit;
pub mod file;
pub mod health;
mod json_line;
pub mod log;
pub mod metrics;
pub mod open_files;
pub mod runtime;
mod secret;
pub mod shutdown;

pub use secret::{Secret, secret_file};
