//! A connection point dies, freezes or is cut off while requests go through it.

use cmg_lab::{Origin, Signal};

use super::client::{Client, device};
use super::ledger::Ledger;
use super::load::Load;
use super::site::Site;
use super::verdict::{MOVED, NOTICED, Verdict};

const LOST: &[&str] = &["Connection point lost", "connection-point-1"];
/// Sessions of a connection point with each gateway.
const SESSIONS: usize = 2;
/// An answer that does not fit into what lies between server and client, bytes.
const ANSWER: usize = 64 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_connection_point_costs_no_replayable_request() {
    let mut site = Site::start().await;
    let (load, mut logs) = (busy(&site).await, site.gateway_logs(&[0, 1]));

    site.system.connection_points[0].signal(Signal::Kill).await.unwrap();

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(2000).await;
    site.restart_point(0).await;
    judge(site, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_connection_point_costs_no_replayable_request() {
    let site = Site::start().await;
    let (load, mut logs) = (busy(&site).await, site.gateway_logs(&[0, 1]));

    site.system.connection_points[0].signal(Signal::Freeze).await.unwrap();

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(2000).await;
    site.system.connection_points[0].signal(Signal::Resume).await.unwrap();
    judge(site, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_point_that_is_cut_off_costs_no_replayable_request() {
    let site = Site::start().await;
    let (load, mut logs) = (busy(&site).await, site.gateway_logs(&[0, 1]));

    site.cut_point(0);

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(2000).await;
    site.mend();
    judge(site, load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_connection_point_dies_is_cut_and_not_ended() {
    let origin = Origin::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let mut site = Site::start_before(&origin.url(), Ledger::open().await).await;
    let (config, port) = (device(&site.system.lab.client_dir()), site.system.lab.gateways[0].port);
    let request = format!("GET {}/bytes/{ANSWER} HTTP/1.1\r\nHost: localhost\r\n\r\n", site.path());
    let begun = tokio::task::spawn_blocking(move || {
        let mut client = Client::connect(&config, port).unwrap();
        assert_eq!(client.start(request.as_bytes()).unwrap(), (200, ANSWER));
        client
    });
    let mut client = begun.await.unwrap();

    for point in &site.system.connection_points {
        point.signal(Signal::Kill).await.unwrap();
    }

    let read = tokio::task::spawn_blocking(move || client.read_body(ANSWER));
    assert!(read.await.unwrap().is_err());
    site.restart_point(0).await;
    site.restart_point(1).await;
    site.recovered().await;
    site.stop().await;
}

/// A load that is under way.
async fn busy(site: &Site) -> Load {
    let load = site.load();
    load.more(1000).await;
    load
}

/// Everything comes back, and then everything must have been right.
async fn judge(mut site: Site, load: Load) {
    site.recovered().await;
    load.more(1000).await;
    let outcomes = load.end().await;
    site.stop().await;

    Verdict::new(&site, outcomes)
        .no_replayable_request_failed()
        .every_failure_was_answered()
        .nothing_else_was_repeated()
        .nobody_waited_longer_than(MOVED);
}
