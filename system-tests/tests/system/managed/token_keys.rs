//! Keys that sign tokens follow each other while clients work: tokens of both count, and nobody registers anew.

use serde_json::{Value, json};

use super::registration::{Device, RENEW, bulk, exchange, text, with_ccm};
use crate::support::{ManagedSite, PATIENCE, Reply, header_of, until_within};

fn key_of(token: &str) -> Value {
    header_of(token)["kid"].clone()
}

/// Rolls a key, and waits until its successor signs.
fn roll(managed: &ManagedSite, purpose: &str) {
    managed.api.ask("POST", &format!("/keys/{purpose}/roll"), None).unwrap();
    until_within(4 * PATIENCE, "the successor signs", || {
        let keys = managed.api.ask("GET", "/keys", None).unwrap();
        let is_earlier = |key: &Value| key["purpose"] == purpose && key["state"] == "earlier";
        keys["items"].as_array().unwrap().iter().any(is_earlier).then_some(())
    });
    managed.everywhere();
}

/// What a device with a token is answered by every gateway instance.
fn at_work(managed: &ManagedSite, device: &Device, token: &str) -> Reply {
    device.ask("GET", &(managed.site.server() + "/echo"), token, &Value::Null)
}

#[test]
fn tokens_of_the_key_before_count_and_are_renewed_to_tokens_of_the_next() {
    let managed = ManagedSite::of(1, 1);
    with_ccm(&managed);
    let (bulk, _) = bulk(&managed, json!({}));
    let (device, late) = (Device::new(&managed), Device::new(&managed));
    let old = text(&device.register(&bulk), "token");
    let ccm = text(&device.ask("POST", &exchange(&managed), &old, &Value::Null), "access_token");

    roll(&managed, "tokens-rs256");

    assert_eq!(at_work(&managed, &device, &old).status, 200);
    assert_eq!(device.ask("GET", "/ccm/echo", &ccm, &Value::Null).status, 200);
    let renewed = device.ask("POST", RENEW, &old, &Value::Null);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let new = text(&renewed, "token");
    assert_ne!(key_of(&new), key_of(&old));
    for token in [&old, &new] {
        assert_eq!(at_work(&managed, &device, token).status, 200, "both count");
    }
    assert_eq!(device.ask("POST", RENEW, &old, &Value::Null).status, 200, "the answer may have been lost");
    let registered = late.register(&bulk);
    assert_eq!(registered.status, 201, "a bulk token of the key before: {}", registered.text());
    assert_eq!(key_of(&text(&registered, "token")), key_of(&new));
}

#[test]
fn tokens_signed_with_es256_count_at_both_ends_beside_those_signed_with_rs256() {
    let managed = ManagedSite::of(1, 1);
    with_ccm(&managed);
    let (bulk, _) = bulk(&managed, json!({}));
    let device = Device::new(&managed);
    let rs256 = text(&device.register(&bulk), "token");

    managed.api.ask("PUT", "/sites/LAB", Some(&json!({ "name": "LAB", "token_algorithm": "ES256" }))).unwrap();

    let renewed = device.ask("POST", RENEW, &rs256, &Value::Null);
    let es256 = text(&renewed, "token");
    let ccm = text(&device.ask("POST", &exchange(&managed), &es256, &Value::Null), "access_token");
    assert_eq!([&rs256, &es256, &ccm].map(|token| header_of(token)["alg"].clone()), ["RS256", "ES256", "ES256"]);
    for token in [&rs256, &es256] {
        assert_eq!(at_work(&managed, &device, token).status, 200);
    }
    assert_eq!(device.ask("GET", "/ccm/echo", &ccm, &Value::Null).status, 200);
}
