//! A creation that is sent twice is carried out once.

use serde_json::json;

use crate::house::{Ask, House};

fn keyed(name: &str, key: &str) -> Ask {
    Ask::post("/boundary-groups", json!({ "name": name })).header("idempotency-key", key)
}

#[tokio::test]
async fn the_same_again_gets_the_same_answer_and_does_nothing() {
    let house = House::new().await;

    let first = house.ask_as("ian", keyed("vpn", "k1")).await;
    let records = house.records().await;
    house.ask_as("ian", Ask::delete("/boundary-groups/vpn", "*")).await;
    let second = house.ask_as("ian", keyed("vpn", "k1")).await;

    assert_eq!((first.status, &first.body), (second.status, &second.body));
    for name in ["location", "etag", "x-generation"] {
        assert_eq!(first.header(name), second.header(name), "{name}");
        assert!(first.header(name).is_some(), "{name}");
    }
    assert_eq!(house.records().await, records + 1, "the removal alone");
    assert_eq!(house.ask_as("ann", Ask::get("/boundary-groups/vpn")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_account() {
    let house = House::new().await;
    house.ask_as("ian", keyed("vpn", "k1")).await;

    let other_body = house.ask_as("ian", keyed("lan", "k1")).await;
    let other_path =
        house.ask_as("ian", Ask::post("/boundary-groups?dry_run=true", json!({ "name": "vpn" })).header("idempotency-key", "k1")).await;
    let other_account = house.ask_as("fay", keyed("lan", "k1")).await;

    assert_eq!((other_body.status.as_u16(), other_body.kind()), (422, "idempotency-key-reused"));
    assert_eq!(other_path.status.as_u16(), 422);
    assert_eq!(other_account.status.as_u16(), 201);
}

#[tokio::test]
async fn what_was_refused_can_be_sent_again_with_the_same_key() {
    let house = House::new().await;
    let dangling = || Ask::post("/boundary-groups", json!({ "name": "vpn", "gateways": ["main"] })).header("idempotency-key", "k1");

    assert_eq!(house.ask_as("ian", dangling()).await.status.as_u16(), 422);
    house.ask_as("ian", Ask::post("/gateways", json!({ "name": "main", "host": "cmg.example" }))).await;

    assert_eq!(house.ask_as("ian", dangling()).await.status.as_u16(), 201);
}

#[tokio::test]
async fn an_api_token_is_made_once_and_its_secret_is_not_readable_in_the_database() {
    let house = House::new().await;
    let new = || Ask::post("/accounts/ian/api-tokens", json!({ "name": "t", "days": 1 })).header("idempotency-key", "k1");

    let (first, second) = (house.ask_as("ian", new()).await, house.ask_as("ian", new()).await);

    assert_eq!(first.body["token"], second.body["token"]);
    assert_eq!(house.site.store.api_tokens_of("ian").await.unwrap().len(), 1);
    let kept = house.site.store.idempotent_answer("ian", "k1").await.unwrap().unwrap();
    assert!(!kept.body.contains(first.body["token"].as_str().unwrap()));
}

#[tokio::test]
async fn after_a_day_the_key_is_free() {
    let house = House::new().await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let old = cmg_store::IdempotentAnswer {
        account: "ian".to_owned(),
        key: "k1".to_owned(),
        request_hash: Vec::new(),
        status: 201,
        body: "old".to_owned(),
        at: house.now() - 24 * 60 * 60 - 1,
    };
    change.put_idempotent_answer(&old).await.unwrap();
    change.commit().await.unwrap();

    assert_eq!(house.ask_as("ian", keyed("vpn", "k1")).await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let house = House::new().await;
    for key in [String::new(), "x".repeat(129)] {
        assert_eq!(house.ask_as("ian", keyed("vpn", &key)).await.status.as_u16(), 400);
    }
}
