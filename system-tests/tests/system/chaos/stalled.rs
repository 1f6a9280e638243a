//! Clients that ask for much and read nothing.

use std::time::{Duration, Instant};

use cmg_lab::Origin;

use super::client::{Client, Ending, device};
use super::ledger::Ledger;
use super::site::Site;

/// Clients that stop reading.
const READERS: usize = 40;
/// What each of them asks for, bytes.
const ANSWER: usize = 64 * 1024 * 1024;
/// Small requests beside them.
const SMALL: usize = 100;
/// The slowest small request. A frozen tunnel would answer none at all, so a busy test machine gets more than the second that is
/// promised; the benchmark measures that.
const LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn forty_readers_that_stop_delay_nobody_else() {
    let origin = Origin::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut site = Site::start_before(&origin.url(), Ledger::open().await).await;
    let (config, port) = (device(&site.system.lab.client_dir()), site.system.lab.gateways[0].port);
    let path = site.path();

    let slowest = tokio::task::spawn_blocking(move || {
        let ask = |what: String| format!("GET {path}{what} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes();
        let mut readers: Vec<_> = (0..READERS).map(|_| Client::connect(&config, port).unwrap()).collect();
        for reader in &mut readers {
            assert_eq!(reader.start(&ask(format!("/bytes/{ANSWER}"))).unwrap(), (200, ANSWER));
        }
        let one = || {
            let began = Instant::now();
            let ending = Client::connect(&config, port).unwrap().exchange(&ask("/bytes/1024".to_owned()), false);
            assert_eq!(ending, Ending::Answered(200));
            began.elapsed()
        };
        (0..SMALL).map(|_| one()).max()
    });

    let slowest = slowest.await.unwrap().unwrap();
    assert!(slowest < LIMIT, "the slowest took {slowest:?}");
    site.stop().await;
}
