//! Bytes between two machines: sockets, TLS, dialling.
//!
//! One owner per stream and no locks. A stream holds buffers only while bytes move, so that tens of thousands of idle clients cost
//! little more than their keys. What the bytes mean is known elsewhere.

pub mod connect;
pub mod listen;
pub mod proxy_protocol;
mod scratch;
mod socket;
mod stream;
mod tls;
mod turn;

pub use socket::{is_quiet, set_lane_options, set_server_options, set_tunnel_options};
pub use stream::{ByteStream, make_room};
pub use tls::{Hello, TlsStream, read_hello};
pub use turn::end_turn;
