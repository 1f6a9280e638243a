//! What the tests share: the program under test, systems made of it, and a client that judges them byte by byte.
//!
//! Tests are plain functions that block; what the laboratory does in the background (origin, relay, child processes) belongs to one
//! runtime that lives as long as the test binary.

mod binary;
mod log;
mod managed;
mod oidc;
mod pebble;
mod proxy;
mod setup;
mod site;
mod tls_server;
mod websocket;
mod wire;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

pub(crate) use binary::binary;
pub(crate) use log::{field, lines};
pub(crate) use managed::ManagedSite;
pub(crate) use oidc::{OidcProvider, SECRET, claims_of, header_of};
pub(crate) use pebble::{Asks, KEY_ID, MAC_KEY, Pebble};
pub(crate) use proxy::ConnectProxy;
pub(crate) use setup::Setup;
pub(crate) use site::{Site, assert_refused_by, line_of, metric_of, reload};
pub(crate) use tls_server::TlsServer;
pub(crate) use websocket::{Frame, UPGRADE, WebSocket};
pub(crate) use wire::{Caller, Reply, Wire};

/// How long a fact may take to become true: much longer than it ever should, because test machines are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a future of the laboratory on the runtime that all tests share.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    static RUNTIME: LazyLock<Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    RUNTIME.block_on(future)
}

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, ask)
}

/// The same, for what has a time of its own.
pub(crate) fn until_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The SHA-256 of some bytes as the origin writes it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
