//! Both ends of the tunnel over real sockets and real TLS, with each other and with peers that lie.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod changing;
mod control;
mod exchanges;
mod idling;
mod lanes;
mod lying_gateway;
mod lying_point;
mod opening;
mod recovery;
mod support;
mod unsent;
