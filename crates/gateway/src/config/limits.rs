//! `[limits]`: what strangers may cost.
use std::time::Duration;

use cmg_api::LimitsFile;
use cmg_core::rate::Rate;
use cmg_http1::HeadLimits;
use cmg_standalone::Reading;

/// Largest head, in bytes, and most fields in it: a head travels in one frame of the tunnel, where everything that the gateway
/// adds needs room too.
const LARGEST_HEAD: u64 = 64 << 10;
const MOST_FIELDS: u32 = 1_000;

/// Smallest head, in bytes: a request with a cookie or a token has more than a few hundred.
const SMALLEST_HEAD: u64 = 1 << 10;

/// What strangers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Client connections at once.
    pub connections: usize,
    /// TLS handshakes in progress at once.
    pub handshakes: usize,
    /// Longest time for a handshake.
    pub handshake_time: Duration,
    /// Size of a request's head.
    pub head: HeadLimits,
    /// Longest time from the first byte of a head to its end.
    pub head_time: Duration,
    /// How long a connection without a request is kept.
    pub keep_alive: Duration,
    /// Requests of one client.
    pub rate: Rate,
    /// Requests of one client at the same time; 0: no limit.
    pub concurrent_requests: u32,
    /// Connections from one address; 0: no limit.
    pub connections_per_address: u32,
}

pub(super) fn read(file: &LimitsFile, reading: &mut Reading) -> Limits {
    not_zero(file, reading);
    head(file, reading);
    if file.burst > 0 && file.requests_per_second == 0 {
        let what = "it means nothing without requests_per_second";
        reading.problem("limits.burst", what, "write requests_per_second too, or remove burst");
    }
    Limits {
        connections: file.connections as usize,
        handshakes: file.handshakes as usize,
        handshake_time: file.handshake_time.time(),
        head: HeadLimits { bytes: file.head_bytes.get().min(LARGEST_HEAD) as usize, fields: file.head_fields as usize },
        head_time: file.head_time.time(),
        keep_alive: file.keep_alive.time(),
        // The file says what may come beyond the rate, the bucket holds both.
        rate: Rate { per_second: file.requests_per_second, burst: file.requests_per_second.saturating_add(file.burst) },
        concurrent_requests: file.concurrent_requests,
        connections_per_address: file.connections_per_address,
    }
}

/// Where 0 is not "no limit", it would let nobody in.
fn not_zero(file: &LimitsFile, reading: &mut Reading) {
    let LimitsFile { connections, handshakes, handshake_time, head_time, keep_alive, .. } = file;
    for (key, is_zero, such_as) in [
        ("connections", *connections == 0, "20000"),
        ("handshakes", *handshakes == 0, "2048"),
        ("handshake_time", handshake_time.time().is_zero(), "\"10s\""),
        ("head_time", head_time.time().is_zero(), "\"10s\""),
        ("keep_alive", keep_alive.time().is_zero(), "\"5m\""),
    ] {
        if is_zero {
            reading.problem(format!("limits.{key}"), "0 lets nobody in", format!("write a limit such as {such_as}"));
        }
    }
}

fn head(file: &LimitsFile, reading: &mut Reading) {
    let bytes = file.head_bytes;
    if !(SMALLEST_HEAD..=LARGEST_HEAD).contains(&bytes.get()) {
        let what = format!("{bytes} does not fit, since a head has some hundred bytes and travels in one frame of the tunnel");
        reading.problem("limits.head_bytes", what, "write 1KiB to 64KiB");
    }
    if !(1..=MOST_FIELDS).contains(&file.head_fields) {
        let what = format!("{} does not fit, since a head has fields and travels in one frame of the tunnel", file.head_fields);
        reading.problem("limits.head_fields", what, format!("write 1 to {MOST_FIELDS}"));
    }
}
