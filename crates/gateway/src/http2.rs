//! HTTP/2 towards clients, where every published endpoint of a host name allows it.
//!
//! A stream is one more way to ask the same question: its head is written as HTTP/1.1 and read by the same parser, so that both
//! versions are one set of rules, and the same steps decide about it. The connection's task owns what is known about the client
//! and admits streams one after another; bodies run in a task per stream, so a stream that stalls holds up nobody else.
//!
//! Absent on purpose: server push, CONNECT, upgrades, priorities. What the `h2` crate does by itself and no log line tells of: a
//! malformed head or a target with bytes that no URI has resets its stream, a head far too large or a flood (resets before they
//! are taken, CONTINUATION, errors provoked from this end, tiny DATA frames) ends the connection. A fragment in `:path` is dropped.
mod answer;
mod connection;
mod head;
mod lent;
mod relay;
mod stream;

pub(crate) use connection::serve;
