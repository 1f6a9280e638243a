//! Accounts: what changes them, what that ends, and who must be left.

use serde_json::json;

use crate::house::{Ask, House, PASSWORD};

const NEW: &str = "another long password";

#[tokio::test]
async fn whatever_changes_an_account_ends_its_sessions_and_tokens_at_once() {
    let changes = [
        ("role", Ask::put("/accounts/ian", "*", json!({ "name": "ian", "role": "read-only-analyst" }))),
        (
            "right to sign in",
            Ask::put("/accounts/ian", "*", json!({ "name": "ian", "role": "infrastructure-administrator", "disabled": true })),
        ),
        ("password", Ask::post("/accounts/ian/password", json!({ "new": NEW }))),
        ("existence", Ask::delete("/accounts/ian", "*")),
    ];
    for (what, change) in changes {
        let house = House::new().await;
        let session = house.session("ian").await;
        let token = house.ask(Ask::post("/accounts/ian/api-tokens", json!({ "name": "t", "days": 1 })).bearer(&session)).await;
        let token = token.body["token"].as_str().unwrap().to_owned();
        assert_eq!(house.ask(Ask::get("/whoami").bearer(&token)).await.status.as_u16(), 200);

        assert!(house.ask_as("fay", change).await.status.is_success(), "{what}");

        for secret in [&session, &token] {
            assert_eq!(house.ask(Ask::get("/whoami").bearer(secret)).await.status.as_u16(), 401, "{what}");
        }
    }
}

#[tokio::test]
async fn an_account_that_is_set_to_what_it_is_keeps_its_sessions() {
    let house = House::new().await;
    let session = house.session("ian").await;
    let body = json!({ "name": "ian", "role": "infrastructure-administrator" });

    let set = house.ask_as("fay", Ask::put("/accounts/ian", "\"1\"", body)).await;

    assert_eq!((set.status.as_u16(), set.header("etag")), (200, Some("\"1\"")));
    assert_eq!(house.ask(Ask::get("/whoami").bearer(&session)).await.status.as_u16(), 200);
    assert_eq!(house.records().await, 0);
}

#[tokio::test]
async fn the_last_full_administrator_stays() {
    let house = House::new().await;
    let changes = || {
        [
            ("role", Ask::put("/accounts/fay", "*", json!({ "name": "fay", "role": "read-only-analyst" }))),
            ("disabled", Ask::put("/accounts/fay", "*", json!({ "name": "fay", "role": "full-administrator", "disabled": true }))),
            ("name", Ask::delete("/accounts/fay", "*")),
        ]
    };
    for (key, change) in changes() {
        let refused = house.ask_as("fay", change).await;
        assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec![key]));
    }
    let disabled = json!({ "name": "eve", "role": "full-administrator", "disabled": true, "password": PASSWORD });
    assert_eq!(house.ask_as("fay", Ask::post("/accounts", disabled)).await.status.as_u16(), 201);
    let [.., (_, removal)] = changes();
    assert_eq!(house.ask_as("fay", removal).await.status.as_u16(), 422, "who is disabled does not count");

    let enabled = json!({ "name": "eve", "role": "full-administrator" });
    assert_eq!(house.ask_as("fay", Ask::put("/accounts/eve", "\"1\"", enabled)).await.status.as_u16(), 200);
    let [.., (_, removal)] = changes();
    assert_eq!(house.ask_as("fay", removal).await.status.as_u16(), 204);
}

#[tokio::test]
async fn the_own_password_wants_the_old_one() {
    let house = House::new().await;
    let set = |body| Ask::post("/accounts/ann/password", body);

    let without = house.ask_as("ann", set(json!({ "new": NEW }))).await;
    let wrong = house.ask_as("ann", set(json!({ "old": "guess", "new": NEW }))).await;
    let weak = house.ask_as("ann", set(json!({ "old": PASSWORD, "new": "ann" }))).await;
    let other = house.ask_as("ian", set(json!({ "old": PASSWORD, "new": NEW }))).await;
    let right = house.ask_as("ann", set(json!({ "old": PASSWORD, "new": NEW }))).await;

    assert_eq!((without.status.as_u16(), without.keys()), (422, vec!["old"]));
    assert_eq!((wrong.status.as_u16(), wrong.keys()), (422, vec!["old"]));
    assert_eq!((weak.status.as_u16(), weak.keys()), (422, vec!["new"]));
    assert_eq!(other.status.as_u16(), 403);
    assert_eq!(right.status.as_u16(), 204);
    for (password, status) in [(PASSWORD, 401), (NEW, 201)] {
        let signed_in = house.ask(Ask::post("/sessions", json!({ "name": "ann", "password": password }))).await;
        assert_eq!(signed_in.status.as_u16(), status);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_new_account_is_told_at_once() {
    let house = House::new().await;

    let refused =
        house.ask_as("fay", Ask::post("/accounts", json!({ "name": "a/b", "role": "full-administrator", "password": "short" }))).await;
    let unknown = house.ask_as("fay", Ask::post("/accounts", json!({ "name": 1, "role": "king", "admin": true }))).await;
    let exists =
        house.ask_as("fay", Ask::post("/accounts", json!({ "name": "ann", "role": "read-only-analyst", "password": PASSWORD }))).await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["name", "password"]));
    assert_eq!((unknown.status.as_u16(), unknown.keys()), (422, vec!["admin", "name", "role"]));
    assert_eq!((exists.status.as_u16(), exists.kind()), (409, "exists"));
}

#[tokio::test]
async fn two_administrators_do_not_overwrite_each_others_account() {
    let house = House::new().await;
    let set = |role: &str| Ask::put("/accounts/ann", "\"1\"", json!({ "name": "ann", "role": role }));

    assert_eq!(house.ask_as("fay", set("infrastructure-administrator")).await.status.as_u16(), 200);
    let lost = house.ask_as("fay", set("full-administrator")).await;

    assert_eq!((lost.status.as_u16(), &lost.body["version"]), (412, &json!(2)));
}

#[tokio::test]
async fn accounts_are_audited_without_their_secrets() {
    let house = House::new().await;
    let secret = "a password to look for";
    house.ask_as("fay", Ask::post("/accounts", json!({ "name": "eve", "role": "read-only-analyst", "password": secret }))).await;
    house.ask_as("fay", Ask::put("/accounts/eve", "\"1\"", json!({ "name": "eve", "role": "full-administrator" }))).await;
    let token = house.ask_as("fay", Ask::post("/accounts/eve/api-tokens", json!({ "name": "t", "days": 1 }))).await;
    house.ask_as("fay", Ask::delete("/accounts/eve", "\"2\"")).await;

    let audit = house.ask_as("ann", Ask::get("/audit")).await;

    let actions: Vec<_> = audit.body["items"].as_array().unwrap().iter().map(|record| record["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["remove", "new", "set", "new"]);
    let set = &audit.body["items"][2];
    assert_eq!((&set["before"]["role"], &set["after"]["role"]), (&json!("read-only-analyst"), &json!("full-administrator")));
    assert_eq!((&set["account"], &set["role"], &set["address"]), (&json!("fay"), &json!("full-administrator"), &json!("127.0.0.1")));
    let text = audit.body.to_string();
    for secret in [secret, "argon2", token.body["token"].as_str().unwrap()] {
        assert!(!text.contains(secret), "{secret}");
    }
}
