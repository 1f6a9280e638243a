//! Blocks through the interface, and what members are told of them.

use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::{block_lines, made, with_gateway};

#[tokio::test]
async fn a_block_is_published_at_once_and_lifted_at_once() {
    let house = House::new().await;
    with_gateway(&house).await;
    let before = house.site.in_force().generation();

    let added = made(&house, "/blocks", json!({ "serial": "00:0a:1b", "issuer": "CN=CA", "note": "stolen" })).await;

    assert_eq!((added.status.as_u16(), &added.body["value"], &added.body["created_by"]), (201, &json!("A1B"), &json!("ian")));
    assert_eq!(house.site.in_force().generation().number, before.number + 1);
    assert_eq!(added.header("x-generation"), Some(house.site.in_force().generation().to_string().as_str()));
    assert_eq!(block_lines(&house.site), ["serial A1B CN=CA"]);

    let path = format!("/blocks/{}", added.body["id"].as_str().unwrap());
    let removed = house.ask_as("ian", Ask::new("DELETE", &path)).await;

    assert_eq!((removed.status.as_u16(), block_lines(&house.site).len()), (204, 0));
    assert_eq!(house.ask_as("ann", Ask::get(&path)).await.status.as_u16(), 404);
}

#[tokio::test]
async fn every_kind_is_published_as_members_read_it() {
    let house = House::new().await;
    with_gateway(&house).await;

    made(&house, "/blocks", json!({ "thumbprint": "AB ".repeat(32) })).await;
    made(&house, "/blocks", json!({ "thumbprint": "0c:".repeat(20) })).await;
    made(&house, "/blocks", json!({ "token": "a/1" })).await;
    // The site may not know it: a backup may be older than it.
    made(&house, "/blocks", json!({ "client": "nobody" })).await;

    assert_eq!(
        block_lines(&house.site),
        [
            "client nobody".to_owned(),
            format!("thumbprint {}", "0c".repeat(20)),
            format!("thumbprint {}", "ab".repeat(32)),
            "token a/1".to_owned()
        ]
    );
}

#[tokio::test]
async fn what_is_blocked_already_is_answered_with_its_block() {
    let house = House::new().await;
    let added = made(&house, "/blocks", json!({ "thumbprint": "ab".repeat(32) })).await;
    let before = (house.site.in_force().generation(), house.records().await);

    let again = made(&house, "/blocks", json!({ "thumbprint": "AB".repeat(32), "note": "again" })).await;

    assert_eq!((again.status.as_u16(), &again.body), (200, &added.body));
    assert_eq!((house.site.in_force().generation(), house.records().await), before);
}

#[tokio::test]
async fn a_lifted_block_can_be_added_again() {
    let house = House::new().await;
    with_gateway(&house).await;
    let first = made(&house, "/blocks", json!({ "token": "t" })).await;
    let path = format!("/blocks/{}", first.body["id"].as_str().unwrap());
    house.ask_as("ian", Ask::new("DELETE", &path)).await;

    let second = made(&house, "/blocks", json!({ "token": "t" })).await;

    assert_eq!((second.status.as_u16(), block_lines(&house.site)), (201, vec!["token t".to_owned()]));
    assert_ne!(first.body["id"], second.body["id"]);
}

#[tokio::test]
async fn a_block_that_could_never_match_is_refused_with_every_problem() {
    let house = House::new().await;
    let blocks = json!([
        {}, { "thumbprint": "abc" }, { "serial": "0x12", "note": "a\nb" }, { "serial": "12", "issuer": " " }, { "serial": "1", "token": "2" },
        { "token": "a\ntoken b" }, { "token": "t", "issuer": "CN=CA" }, { "token": "good" }, { "client": "" }, { "token": "x".repeat(2_000) },
    ]);
    let before = (house.site.in_force().generation(), house.records().await);

    let refused = house.ask_as("ian", Ask::post("/blocks/bulk", json!({ "blocks": blocks }))).await;

    assert_eq!(refused.status.as_u16(), 422, "{refused:?}");
    let mut keys = refused.keys();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "blocks[0]",
            "blocks[1].thumbprint",
            "blocks[2].note",
            "blocks[3].issuer",
            "blocks[4]",
            "blocks[5].token",
            "blocks[6].issuer",
            "blocks[8].client",
            "blocks[9].token",
        ]
    );
    assert_eq!((house.site.in_force().generation(), house.records().await), before);
    assert_eq!(house.site.store.count_blocks().await.unwrap(), 0);
}

#[tokio::test]
async fn ten_thousand_are_blocked_in_one_generation() {
    let house = House::new().await;
    with_gateway(&house).await;
    let blocks: Vec<Value> = (0..10_000).map(|number| json!({ "serial": format!("1{number:X}") })).collect();
    let before = house.site.in_force().generation();

    let added = made(&house, "/blocks/bulk", json!({ "blocks": blocks })).await;

    assert_eq!((&added.body["added"], &added.body["existed"]), (&json!(10_000), &json!(0)));
    assert_eq!(house.site.in_force().generation().number, before.number + 1);
    assert_eq!(block_lines(&house.site).len(), 10_000);
}

#[tokio::test]
async fn the_same_twice_in_one_request_is_one_block() {
    let house = House::new().await;

    let added = made(&house, "/blocks/bulk", json!({ "blocks": [{ "serial": "A" }, { "serial": "0a" }, { "token": "A" }] })).await;

    assert_eq!((&added.body["added"], &added.body["existed"]), (&json!(2), &json!(1)));
    assert_eq!(added.body["ids"][0], added.body["ids"][1]);
}

#[tokio::test]
async fn blocks_are_listed_page_by_page_and_searched() {
    let house = House::new().await;
    let blocks: Vec<Value> =
        (0..7).map(|number| json!({ "token": format!("t{number}"), "note": if number == 3 { "Lost" } else { "" } })).collect();
    made(&house, "/blocks/bulk", json!({ "blocks": blocks })).await;

    let first = house.ask_as("ann", Ask::get("/blocks?limit=4")).await.body;
    let second = house.ask_as("ann", Ask::get(&format!("/blocks?limit=4&after={}", first["next"].as_str().unwrap()))).await.body;
    let found = house.ask_as("ann", Ask::get("/blocks?search=lost")).await.body;

    let count = |page: &Value| page["items"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second), &second["next"], &first["total"]), (4, 3, &Value::Null, &json!(7)));
    assert_eq!((count(&found), &found["items"][0]["value"]), (1, &json!("t3")));
}

#[tokio::test]
async fn another_site_server_follows_a_block() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (other, _) = house.other().await;
    let mut newest = other.newest();
    let following = tokio::spawn(std::sync::Arc::clone(&other).keep_fresh());

    made(&house, "/blocks", json!({ "token": "t" })).await;

    newest.wait_for(|newest| *newest == house.site.in_force().generation()).await.unwrap();
    assert_eq!(block_lines(&other), ["token t"]);
    following.abort();
}
