//! An enrolled gateway with a site of these tests and connection points that are spoken through the real tunnel.

mod files;
mod following;
mod joining;
mod office;
mod point;

use std::future::Future;
use std::time::Duration;

/// The deadline of a test that hangs: far longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Fails where `future` hangs.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// Waits for a fact that nobody announces.
async fn until(mut fact: impl FnMut() -> bool) {
    soon(async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
