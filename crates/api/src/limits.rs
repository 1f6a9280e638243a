//! `[limits]` of a gateway: what strangers may cost.

use serde::{Deserialize, Serialize};

use crate::text::{Duration, Size};

/// `[limits]`. Where 0 means no limit, it says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct LimitsFile {
    /// Client connections at once. Default 20,000; the operating system must allow the process more open files than
    /// this, since handshakes and tunnels need some too, or the start says so.
    pub connections: u32,
    /// TLS handshakes in progress at once. Default 2048: more than honest clients begin together, and a bound on what
    /// a flood of them costs before anybody has said who he is.
    pub handshakes: u32,
    /// The longest that a handshake may take. Default `10s`: three lost packets on a bad mobile line.
    pub handshake_time: Duration,
    /// The longest head of a request in bytes. Default `64KiB`: agents send Kerberos tickets and long tokens.
    pub head_bytes: Size,
    /// The most header fields of a request. Default 100, as most servers have it.
    pub head_fields: u32,
    /// From the first byte of a head to its end. Default `10s`, against those who send one byte a second.
    pub head_time: Duration,
    /// How long a connection without a request is kept. Default `5m`: longer than agents pause between requests, so
    /// that they seldom shake hands again.
    pub keep_alive: Duration,
    /// Requests a second per client, who is a certificate, a token's subject, or else an address. 0 is no limit, and
    /// the default, because agents come in bursts and a limit must fit them.
    pub requests_per_second: u32,
    /// Requests beyond that which may come at once. Default 0.
    pub burst: u32,
    /// Requests at the same time per client; 0 is no limit. Default 256: more than any agent, less than a flood.
    pub concurrent_requests: u32,
    /// Connections per address; 0 is no limit, and the default, because a company behind one address is ordinary.
    pub connections_per_address: u32,
}

impl Default for LimitsFile {
    fn default() -> Self {
        Self {
            connections: 20_000,
            handshakes: 2_048,
            handshake_time: Duration::seconds(10),
            head_bytes: Size::kibibytes(64),
            head_fields: 100,
            head_time: Duration::seconds(10),
            keep_alive: Duration::minutes(5),
            requests_per_second: 0,
            burst: 0,
            concurrent_requests: 256,
            connections_per_address: 0,
        }
    }
}
