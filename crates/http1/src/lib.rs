//! HTTP/1.1 messages as bytes: strict heads, body framing and the few pieces of encoding that go with them.
//!
//! Both ends of the request path use it: the gateway reads requests from strangers, the connection point reads
//! answers from servers it does not control. So nothing ambiguous passes. Whatever two readers could understand
//! differently (a bare LF, a folded line, two lengths, a length beside chunks) is a [`Fault`] with its own name.
//!
//! A head is a list of offsets into the caller's buffer; the one allocation is the list of fields, which the caller
//! hands in again for the next head. Absent on purpose: IO, time, routing, status codes of refusals, and any opinion
//! on the target beyond its bytes.
#![no_std]

extern crate alloc;

mod bytes;
mod chunk;
mod connection;
mod content;
mod decoder;
mod encode;
mod fault;
mod known;
mod lines;
mod request;
mod response;
mod span;

pub use bytes::{eq_ignore_case, is_field_value, is_token};
pub use chunk::MAX_CHUNK_EXTENSION;
pub use connection::{connection_options, is_hop_by_hop};
pub use content::{Framing, Version};
pub use decoder::{Decoded, Decoder, MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS, Piece};
pub use encode::{CHUNK_END, CRLF, LAST_CHUNK, LAST_CHUNK_HEAD, push_chunk_head, push_field};
pub use fault::Fault;
pub use known::Known;
pub use lines::{Field, HeadLimits, MAX_FIELD_NAME};
pub use request::{RequestHead, parse_request};
pub use response::{RequestKind, ResponseHead, parse_response};
pub use span::Span;
