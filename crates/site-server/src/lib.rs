//! The control plane: what is published, who may come in, and that every member runs exactly that.

pub mod app;
pub mod config;
pub mod http;
pub mod jobs;
mod run;
pub mod site;
mod tasks;

pub use run::{RunError, run};
pub use tasks::TaskEnded;
