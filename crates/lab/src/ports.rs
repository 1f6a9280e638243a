//! Free ports on the loopback address.
//!
//! Programs under test are told their ports in a file, so the ports must be known before anything listens. They are
//! taken from below the range that the system gives to outgoing connections, so that none of those can come between.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::LabError;

const FIRST: u16 = 20_000;
const LAST: u16 = 32_000;

/// Where the next search of this process begins, counted from [`FIRST`].
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that nobody listens on; no second call in this process returns the same one soon.
pub fn free_port() -> Result<u16, LabError> {
    let span = LAST - FIRST;
    // Processes that run side by side begin at different places.
    let start = (std::process::id().wrapping_mul(7919) % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % span;
        let port = FIRST + (start + step) % span;
        if is_free(port) {
            return Ok(port);
        }
    }
    Err(LabError::NoPort { first: FIRST, last: LAST })
}

/// The wanted port if nobody listens on it, else any free one. Port 0 is no port.
pub fn port_or_free(wanted: u16) -> Result<u16, LabError> {
    if wanted != 0 && is_free(wanted) { Ok(wanted) } else { free_port() }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
