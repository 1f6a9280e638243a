//! The gateway: the one public thing. It ends TLS, proves who the client is, forwards what is published, and holds nothing else.
//!
//! Absent on purpose: a console, a database, a shell, a name or address of anything inside. The path of a request is
//! `listener`, `connection`, `request`, `relay`, in this order.

mod acme;
mod admission;
mod answer;
mod clients;
pub mod config;
mod connection;
mod credential;
mod deadlines;
mod events;
mod heads;
mod http2;
mod listener;
mod proof;
mod relay;
mod request;
mod run;
mod running;
mod site;
mod standing;
mod state;
mod tenant;

pub use run::{RunError, run};
