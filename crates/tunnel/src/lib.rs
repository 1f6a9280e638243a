//! The tunnel: connections that a connection point dials to a gateway, and exchanges that the gateway opens over them.
//!
//! A *session* is one multiplexed connection: heads, small bodies, control, and whatever has to wait. A *lane* is one connection that
//! carries the body of one exchange at a time, in one direction, so that bulk never stands in front of small exchanges. The
//! protocol is written down in `docs/tunnel.md`. Everything above this crate sees [`Exchange`] and nothing of frames.

mod ask;
mod claims;
pub mod connector;
mod driver;
mod exchange;
mod frame;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
mod greeting;
mod head;
mod lane;
mod outbox;
mod queue;
mod slot;
mod strays;

pub use ask::{Answer, AskError, BodyError, CONTROL_ENDPOINT, Question};
pub use driver::Ended;
pub use exchange::{Claim, Event, Exchange, Gone, Incoming, Way, trailer_fields, trailers};
pub use head::{BodyLength, Fields, HeadError, RequestFrame, RequestHead, ResponseFrame, ResponseHead};
pub use outbox::{ClaimedCredential, Credentials};

/// The protocol name that ALPN carries.
pub const PROTOCOL: &[u8] = b"cmg-tunnel/1";
