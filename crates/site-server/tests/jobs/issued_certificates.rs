//! Issued certificates: revoked ones end members, and block clients.

use cmg_site_server::app::issued_certificates::keep_lists;
use serde_json::json;

use crate::house::{Ask, House};
use crate::seen::{block_lines, document, enrol, issued, made, with_gateway};

#[tokio::test]
async fn a_member_whose_certificate_is_revoked_is_told_nothing_more() {
    let house = House::new().await;
    with_gateway(&house).await;
    assert!(house.site.in_force().signed.contains_key("gateway/gw-1"));

    let revoked = made(&house, "/issued-certificates/01AB/revoke", json!({})).await;

    assert!(revoked.body["revoked_at"].is_i64());
    assert!(!house.site.in_force().signed.contains_key("gateway/gw-1"));
    assert_eq!(house.site.store.member("gateway", "gw-1").await.unwrap(), None);
    let again = made(&house, "/issued-certificates/01AB/revoke", json!({})).await;
    assert_eq!(again.body, revoked.body);
}

#[tokio::test]
async fn an_earlier_certificate_of_a_member_ends_without_the_member() {
    let house = House::new().await;
    with_gateway(&house).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    change.add_certificate(&issued("99", "infrastructure", "gateway/gw-1", house.now())).await.unwrap();
    change.commit().await.unwrap();

    made(&house, "/issued-certificates/99/revoke", json!({})).await;

    assert!(house.site.in_force().signed.contains_key("gateway/gw-1"));
    assert_eq!(document(&house.site).revoked_members, [fingerprint("99")]);
}

#[tokio::test]
async fn members_are_told_which_certificates_count_no_more_until_those_have_ended() {
    let house = House::new().await;
    with_gateway(&house).await;
    made(&house, "/connection-points", json!({ "name": "cp-1" })).await;
    enrol(&house, "connection-point", "cp-1", "02").await;
    assert_eq!(document(&house.site).revoked_members, []);
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let ended = cmg_store::IssuedCertificate {
        not_after: house.now() - 10,
        revoked_at: Some(house.now() - 60),
        ..issued("03", "infrastructure", "connection-point/cp-1", house.now())
    };
    change.add_certificate(&ended).await.unwrap();
    change.commit().await.unwrap();

    let removed = house.ask_as("ian", Ask::delete("/connection-points/cp-1", "\"1\"")).await;

    assert!(removed.status.is_success(), "{removed:?}");
    assert_eq!(document(&house.site).revoked_members, [fingerprint("02")]);
    let (other, _) = house.other().await;
    assert_eq!(document(&other), document(&house.site), "every site server publishes the same");
}

fn fingerprint(serial: &str) -> cmg_api::bytes::Sha256 {
    format!("{serial:0>64}").parse().unwrap()
}

#[tokio::test]
async fn a_clients_revoked_certificate_is_blocked_and_on_the_sites_list() {
    let house = House::new().await;
    with_gateway(&house).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    change.add_certificate(&issued("7A", "clients", "client/pc1", house.now())).await.unwrap();
    change.commit().await.unwrap();

    made(&house, "/issued-certificates/7A/revoke", json!({})).await;

    assert_eq!(block_lines(&house.site), [format!("thumbprint {}7a", "0".repeat(62))]);
    let in_force = house.site.in_force();
    let lists = &in_force.ground.site_clients.as_ref().unwrap().lists;
    assert_eq!(lists.len(), 1);
    assert!(lists[0].windows(3).any(|bytes| bytes == [2, 1, 0x7a]), "the serial number stands in the list");
    let (other, _) = house.other().await;
    assert_eq!(&other.in_force().ground.site_clients.as_ref().unwrap().lists, lists, "every site server publishes the same list");
}

#[tokio::test]
async fn the_sites_list_is_made_anew_every_day() {
    let house = House::new().await;
    let now = house.now();

    assert!(keep_lists(&house.site, now).await.unwrap());
    assert!(!keep_lists(&house.site, now + 86_000).await.unwrap());
    assert!(keep_lists(&house.site, now + 87_000).await.unwrap());
}

#[tokio::test]
async fn certificates_are_listed_by_authority_and_subject() {
    let house = House::new().await;
    with_gateway(&house).await;

    let found = house.ask_as("ann", Ask::get("/issued-certificates?authority=infrastructure&search=GW-1")).await.body;
    let none = house.ask_as("ann", Ask::get("/issued-certificates?authority=clients")).await.body;
    let unknown = house.ask_as("ian", Ask::post("/issued-certificates/FF/revoke", json!({}))).await;

    assert_eq!((&found["items"][0]["serial"], none["items"].as_array().unwrap().len()), (&json!("01AB"), 0));
    assert_eq!(unknown.status.as_u16(), 404);
}
