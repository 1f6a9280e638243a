//! Warnings before something expires.

use cmg_lab::{Authority, Profile};
use cmg_site_server::app::warnings::look;
use serde_json::{Value, json};

use crate::house::{Ask, House};
use crate::seen::{made, with_gateway};

const DAY: i64 = 86_400;

async fn warnings(house: &House, subject: &str) -> Vec<String> {
    let body = house.ask_as("ann", Ask::get("/warnings")).await.body;
    let items = body["items"].as_array().unwrap().clone();
    let of = items.into_iter().filter(|warning| warning["subject"].as_str().unwrap().contains(subject));
    of.map(|warning| warning["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_server_certificate_warns_step_by_step_until_it_is_replaced() {
    let house = House::new().await;
    let authority = Authority::root("Web CA").unwrap();
    let now = std::time::SystemTime::now();
    let issued = |days: u64| {
        let profile = Profile::server(&["cmg.example"]).valid(now, now + std::time::Duration::from_secs(days * 86_400));
        authority.issue(&profile).unwrap()
    };
    let upload = |days| {
        let certificate = issued(days);
        json!({ "name": "web", "chain": certificate.certificate_pem, "key": certificate.key_pem })
    };
    made(&house, "/certificates", upload(100)).await;

    for (day, steps) in [(30, vec![]), (50, vec!["60"]), (51, vec!["60"]), (75, vec!["30"]), (99, vec!["1"]), (101, vec!["0"])] {
        look(&house.site, house.now() + day * DAY).await.unwrap();
        let found = warnings(&house, "web").await;
        let found: Vec<&str> = found.iter().map(|id| id.rsplit('/').next().unwrap()).collect();
        assert_eq!(found, steps, "day {day}");
    }

    assert!(house.ask_as("ian", Ask::put("/certificates/web", "*", upload(500))).await.status.is_success());
    look(&house.site, house.now() + 101 * DAY).await.unwrap();
    assert!(warnings(&house, "web").await.is_empty());
}

#[tokio::test]
async fn everything_that_expires_is_looked_at() {
    let house = House::new().await;
    with_gateway(&house).await;
    let authority = Authority::root("Lab CA").unwrap();
    let issuing = authority.issuing("Lab Issuing").unwrap();
    made(
        &house,
        "/trusts",
        json!({ "name": "devices", "authorities": [authority.certificate_pem()], "intermediates": [issuing.certificate_pem()] }),
    )
    .await;
    let token = house.ask_as("fay", Ask::post("/accounts/fay/api-tokens", json!({ "name": "scripts", "days": 20 }))).await;
    assert!(token.status.is_success(), "{token:?}");
    let key = json!({ "name": "own", "kind": "key", "issuer": "urn:a", "token_kind": "oidc-user", "algorithms": ["ES256"], "keys": { "k": authority.certificate_pem() } });
    made(&house, "/token-issuers", key).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let crl = cmg_store::Crl {
        trust: "devices".to_owned(),
        source: "http://a/ca.crl".to_owned(),
        der: None,
        this_update: Some(house.now() - 2 * DAY),
        next_update: Some(house.now() + 3_600),
        fetched_at: Some(house.now()),
        tried_at: house.now(),
        error: None,
    };
    change.put_crl(&crl).await.unwrap();
    change.commit().await.unwrap();

    look(&house.site, house.now()).await.unwrap();
    assert_eq!(warnings(&house, "ca.crl").await, ["expiry/revocation list/devices http://a/ca.crl/1"]);
    assert_eq!(warnings(&house, "fay/scripts").await.len(), 1);

    look(&house.site, house.now() + 100 * 365 * DAY).await.unwrap();
    for subject in [
        "gateway/gw-1",
        "devices CN=Lab CA",
        "devices CN=Lab Issuing",
        "own/k",
        "signing/snapshots",
        "signing/tokens-rs256",
        "signing/tokens-es256",
        "authority/clients",
        "authority/infrastructure",
        "authority/client-root",
    ] {
        assert!(!warnings(&house, subject).await.is_empty(), "{subject}");
    }
}

#[tokio::test]
async fn a_warning_is_told_once_and_says_what_to_do() {
    let house = House::new().await;
    house.ask_as("fay", Ask::post("/accounts/fay/api-tokens", json!({ "name": "scripts", "days": 5 }))).await;
    look(&house.site, house.now()).await.unwrap();
    let first = house.site.store.warnings().await.unwrap();

    look(&house.site, house.now() + 60).await.unwrap();

    let second = house.site.store.warnings().await.unwrap();
    assert_eq!((first[0].told_at, first[0].since), (second[0].told_at, second[0].since));
    assert!(first[0].what.ends_with("make a new one") && first[0].told_at.is_some(), "{first:?}");
    assert_eq!(house.ask_as("ann", Ask::get("/warnings")).await.body["items"][0]["kind"], Value::from("API token"));
}
