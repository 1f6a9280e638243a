//! An enrolled connection point, as a process of its own, between a site server's and gateways' ends that are played here.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod enrolment;
mod fake_gateway;
mod fake_site;
mod following;
mod point;
mod relay;

use std::future::Future;
use std::time::Duration;

use cmg_core::time::WallTime;

/// The deadline of a test that hangs: far longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Fails where `future` hangs.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// Waits for a fact that nobody announces.
async fn until(mut fact: impl AsyncFnMut() -> bool) {
    soon(async {
        while !fact().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn now() -> WallTime {
    WallTime(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs())
}
