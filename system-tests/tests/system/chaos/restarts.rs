//! Programs are told to end and started again.

use super::load::Manners;
use super::site::Site;
use super::verdict::Verdict;

#[tokio::test(flavor = "multi_thread")]
async fn every_program_restarted_in_turn_costs_no_request() {
    let mut site = Site::start().await;
    let load = site.load_on_the_service(Manners::Patient);
    load.more(500).await;

    site.roll().await;

    load.more(500).await;
    let outcomes = load.end().await;
    site.stop().await;
    Verdict::new(&site, outcomes).no_replayable_request_failed().nothing_else_was_repeated();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_back_on_its_port_is_found_at_once() {
    let mut site = Site::start().await;

    site.restart_gateway(0).await;

    site.recovered().await;
    let load = site.load();
    load.more(200).await;
    let outcomes = load.end().await;
    site.stop().await;
    Verdict::new(&site, outcomes).no_replayable_request_failed().nothing_else_was_repeated();
}

#[tokio::test(flavor = "multi_thread")]
async fn both_connection_points_killed_and_back_serve_as_before() {
    let mut site = Site::start().await;

    site.restart_point(0).await;
    site.restart_point(1).await;

    site.recovered().await;
    let load = site.load();
    load.more(200).await;
    let outcomes = load.end().await;
    site.stop().await;
    Verdict::new(&site, outcomes).no_replayable_request_failed().nothing_else_was_repeated();
}
