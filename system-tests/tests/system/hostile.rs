//! Lying peers against the real programs: a gateway that is not ours any more, and a connection point that is not.
//!
//! Both hold real role certificates, which is the worst case: everything before the frames is in order. What a peer can do to the
//! tunnel itself is tested in `crates/tunnel`; here is what must not get through to a server or to a client.

mod bodies;
mod claims;
mod half;
mod overload;
mod places;
mod point;
mod proofs;
// The frames by hand that the tunnel's own tests use.
#[path = "../../../crates/tunnel/tests/tunnel/support/wire.rs"]
#[allow(dead_code, reason = "its other users are in the tunnel's tests")]
mod wire;
