//! A connection point dies, freezes or is cut off while requests go through it.

use cmg_lab::Signal;

use super::load::Load;
use super::site::Site;
use super::verdict::{MOVED, NOTICED, Verdict};

const LOST: &[&str] = &["Connection point lost", "connection-point-1"];
/// Sessions of a connection point with each gateway.
const SESSIONS: usize = 2;

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
