//! Tests of the whole system: the real program as gateway and as connection point, real sockets, real certificates.
//!
//! Every module is about one subject; `support` holds what they share.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod chaos;
mod edges;
mod forwarding;
mod hostile;
mod http2;
mod inside;
mod managed;
mod operation;
#[path = "../../../crates/store/tests/store/postgres.rs"]
#[allow(dead_code, reason = "the same server as in the tests of the store")]
mod postgres;
mod refusals;
mod support;
mod third_parties;
mod tls;
mod zones;
