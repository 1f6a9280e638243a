//! What the tests share: certificates, a gateway's end, a connection point's end, raw frames.

mod gate;
mod pki;
mod point;
mod talk;
mod wire;

use std::future::Future;
use std::time::Duration;

pub(crate) use gate::{Gate, RawGate};
pub(crate) use pki::Site;
pub(crate) use point::Point;
pub(crate) use talk::{Answer, End, pattern, receive, talk};
pub(crate) use wire::{Frame, Wire, frame, kind, purpose, request, response};

/// The deadline of a test that hangs: far longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Fails where `future` hangs.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// Waits for a fact that nobody announces.
pub(crate) async fn until(mut fact: impl FnMut() -> bool) {
    soon(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
