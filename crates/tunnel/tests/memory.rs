//! Liars that want the other end's memory. A test binary of its own, because memory is counted by the process.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "tunnel/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "its other users are in the other test binary")]
mod support;

use support::{Gate, Point, RawGate, Site, Wire, kind, purpose, soon};
use tokio::sync::Mutex;

/// One measurement at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn pings_whose_answers_nobody_reads() {
    let _alone = ALONE.lock().await;
    let site = Site::new();
    let gate = Gate::start(&site).await;
    let mut liar = Wire::session(gate.address, site.point("point-1"), 1).await;
    gate.has(1).await;
    let pings = [0, 0, 0, kind::PING, 0, 0, 0, 0].repeat(128 * 1024);
    let before = resident();

    for _ in 0..64 {
        liar.send_bytes(&pings).await.unwrap();
    }

    let grown = resident().saturating_sub(before);
    assert!(grown < 48 * 1024 * 1024, "{grown} bytes for 64 MiB of pings");
}

#[tokio::test]
async fn a_flood_of_credentials() {
    let _alone = ALONE.lock().await;
    let site = Site::new();
    let gate = RawGate::start(&site, "gateway-1").await;
    let _point = Point::with(&site, "point-1", gate.address, 1, 0);
    let (purpose, mut liar) = soon(gate.greet()).await;
    assert_eq!(purpose, purpose::SESSION);
    let before = resident();
    let token = [&[2][..], &vec![b'x'; 200_000]].concat();

    let mut number = 0;
    while liar.send(kind::CREDENTIAL, number, &token).await.is_ok() {
        number += 1;
    }

    assert!(number < 3_000, "{number} of 200,000 bytes were taken");
    let grown = resident().saturating_sub(before);
    assert!(grown < 512 * 1024 * 1024, "{grown} bytes");
    assert_eq!(soon(gate.greet()).await.0, purpose::SESSION);
}
