//! Clients register, renew and exchange, as a management point asks for them at the control port.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use cmg_core::ids::{ManagementPointId, Role};
use cmg_lab::{Profile, ProofKey};
use cmg_site_server::app::change::Actor;
use cmg_site_server::http::control;
use cmg_site_server::http::listener::Peer;
use cmg_site_server::site::Site;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::house::{Ask, House, peer};
use crate::seen::{enrol, made};

const URL: &str = "https://cmg.example/cmg/v1/register";

/// A management point that is a member, without its program.
pub(crate) async fn with_management_point(house: &House) {
    made(house, "/trusts", json!({ "name": "devices", "authorities": [], "check_revocation": false, "site_clients": true })).await;
    let traffic = json!({ "trust": "devices" });
    made(house, "/management-points", json!({ "name": "mp-1", "host": "mp1.corp.example", "allow_cmg_traffic": traffic })).await;
    let mut draft = house.site.draft(&Actor::default()).await.unwrap();
    draft.ground.sealing_keys.insert("management-point/mp-1".to_owned(), vec![4; 65]);
    draft.publish();
    draft.commit().await.unwrap();
}

pub(crate) fn management_point() -> Peer {
    Peer { member: Some(Role::ManagementPoint(ManagementPointId::new("mp-1"))), ..peer("127.0.0.1:1", true) }
}

struct Told {
    status: u16,
    body: Value,
}

impl Told {
    fn reason(&self) -> (u16, &str) {
        (self.status, self.body["type"].as_str().unwrap_or_default().trim_start_matches("/problems/"))
    }

    fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body)).to_owned()
    }
}

async fn ask(site: &Arc<Site>, what: &str, asked: Value) -> Told {
    let request = Request::post(format!("/control/v1/client/{what}")).body(Body::from(asked.to_string())).unwrap();
    let response = control::router(Arc::clone(site)).layer(Extension(management_point())).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    Told { status, body: serde_json::from_slice(&body).unwrap_or_default() }
}

/// What a device asks with a token and its key.
fn asked(key: &ProofKey, token: &str) -> Value {
    json!({
        "shown": { "token": token },
        "proof": key.proof("POST", URL, token, None).unwrap(),
        "url": URL,
        "address": "203.0.113.7",
        "connection_point": "cp-1",
        "request_id": "0123",
        "register": { "name": "PC-1" },
    })
}

async fn bulk(house: &House, wanted: Value) -> (String, String) {
    let made = made(house, "/bulk-tokens", wanted).await.body;
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

async fn uses(house: &House, id: &str) -> u64 {
    house.site.store.bulk_token(id).await.unwrap().unwrap().uses
}

fn key() -> ProofKey {
    ProofKey::new().unwrap()
}

async fn a_house() -> House {
    let house = House::new().await;
    with_management_point(&house).await;
    house
}

#[tokio::test]
async fn a_client_registers_renews_and_exchanges() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());

    let registered = ask(&house.site, "register", asked(&key, &token)).await;

    assert_eq!((registered.status, registered.text("token_type").as_str()), (201, "DPoP"), "{}", registered.body);
    let ends = registered.body["expires_at"].as_u64().unwrap() - house.now() as u64;
    assert!((89 * 86_400..=90 * 86_400 + 60).contains(&ends), "{ends}");
    let first = registered.text("token");

    let renewed = ask(&house.site, "token", asked(&key, &first)).await;
    assert_eq!((renewed.status, renewed.text("client_id")), (200, registered.text("client_id")));
    assert_ne!(renewed.text("token"), first);
    let again = ask(&house.site, "token", asked(&key, &first)).await;
    assert_eq!(again.status, 200, "the one before counts to its end");

    for token in [&first, &renewed.text("token"), &token] {
        let exchanged = ask(&house.site, "exchange", asked(&key, token)).await;
        assert_eq!((exchanged.status, exchanged.text("token_type").as_str()), (200, "Bearer"), "{}", exchanged.body);
        assert!((8 * 3_600 - 60..=8 * 3_600).contains(&exchanged.body["expires_in"].as_u64().unwrap()));
    }
}

/// How a token is signed, as its header says.
fn algorithm(token: &str) -> String {
    let header = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["alg"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tokens_are_signed_as_the_site_of_their_management_point_says_and_bulk_tokens_with_rs256() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let old = ask(&house.site, "register", asked(&key, &token)).await.text("token");
    made(&house, "/sites", json!({ "name": "XYZ", "token_algorithm": "RS256" })).await;

    let set = house.ask_as("ian", Ask::put("/sites/LAB", "*", json!({ "name": "LAB", "token_algorithm": "ES256" }))).await;

    assert!(set.status.is_success(), "{set:?}");
    let renewed = ask(&house.site, "token", asked(&key, &old)).await;
    let exchanged = ask(&house.site, "exchange", asked(&key, &renewed.text("token"))).await;
    assert_eq!(["RS256", "ES256", "ES256"], [&old, &renewed.text("token"), &exchanged.text("access_token")].map(|token| algorithm(token)));
    assert_eq!(algorithm(&bulk(&house, json!({})).await.0), "RS256");
    let refused = house.ask_as("ian", Ask::put("/sites/LAB", "*", json!({ "name": "LAB", "token_algorithm": "HS256" }))).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.body.to_string().contains("token_algorithm"), "{refused:?}");
}

#[tokio::test]
async fn the_same_key_is_the_same_client_and_costs_its_token_one_use() {
    let house = a_house().await;
    let ((token, id), key) = (bulk(&house, json!({ "max_uses": 1 })).await, key());

    let first = ask(&house.site, "register", asked(&key, &token)).await;
    let second = ask(&house.site, "register", asked(&key, &token)).await;
    let other = ask(&house.site, "register", asked(&self::key(), &token)).await;

    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.text("client_id"), second.text("client_id"));
    assert_eq!(other.reason(), (403, "token-used-up"));
    assert_eq!(uses(&house, &id).await, 1);
}

#[tokio::test]
async fn of_two_that_race_for_the_last_use_one_wins() {
    let house = a_house().await;
    let (token, id) = bulk(&house, json!({ "max_uses": 1 })).await;
    let (other, _) = house.other().await;
    let (one, two) = (key(), key());

    let (first, second) = tokio::join!(ask(&house.site, "register", asked(&one, &token)), ask(&other, "register", asked(&two, &token)));

    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403], "{} {}", first.body, second.body);
    assert_eq!(uses(&house, &id).await, 1);
}

#[tokio::test]
async fn each_token_that_does_not_count_has_its_own_reason() {
    let house = a_house().await;
    let (elsewhere, _) = bulk(&house, json!({ "network": "198.51.100.0/24" })).await;
    let (here, _) = bulk(&house, json!({ "network": "203.0.113.0/24" })).await;
    let (blocked, id) = bulk(&house, json!({})).await;
    made(&house, &format!("/bulk-tokens/{id}/block"), json!({})).await;
    let key = key();

    let reason = async |token: &str| ask(&house.site, "register", asked(&key, token)).await;
    assert_eq!(reason(&elsewhere).await.reason(), (403, "wrong-network"));
    assert_eq!(reason(&blocked).await.reason(), (403, "token-blocked"));
    assert_eq!(reason("a.b.c").await.reason(), (401, "credential"));
    let registered = reason(&here).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
    assert_eq!(reason(&registered.text("token")).await.reason(), (403, "wrong-kind"), "a client registers with something else");
    assert_eq!(ask(&house.site, "token", asked(&key, &here)).await.reason(), (403, "wrong-kind"));
}

#[tokio::test]
async fn without_a_proof_by_the_right_key_there_is_nothing() {
    let house = a_house().await;
    let ((token, id), key) = (bulk(&house, json!({})).await, key());
    let with = |proof: Value| {
        let mut asked = asked(&key, &token);
        asked["proof"] = proof;
        asked
    };

    let none = ask(&house.site, "register", with(Value::Null)).await;
    let elsewhere = key.proof("POST", "https://other.example/cmg/v1/register", &token, None).unwrap();
    let elsewhere = ask(&house.site, "register", with(elsewhere.into())).await;
    let other_token = key.proof("POST", URL, "another", None).unwrap();
    let other_token = ask(&house.site, "register", with(other_token.into())).await;

    assert_eq!([none.reason(), elsewhere.reason(), other_token.reason()], [(401, "no-proof"), (401, "proof"), (401, "proof")]);
    assert_eq!(uses(&house, &id).await, 0);
    let mine = ask(&house.site, "register", asked(&key, &token)).await.text("token");
    let thief = ask(&house.site, "token", asked(&self::key(), &mine)).await;
    assert_eq!(thief.reason(), (401, "wrong-key"), "a stolen token renews nothing");
    let thief = ask(&house.site, "exchange", asked(&self::key(), &token)).await;
    assert_eq!(thief.reason(), (403, "not-registered"), "a bulk token is not exchanged by who is nobody");
}

#[tokio::test]
async fn a_blocked_client_gets_nothing_and_its_tokens_are_blocked() {
    let house = a_house().await;
    crate::seen::with_gateway(&house).await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let registered = ask(&house.site, "register", asked(&key, &token)).await;
    let (client, own) = (registered.text("client_id"), registered.text("token"));
    assert_eq!(ask(&house.site, "exchange", asked(&key, &own)).await.status, 200);

    made(&house, &format!("/devices/{client}/block"), json!({ "note": "stolen" })).await;

    assert_eq!(ask(&house.site, "register", asked(&key, &token)).await.reason(), (403, "client-blocked"));
    assert_eq!(ask(&house.site, "token", asked(&key, &own)).await.reason(), (403, "token-blocked"));
    assert_eq!(ask(&house.site, "exchange", asked(&key, &token)).await.reason(), (403, "client-blocked"));
    assert_eq!(crate::seen::block_lines(&house.site), [format!("client {client}")], "with everything that it can show");
}

#[tokio::test]
async fn the_block_of_a_client_counts_though_the_client_is_as_it_was_before() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let client = ask(&house.site, "register", asked(&key, &token)).await.text("client_id");
    made(&house, &format!("/devices/{client}/block"), json!({ "note": "stolen" })).await;
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let blocked = change.client(&client).await.unwrap().unwrap();
    change.replace_client(&cmg_store::Client { state: cmg_store::ClientState::Approved, ..blocked }).await.unwrap();
    change.commit().await.unwrap();

    assert_eq!(ask(&house.site, "register", asked(&key, &token)).await.reason(), (403, "client-blocked"));
}

#[tokio::test]
async fn a_client_that_is_blocked_with_what_it_came_by_does_not_come_back_with_another_key() {
    for origin in [false, true] {
        let house = a_house().await;
        let (token, id) = bulk(&house, json!({})).await;
        let client = ask(&house.site, "register", asked(&key(), &token)).await.text("client_id");

        made(&house, &format!("/devices/{client}/block"), json!({ "note": "stolen", "origin": origin })).await;

        let again = ask(&house.site, "register", asked(&key(), &token)).await;
        assert_eq!(again.status, if origin { 403 } else { 201 }, "{}", again.body);
        assert_eq!(house.site.store.bulk_token(&id).await.unwrap().unwrap().blocked_at.is_some(), origin);
        made(&house, &format!("/devices/{client}/unblock"), json!({})).await;
        assert_eq!(ask(&house.site, "register", asked(&key(), &token)).await.status, 201, "what came with the block goes with it");
    }
}

#[tokio::test]
async fn a_token_that_was_blocked_for_itself_stays_blocked() {
    let house = a_house().await;
    let (token, id) = bulk(&house, json!({})).await;
    let client = ask(&house.site, "register", asked(&key(), &token)).await.text("client_id");
    made(&house, "/blocks", json!({ "token": id })).await;
    made(&house, &format!("/devices/{client}/block"), json!({ "origin": true })).await;

    made(&house, &format!("/devices/{client}/unblock"), json!({})).await;

    assert_eq!(ask(&house.site, "register", asked(&key(), &token)).await.status, 403);
}

#[tokio::test]
async fn who_is_blocked_by_identity_comes_by_no_key_and_members_are_told_of_it_nothing() {
    let house = a_house().await;
    crate::seen::with_gateway(&house).await;
    let by_certificate = async || {
        let key = cmg_authority::PrivateKey::generate().unwrap();
        let issued = house.site.keys().clients.client("pc7", &key.public(), 86_400, house.site.now()).unwrap();
        let chain: Vec<_> = issued.chain.iter().map(|der| json!(cmg_api::bytes::Base64(der.clone()))).collect();
        let mut asked = asked(&self::key(), "none");
        (asked["shown"], asked["proof"]) = (json!({ "certificate": chain }), Value::Null);
        asked
    };
    let (first, second) = (by_certificate().await, by_certificate().await);
    let client = ask(&house.site, "register", first.clone()).await.text("client_id");
    let shown = house.ask_as("ian", Ask::get(&format!("/devices/{client}"))).await.body;
    let identity = shown["identity"].as_str().unwrap();
    let lines = crate::seen::block_lines(&house.site).len();

    let block = made(&house, "/blocks", json!({ "identity": identity })).await.body;

    for what in ["register", "token", "exchange"] {
        assert_eq!(ask(&house.site, what, first.clone()).await.reason(), (403, "client-blocked"), "{what}");
    }
    assert_eq!(ask(&house.site, "register", second.clone()).await.reason(), (403, "client-blocked"));
    assert_eq!(crate::seen::block_lines(&house.site).len(), lines, "it counts at the site alone");
    house.ask_as("ian", Ask::delete(&format!("/blocks/{}", block["id"].as_str().unwrap()), "*")).await;
    assert_eq!(ask(&house.site, "register", second).await.status, 201);
    let wrong = house.ask_as("ian", Ask::post("/blocks", json!({ "identity": "pc7" }))).await;
    assert_eq!(wrong.keys(), ["identity"]);
}

#[tokio::test]
async fn a_client_gets_so_many_tokens_a_day_and_no_more() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let mut statuses = Vec::new();
    for _ in 0..51 {
        statuses.push(ask(&house.site, "register", asked(&key, &token)).await.status);
    }

    assert_eq!((statuses.iter().filter(|status| **status == 201).count(), statuses.last()), (50, Some(&429)));
}

#[tokio::test]
async fn what_a_management_point_tells_of_a_request_is_bounded_and_its_address_is_one() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let with = |field: &str, value: String| {
        let mut asked = asked(&key, &token);
        asked[field] = json!(value);
        asked
    };

    for field in ["url", "address", "connection_point", "request_id"] {
        assert_eq!(ask(&house.site, "register", with(field, "a".repeat(3_000))).await.status, 413, "{field}");
    }
    assert_eq!(ask(&house.site, "register", with("address", "nobody".to_owned())).await.reason(), (422, "invalid"));
}

#[tokio::test]
async fn a_client_with_a_certificate_registers_and_its_token_is_bound_to_it() {
    let house = a_house().await;
    let key = cmg_authority::PrivateKey::generate().unwrap();
    let issued = house.site.keys().clients.client("pc7", &key.public(), 86_400, house.site.now()).unwrap();
    let chain: Vec<_> = issued.chain.iter().map(|der| json!(cmg_api::bytes::Base64(der.clone()))).collect();
    let by_certificate = |chain: &[Value]| {
        let mut asked = asked(&self::key(), "none");
        (asked["shown"], asked["proof"]) = (json!({ "certificate": chain }), Value::Null);
        asked
    };

    let registered = ask(&house.site, "register", by_certificate(&chain)).await;

    assert_eq!((registered.status, registered.text("token_type").as_str()), (201, "mTLS"), "{}", registered.body);
    let again = ask(&house.site, "token", by_certificate(&chain)).await;
    assert_eq!((again.status, again.text("client_id")), (200, registered.text("client_id")));
    let foreign = cmg_lab::Authority::root("foreign").unwrap().issue(&Profile::client("pc7")).unwrap();
    let foreign = [json!(cmg_api::bytes::Base64(foreign.der))];
    assert_eq!(ask(&house.site, "register", by_certificate(&foreign)).await.reason(), (401, "credential"));
}

#[tokio::test]
async fn where_approval_is_by_hand_a_device_waits_for_it_and_costs_its_token_one_use() {
    let house = a_house().await;
    let code = &house.site.code;
    let by_hand = json!({ "name": code, "approval": "manual" });
    let set = house.ask_as("ian", Ask::put(&format!("/sites/{code}"), "*", by_hand)).await;
    assert!(set.status.is_success(), "{set:?}");
    let ((token, id), key) = (bulk(&house, json!({})).await, key());

    let first = ask(&house.site, "register", asked(&key, &token)).await;
    let second = ask(&house.site, "register", asked(&key, &token)).await;

    assert_eq!([first.reason(), second.reason()], [(403, "client-waits"), (403, "client-waits")]);
    let waiting = house.ask_as("ann", Ask::get("/devices?state=pending")).await.body;
    assert_eq!((waiting["items"].as_array().unwrap().len(), uses(&house, &id).await), (1, 1));
    let client = waiting["items"][0]["id"].as_str().unwrap();
    made(&house, &format!("/devices/{client}/approve"), json!({})).await;
    assert_eq!(ask(&house.site, "register", asked(&key, &token)).await.status, 201);
    let key = cmg_authority::PrivateKey::generate().unwrap();
    let issued = house.site.keys().clients.client("pc7", &key.public(), 86_400, house.site.now()).unwrap();
    let chain: Vec<_> = issued.chain.iter().map(|der| json!(cmg_api::bytes::Base64(der.clone()))).collect();
    let mut by_certificate = asked(&self::key(), "none");
    (by_certificate["shown"], by_certificate["proof"]) = (json!({ "certificate": chain }), Value::Null);
    assert_eq!(ask(&house.site, "register", by_certificate).await.status, 201, "its authority has looked at it");
}

#[tokio::test]
async fn two_devices_of_one_name_are_told_on_each_other() {
    let house = a_house().await;
    let (token, _) = bulk(&house, json!({})).await;
    let first = ask(&house.site, "register", asked(&key(), &token)).await.text("client_id");
    let shown = async |id: &str| house.ask_as("ann", Ask::get(&format!("/devices/{id}"))).await.body["findings"].clone();
    assert_eq!(shown(&first).await, json!([]));

    let second = ask(&house.site, "register", asked(&key(), &token)).await.text("client_id");

    assert!(shown(&first).await[0].as_str().unwrap().contains(&second));
    assert!(shown(&second).await[0].as_str().unwrap().contains(&first));
}

#[tokio::test]
async fn every_use_is_audited_with_the_address_of_the_client() {
    let house = a_house().await;
    let (token, id) = bulk(&house, json!({})).await;
    ask(&house.site, "register", asked(&key(), &token)).await;

    let records = house.ask_as("ian", Ask::get("/audit?limit=10")).await.body;

    let records = records["items"].as_array().unwrap();
    let of = |action: &str, kind: &str| records.iter().find(|record| record["action"] == action && record["kind"] == kind).cloned();
    let used = of("use", "bulk-token").unwrap_or_else(|| panic!("{records:?}"));
    assert_eq!((&used["name"], &used["account"], &used["address"]), (&json!(id), &json!("management-point/mp-1"), &json!("203.0.113.7")));
    assert!(of("new", "client").is_some() && of("new", "client-token").is_some());
    assert!(!records.iter().any(|record| record.to_string().contains(&token)), "no token is in an audit record");
}

#[tokio::test]
async fn one_address_and_one_token_have_limits() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());
    let from = |address: &str| {
        let mut asked = asked(&key, &token);
        asked["address"] = json!(address);
        asked["proof"] = Value::Null;
        asked
    };

    // No answer is waited for that would need a transaction: what is counted comes first.
    let mut last = 0;
    for _ in 0..2_000 {
        last = ask(&house.site, "register", from("198.51.100.9")).await.status;
        if last == 429 {
            break;
        }
    }

    assert_eq!(last, 429);
    assert_eq!(ask(&house.site, "register", from("198.51.100.10")).await.reason(), (401, "no-proof"), "another address is not held up");

    let mut from_everywhere = (0..2_000).map(|number| format!("198.18.{}.{}", number / 250, number % 250));
    let last = loop {
        let told = ask(&house.site, "register", from(&from_everywhere.next().expect("there is an end"))).await;
        if told.status == 429 {
            break told;
        }
    };
    assert!(last.body.to_string().contains("with this token"), "{}", last.body);
    let (other, _) = bulk(&house, json!({})).await;
    let mut asked = asked(&key, &other);
    asked["proof"] = Value::Null;
    assert_eq!(ask(&house.site, "register", asked).await.reason(), (401, "no-proof"), "another token is not held up");
}

/// A client on the intranet, or behind an internet-facing server, which the management point has seen itself.
#[tokio::test]
async fn a_client_that_came_through_no_gateway_registers_where_gateways_are_not_allowed() {
    let house = House::new().await;
    made(&house, "/management-points", json!({ "name": "mp-1", "host": "mp1.corp.example" })).await;
    enrol(&house, "management-point", "mp-1", "01AB").await;
    let (key, (token, _)) = (ProofKey::new().unwrap(), bulk(&house, json!({})).await);
    let through = |connection_point: &str| {
        let mut asked = asked(&key, &token);
        asked["connection_point"] = connection_point.into();
        asked
    };

    assert_eq!(ask(&house.site, "register", through("cp-1")).await.reason(), (403, "not-published"));
    let registered = ask(&house.site, "register", through("")).await;
    assert_eq!(registered.status, 201, "{}", registered.body);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let house = a_house().await;
    let ((token, _), key) = (bulk(&house, json!({})).await, key());

    let mut nameless = asked(&key, &token);
    nameless["register"] = json!({ "name": " " });
    assert_eq!(ask(&house.site, "register", nameless).await.reason(), (422, "invalid"));
    assert_eq!(ask(&house.site, "register", json!({ "shown": {} })).await.status, 400);
    let mut long = asked(&key, &token);
    long["shown"] = json!({ "token": "a".repeat(40_000) });
    assert_eq!(ask(&house.site, "register", long).await.status, 413);
}
