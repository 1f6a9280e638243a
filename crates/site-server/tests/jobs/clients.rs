//! Clients and their tokens: approved, blocked with everything that they can show, unblocked, removed.

use cmg_api::resource::TokenAlgorithm;
use cmg_authority::Confirmation;
use cmg_site_server::app::change::{Actor, ChangeRefused};
use cmg_site_server::app::client_tokens::{self, Wanted};
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::{block_lines, made, with_gateway};

fn new_client(name: &str, approved: bool) -> Value {
    json!({ "name": name, "identity_kind": "key", "key_thumbprint": "k".repeat(43), "approved": approved })
}

async fn a_client(house: &House) -> String {
    made(house, "/devices", new_client("pc1", true)).await.body["id"].as_str().unwrap().to_owned()
}

async fn token_of(house: &House, client: &str) -> Result<String, ChangeRefused> {
    let mut draft = house.site.draft(&Actor::default()).await?;
    let issued = client_tokens::issue(
        &house.site,
        &mut draft,
        client,
        &Wanted { confirmation: &Confirmation::Key("k".repeat(43)), algorithm: TokenAlgorithm::Rs256 },
    )
    .await?;
    draft.commit().await?;
    Ok(issued.id)
}

async fn renewed(house: &House, client: &str, old: &str) -> Result<String, ChangeRefused> {
    let mut draft = house.site.draft(&Actor::default()).await?;
    let issued = client_tokens::renew(
        &house.site,
        &mut draft,
        client,
        old,
        &Wanted { confirmation: &Confirmation::Key("k".repeat(43)), algorithm: TokenAlgorithm::Rs256 },
    )
    .await?;
    draft.commit().await?;
    Ok(issued.id)
}

#[tokio::test]
async fn a_client_waits_until_it_is_approved() {
    let house = House::new().await;
    let client = made(&house, "/devices", new_client("pc1", false)).await.body;
    let id = client["id"].as_str().unwrap();

    assert_eq!(client["state"], json!("pending"));
    assert!(matches!(token_of(&house, id).await, Err(ChangeRefused::Problems(_))));

    let approved = made(&house, &format!("/devices/{id}/approve"), json!({})).await.body;

    assert_eq!(approved["state"], json!("approved"));
    assert!(token_of(&house, id).await.is_ok());
}

#[tokio::test]
async fn a_blocked_client_is_published_by_its_id_and_gets_nothing_more() {
    let house = House::new().await;
    with_gateway(&house).await;
    let client = a_client(&house).await;
    let token = token_of(&house, &client).await.unwrap();

    let blocked = made(&house, &format!("/devices/{client}/block"), json!({ "note": "stolen" })).await.body;

    assert_eq!(blocked["state"], json!("blocked"));
    assert_eq!(block_lines(&house.site), [format!("client {client}")]);
    assert!(client_tokens::of_client(&house.site, &client).await.unwrap().iter().all(|shown| shown.is_blocked));
    assert!(client_tokens::ending(&house.site, house.now(), 100).await.unwrap().is_empty(), "nobody is to renew them");
    assert!(matches!(token_of(&house, &client).await, Err(ChangeRefused::Problems(_))));
    assert!(matches!(renewed(&house, &client, &token).await, Err(ChangeRefused::Problems(_))));

    let unblocked = made(&house, &format!("/devices/{client}/unblock"), json!({})).await.body;

    assert_eq!((&unblocked["state"], block_lines(&house.site).len()), (&json!("approved"), 0));
    assert!(token_of(&house, &client).await.is_ok());
}

#[tokio::test]
async fn what_was_blocked_for_itself_stays_blocked() {
    let house = House::new().await;
    with_gateway(&house).await;
    let client = a_client(&house).await;
    let one = token_of(&house, &client).await.unwrap();
    made(&house, "/blocks", json!({ "token": one })).await;

    let block = made(&house, "/blocks", json!({ "client": client })).await.body;
    assert_eq!(block_lines(&house.site).len(), 2);
    house.ask_as("ian", Ask::new("DELETE", &format!("/blocks/{}", block["id"].as_str().unwrap()))).await;

    assert_eq!(block_lines(&house.site), [format!("token {one}")]);
}

#[tokio::test]
async fn what_a_removed_client_can_show_stays_blocked() {
    let house = House::new().await;
    with_gateway(&house).await;
    let client = a_client(&house).await;
    token_of(&house, &client).await.unwrap();
    let never_seen = a_client(&house).await;

    let removed = house.ask_as("ian", Ask::new("DELETE", &format!("/devices/{client}"))).await;
    house.ask_as("ian", Ask::new("DELETE", &format!("/devices/{never_seen}"))).await;

    assert_eq!((removed.status.as_u16(), block_lines(&house.site)), (204, vec![format!("client {client}")]));
    assert_eq!(house.ask_as("ann", Ask::get(&format!("/devices/{client}"))).await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_renewed_token_leaves_the_one_before_until_its_end() {
    let house = House::new().await;
    let client = a_client(&house).await;
    let first = token_of(&house, &client).await.unwrap();

    let second = renewed(&house, &client, &first).await.unwrap();

    let tokens = client_tokens::of_client(&house.site, &client).await.unwrap();
    assert!(tokens.iter().all(|shown| !shown.is_blocked) && tokens.len() == 2);
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_token_that_has_ended_is_forgotten() {
    let house = House::new().await;
    let client = a_client(&house).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    for (id, ended) in [("just", 10), ("long", 86_410)] {
        let token = cmg_store::ClientToken {
            id: id.to_owned(),
            client: client.clone(),
            kind: "client".to_owned(),
            issued_at: 0,
            expires_at: house.now() - ended,
            blocked_at: None,
        };
        change.add_client_token(&token).await.unwrap();
    }
    change.commit().await.unwrap();

    assert_eq!(client_tokens::forget_ended(&house.site, house.now()).await.unwrap(), 1, "clocks may be apart");
    assert!(matches!(renewed(&house, &client, "long").await, Err(ChangeRefused::NotFound { .. })));
}

#[tokio::test]
async fn a_token_of_another_client_is_not_renewed() {
    let house = House::new().await;
    let (client, other) = (a_client(&house).await, a_client(&house).await);
    let token = token_of(&house, &other).await.unwrap();

    assert!(matches!(renewed(&house, &client, &token).await, Err(ChangeRefused::NotFound { .. })));
}

#[tokio::test]
async fn tokens_that_end_soon_are_reported_once_a_client() {
    let house = House::new().await;
    let client = a_client(&house).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    for (id, days) in [("old", 3), ("new", 10)] {
        let expires_at = house.now() + days * 86_400;
        let (id, client, kind) = (id.to_owned(), client.clone(), "client".to_owned());
        let token = cmg_store::ClientToken { id, client, kind, issued_at: 0, expires_at, blocked_at: None };
        change.add_client_token(&token).await.unwrap();
    }
    change.commit().await.unwrap();

    let report = house.ask_as("ann", Ask::get("/client-tokens/ending?days=14")).await.body;

    assert_eq!((&report["within_30_days"], &report["within_14_days"], &report["within_7_days"]), (&json!(1), &json!(1), &json!(0)));
    assert_eq!(report["items"][0]["id"], json!("new"));
}

#[tokio::test]
async fn clients_are_filtered_and_searched() {
    let house = House::new().await;
    a_client(&house).await;
    made(&house, "/devices", new_client("Laptop-7", false)).await;

    let page = |path: &str| house.ask_as("ann", Ask::get(path));
    let pending = page("/devices?state=pending").await.body;
    let found = page("/devices?search=laptop").await.body;
    let wrong = page("/devices?state=gone").await;

    assert_eq!((&pending["items"][0]["name"], pending["items"].as_array().unwrap().len()), (&json!("Laptop-7"), 1));
    assert_eq!((&found["items"][0]["name"], &found["total"]["approved"]), (&json!("Laptop-7"), &json!(1)));
    assert_eq!((wrong.status.as_u16(), wrong.keys()), (422, vec!["?state"]));
}

#[tokio::test]
async fn every_wrong_field_of_a_client_is_told() {
    let house = House::new().await;

    let body = json!({ "name": "", "identity_kind": "key", "identity": "a\nb", "key_thumbprint": "short" });
    let refused = house.ask_as("ian", Ask::post("/devices", body)).await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["name", "identity", "key_thumbprint"]));
    assert_eq!(house.site.store.count_clients().await.unwrap(), cmg_store::ClientCounts::default());
}
