//! The three zones as network namespaces, with a firewall around corp that lets nothing in. Skipped where a machine does not
//! permit namespaces (they need root, `ip` and `nft`).

mod map;
mod site;

use map::{CLOUD_FROM_CORP, CORP};
use site::{Site, reaches};

const SKIPPED: &str = "skipped: network namespaces are not permitted here, or ip or nft is missing";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_from_the_internet_reaches_corp_though_nothing_can_connect_to_it() {
    let Some(site) = Site::start().await else { return eprintln!("{SKIPPED}") };

    assert_eq!(site.ask("/echo").unwrap().status, 200);

    for port in site.ports_in_corp() {
        assert!(!reaches(&site.map.internet, CORP, port), "the internet reaches port {port} in corp");
        assert!(!reaches(&site.map.cloud, CORP, port), "the cloud reaches port {port} in corp");
    }
    assert!(reaches(&site.map.corp, CORP, site.server.port), "the server should be there to be reached");
    assert!(reaches(&site.map.corp, CLOUD_FROM_CORP, 443), "corp should reach the service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cable_pulled_and_put_back_is_noticed_and_survived() {
    let Some(site) = Site::start().await else { return eprintln!("{SKIPPED}") };

    site.map.plug("down");
    site.ready(false);
    assert_eq!(site.ask("/echo").unwrap().status, 503);

    site.map.plug("up");
    site.ready(true);
    assert_eq!(site.ask("/echo").unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_moves_to_another_address_is_found_by_its_name() {
    let Some(site) = Site::start().await else { return eprintln!("{SKIPPED}") };

    site.map.move_cloud();

    // The address before is gone, so an answer proves the way by the other.
    site.answers("/echo");
}
