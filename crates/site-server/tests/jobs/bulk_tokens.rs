//! Bulk registration tokens: shown once, listed by id, blocked everywhere.

use cmg_core::refusal::Refusal;
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::{block_lines, made, with_gateway};

#[tokio::test]
async fn a_token_is_shown_once_and_never_stored() {
    let house = House::new().await;

    let new = json!({ "lifetime": 60, "max_uses": 5, "network": "203.0.113.0/24", "note": "branch" });
    let token = made(&house, "/bulk-tokens", new).await;

    let text = token.body["token"].as_str().unwrap();
    let listed = house.ask_as("ann", Ask::get("/bulk-tokens")).await.body;
    let shown = &listed["items"][0];
    assert_eq!(
        (&shown["id"], &shown["uses"], &shown["max_uses"], &shown["state"]),
        (&token.body["id"], &json!(0), &json!(5), &json!("active"))
    );
    let lasts = shown["expires_at"].as_i64().unwrap() - shown["created_at"].as_i64().unwrap();
    assert!((3_599..=3_601).contains(&lasts), "{lasts}");
    let signature = text.rsplit('.').next().unwrap();
    assert!(!house.site.store.dump().await.unwrap().contains(signature));
}

#[tokio::test]
async fn three_days_unless_told_otherwise() {
    let house = House::new().await;

    let token = made(&house, "/bulk-tokens", json!({})).await.body;

    let lasts = token["expires_at"].as_i64().unwrap() - house.now();
    assert!((259_190..=259_200).contains(&lasts), "{lasts}");
}

#[tokio::test]
async fn every_wrong_field_is_told() {
    let house = House::new().await;

    let refused = house
        .ask_as("ian", Ask::post("/bulk-tokens", json!({ "lifetime": 10_081, "max_uses": 0, "network": "inside", "note": "a\u{7}" })))
        .await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["lifetime", "max_uses", "network", "note"]));
    assert!(house.site.store.bulk_token_page(None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_blocked_token_is_refused_by_the_gateways_own_code_until_it_is_unblocked() {
    let house = House::new().await;
    with_gateway(&house).await;
    let token = made(&house, "/bulk-tokens", json!({})).await.body;
    let (id, text) = (token["id"].as_str().unwrap(), token["token"].as_str().unwrap());
    let said = || {
        let in_force = house.site.in_force();
        let (_, verifier) = cmg_site_server::app::doctor::as_a_gateway(&in_force.model, &in_force.ground).unwrap();
        verifier.token(text.as_bytes(), house.site.now()).map(|verified| verified.facts.id.clone())
    };
    assert_eq!(said(), Ok(Some(id.to_owned())));

    let blocked = made(&house, &format!("/bulk-tokens/{id}/block"), json!({})).await;

    assert_eq!((&blocked.body["state"], block_lines(&house.site)), (&json!("blocked"), vec![format!("token {id}")]));
    assert_eq!(said(), Err(Refusal::TokenBlocked));
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    assert_eq!(change.use_bulk_token(id).await.unwrap(), Err(cmg_store::BulkRefusal::Blocked));
    drop(change);

    let unblocked = made(&house, &format!("/bulk-tokens/{id}/unblock"), json!({})).await;

    assert_eq!((&unblocked.body["state"], said().is_ok()), (&json!("active"), true));
}

#[tokio::test]
async fn a_block_of_the_blocks_list_blocks_the_token_too() {
    let house = House::new().await;
    let token = made(&house, "/bulk-tokens", json!({})).await.body;
    let path = format!("/bulk-tokens/{}", token["id"].as_str().unwrap());

    let block = made(&house, "/blocks", json!({ "token": token["id"] })).await.body;
    let blocked = house.ask_as("ann", Ask::get(&path)).await.body;
    house.ask_as("ian", Ask::new("DELETE", &format!("/blocks/{}", block["id"].as_str().unwrap()))).await;
    let lifted = house.ask_as("ann", Ask::get(&path)).await.body;

    assert_eq!((&blocked["state"], &lifted["state"]), (&json!("blocked"), &json!("active")));
}

#[tokio::test]
async fn sent_twice_with_one_key_it_is_one_token() {
    let house = House::new().await;
    let ask = || Ask::post("/bulk-tokens", json!({ "note": "x" })).header("idempotency-key", "k1");

    let (first, second) = (house.ask_as("ian", ask()).await, house.ask_as("ian", ask()).await);

    assert_eq!(first.body, second.body);
    assert_ne!(first.body["token"], Value::Null);
    assert_eq!(house.site.store.bulk_token_page(None, 10).await.unwrap().len(), 1);
}
