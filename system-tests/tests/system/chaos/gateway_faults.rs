//! A gateway dies, freezes or is cut off from the connection points while requests go through it.

use cmg_lab::Signal;

use super::load::{CLIENTS, Manners};
use super::site::Site;
use super::verdict::{MOVED, NOTICED, Verdict};

const LOST: &[&str] = &["Gateway lost", "gateway-1"];
/// Sessions of each connection point with a gateway.
const SESSIONS: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_costs_each_client_one_connection() {
    let mut site = Site::start().await;
    let load = site.load_on_the_service(Manners::Patient);
    load.more(1000).await;
    let mut logs = site.point_logs();

    site.system.gateways[0].signal(Signal::Kill).await.unwrap();

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(2000).await;
    site.restart_gateway(0).await;
    site.recovered().await;
    load.more(1000).await;
    let outcomes = load.end().await;
    site.stop().await;
    Verdict::new(&site, outcomes)
        .no_replayable_request_failed()
        .nothing_else_was_repeated()
        .unanswered_at_most(CLIENTS)
        .nobody_waited_longer_than(MOVED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_gateway_holds_up_its_own_clients_only_and_comes_back() {
    let mut site = Site::start().await;
    let load = site.load();
    load.more(1000).await;
    let mut logs = site.point_logs();

    site.system.gateways[0].signal(Signal::Freeze).await.unwrap();

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(1000).await;
    site.system.gateways[0].signal(Signal::Resume).await.unwrap();
    site.recovered().await;
    load.more(2000).await;
    let outcomes = load.end().await;
    let frozen = site.system.lab.gateways[0].port;
    site.stop().await;
    Verdict::new(&site, outcomes.clone()).every_failure_was_answered().nothing_else_was_repeated();
    Verdict::new(&site, outcomes).without_port(frozen).no_replayable_request_failed().nobody_waited_longer_than(MOVED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_cut_off_answers_that_it_is_and_comes_back() {
    let mut site = Site::start().await;
    let load = site.load();
    load.more(1000).await;
    let mut logs = site.point_logs();

    site.cut_gateway(0);

    assert!(logs.say(LOST, SESSIONS).await < NOTICED);
    load.more(2000).await;
    site.mend();
    site.recovered().await;
    load.more(1000).await;
    let outcomes = load.end().await;
    let cut_off = site.system.lab.gateways[0].port;
    site.stop().await;
    Verdict::new(&site, outcomes.clone()).every_failure_was_answered().nothing_else_was_repeated().nobody_waited_longer_than(MOVED);
    Verdict::new(&site, outcomes).without_port(cut_off).no_replayable_request_failed();
}
