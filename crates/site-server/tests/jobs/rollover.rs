//! Signing keys follow each other, and nobody is stranded.

use cmg_api::control::{GenerationId, MANIFEST_CONTEXT, MemberStatus, Signed};
use cmg_authority::{Confirmation, SigningAlgorithm};
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_credentials::members::{MemberRefused, Statement};
use cmg_credentials::tls::Believed;
use cmg_site_server::app::doctor::as_a_gateway;
use cmg_site_server::app::fetching::Fetcher;
use cmg_site_server::app::rollover::{BEFORE_ITS_END, KEPT, LONGEST_WAIT, OFTEN, Shown, keep, list};
use cmg_site_server::jobs::{Last, once};
use cmg_site_server::site::Site;
use serde_json::json;

use crate::house::{Ask, House};
use crate::seen::{document, with_gateway};

/// Shortly after the moment at which the keys of this site get successors.
fn due(site: &Site) -> i64 {
    site.keys().tokens.iter().map(|signer| signer.not_after().0 as i64).max().unwrap() - BEFORE_ITS_END + 60
}

fn of(site: &Site, state: &str) -> Vec<Shown> {
    list(site).into_iter().filter(|key| key.state == state && key.purpose != "snapshots").collect()
}

fn signing(site: &Site, algorithm: SigningAlgorithm) -> String {
    let keys = site.keys();
    keys.tokens.iter().find(|signer| signer.algorithm() == algorithm).unwrap().thumbprint().to_owned()
}

/// Whether gateways are told of the key.
fn is_published(site: &Site, thumbprint: &str) -> bool {
    document(site).token_key.iter().any(|key| key.id.starts_with(thumbprint))
}

/// The gateway instance says what it has in force.
async fn says(house: &House, applied: GenerationId) {
    member_says(house, "gateway", "gw-1", applied).await;
}

/// A member says what it has in force.
pub(crate) async fn member_says(house: &House, kind: &str, name: &str, applied: GenerationId) {
    let status = MemberStatus {
        applied,
        applied_at: 0,
        refused: None,
        version: "test".to_owned(),
        certificate_ends: 0,
        findings: vec![],
        tunnels: Default::default(),
        wanted_keys: Default::default(),
        said_at: 0,
    };
    let body = serde_json::to_string(&status).unwrap();
    let status = cmg_store::MemberStatus { kind: kind.to_owned(), name: name.to_owned(), body, seen_at: house.now() };
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    change.put_member_statuses(&[status], house.now()).await.unwrap();
    change.commit().await.unwrap();
}

#[tokio::test]
async fn a_key_of_tokens_signs_when_every_member_knows_it_and_the_one_before_counts_until_its_last_token_has_ended() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, due) = (&house.site, due(&house.site));
    assert_eq!(keep(site, house.now()).await.unwrap(), 0, "nothing is due in the first years");
    let before = signing(site, SigningAlgorithm::Rs256);

    keep(site, due).await.unwrap();
    let next = of(site, "next");
    let announced = site.in_force().generation();
    assert_eq!((next.len(), signing(site, SigningAlgorithm::Rs256)), (2, before.clone()), "it is told before it signs");
    assert!(next.iter().all(|key| is_published(site, key.thumbprint.as_ref().unwrap())));
    assert_eq!(keep(site, due + 60).await.unwrap(), 0, "a member has not said that it knows");

    says(&house, announced).await;
    assert_eq!(keep(site, due + 120).await.unwrap(), 2);
    let now = signing(site, SigningAlgorithm::Rs256);
    assert_eq!(Some(&now), next.iter().find(|key| key.purpose == "tokens-rs256").unwrap().thumbprint.as_ref());
    assert!(is_published(site, &before) && is_published(site, &now), "tokens of both count");
    let bulk = house.ask_as("ian", Ask::post("/bulk-tokens", json!({ "note": "test" }))).await;
    let header = bulk.body["token"].as_str().unwrap().split('.').next().unwrap().to_owned();
    let header = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header).unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&header).unwrap()["x5t"], json!(now), "bulk tokens too");
    let (other, _) = house.other().await;
    assert_eq!((list(&other), document(&other)), (list(site), document(site)), "every site server has the same");

    keep(site, due + KEPT - 60).await.unwrap();
    assert!(is_published(site, &before));
    keep(site, due + 120 + KEPT).await.unwrap();
    assert!(!is_published(site, &before) && is_published(site, &now));
}

#[tokio::test]
async fn a_member_that_is_away_does_not_hold_up_a_key_for_ever() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, due) = (&house.site, due(&house.site));
    keep(site, due).await.unwrap();

    assert_eq!(keep(site, due + LONGEST_WAIT - 1).await.unwrap(), 0);
    assert_eq!(keep(site, due + LONGEST_WAIT).await.unwrap(), 2);
    assert_eq!(of(site, "earlier").len(), 2);
}

#[tokio::test]
async fn a_member_that_slept_through_rollovers_of_the_snapshot_key_follows() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, roots) = (&house.site, house.site.keys().roots());
    let signed = || site.in_force().signed["gateway/gw-1"].clone();
    let counts = |signed: &Signed, now: i64| {
        let chain: Vec<&[u8]> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
        let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
        statement.verify(MANIFEST_CONTEXT, &roots, WallTime(now as u64))
    };
    let before = signed();

    let due = due(site);
    keep(site, due).await.unwrap();
    let once = signed();
    keep(site, due + 700 * 86_400).await.unwrap();
    let twice = signed();

    assert!(once.chain[0] != before.chain[0] && twice.chain[0] != once.chain[0], "each is another key");
    assert_eq!((counts(&once, due), counts(&twice, due + 700 * 86_400)), (Ok(()), Ok(())));
}

#[tokio::test]
async fn a_full_administrator_rolls_a_key_at_once() {
    let house = House::new().await;
    with_gateway(&house).await;
    let before = house.site.in_force().signed["gateway/gw-1"].chain.clone();

    let snapshots = house.ask_as("fay", Ask::post("/keys/snapshots/roll", json!({}))).await;
    let tokens = house.ask_as("fay", Ask::post("/keys/tokens-es256/roll", json!({}))).await;
    let again = house.ask_as("fay", Ask::post("/keys/tokens-es256/roll", json!({}))).await;

    assert_eq!((snapshots.status.as_u16(), tokens.status.as_u16(), again.status.as_u16()), (200, 200, 200));
    assert_ne!(house.site.in_force().signed["gateway/gw-1"].chain, before);
    assert_eq!(again.body, tokens.body, "one that waits is not made twice");
    assert_eq!(of(&house.site, "next").len(), 1);
    says(&house, house.site.in_force().generation()).await;
    assert_eq!(keep(&house.site, house.now()).await.unwrap(), 1);
}

async fn forget(house: &House, thumbprint: &str) -> u16 {
    house.ask_as("fay", Ask::post(&format!("/keys/{thumbprint}/forget"), json!({}))).await.status.as_u16()
}

#[tokio::test]
async fn a_key_of_tokens_that_is_withdrawn_signs_and_verifies_nothing_more() {
    let house = House::new().await;
    with_gateway(&house).await;
    let stolen = signing(&house.site, SigningAlgorithm::Es256);
    let token = house.site.keys().tokens[1].client("pc1", &Confirmation::Key("k".repeat(43)), house.site.now()).unwrap().token;
    let said = || {
        let in_force = house.site.in_force();
        let (_, verifier) = as_a_gateway(&in_force.model, &in_force.ground).unwrap();
        verifier.token(token.as_bytes(), house.site.now()).map(|_| ())
    };
    assert_eq!((said(), forget(&house, &stolen).await), (Ok(()), 422), "the only one of its kind");
    assert_eq!(forget(&house, "unknown").await, 404);

    house.ask_as("fay", Ask::post("/keys/tokens-es256/roll", json!({}))).await;
    let next = of(&house.site, "next")[0].thumbprint.clone().unwrap();
    assert_eq!(forget(&house, &stolen).await, 200);

    assert_eq!((said(), is_published(&house.site, &stolen)), (Err(Refusal::TokenUnknownKey), false));
    assert_eq!((signing(&house.site, SigningAlgorithm::Es256), is_published(&house.site, &next)), (next, true));
    assert!(of(&house.site, "earlier").is_empty());
    let before = (house.site.in_force().generation(), house.records().await);
    assert_eq!(forget(&house, &stolen).await, 200);
    assert_eq!((house.site.in_force().generation(), house.records().await), before, "nothing is left to do");
    let (other, _) = house.other().await;
    assert_eq!((list(&other), document(&other)), (list(&house.site), document(&house.site)));
}

#[tokio::test]
async fn what_a_withdrawn_key_of_snapshots_signs_is_refused_by_members_that_were_told() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, roots) = (&house.site, house.site.keys().roots());
    let of_snapshots = list(site)[0].thumbprint.clone().unwrap();
    let (before, stolen) = (site.in_force(), site.keys());
    let forged = || {
        let payload = before.signed["gateway/gw-1"].payload.replace("\"number\":", "\"number\":9");
        stolen.snapshots.sign(MANIFEST_CONTEXT, payload).unwrap()
    };
    let counts = |signed: &Signed| {
        let chain: Vec<&[u8]> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
        let revoked = document(site).revoked_members.iter().map(|digest| digest.0).collect();
        let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
        statement.verify(MANIFEST_CONTEXT, Believed { roots: &roots, revoked }, site.now())
    };
    assert_eq!(forget(&house, &of_snapshots).await, 422, "it signs");

    house.ask_as("fay", Ask::post("/keys/snapshots/roll", json!({}))).await;
    let shown = house.ask_as("fay", Ask::get("/keys")).await.body.to_string();
    assert!(shown.contains(&of_snapshots), "{shown}");
    assert_eq!(counts(&forged()), Ok(()), "a key that was followed by another still counts");
    assert_eq!(forget(&house, &of_snapshots).await, 200);

    let after = site.in_force();
    assert_eq!((counts(&forged()), counts(&after.signed["gateway/gw-1"])), (Err(MemberRefused::Withdrawn), Ok(())));
    assert!(after.generation().epoch > before.generation().epoch, "members follow whatever numbers were forged");
    assert_eq!(forget(&house, &of_snapshots).await, 200);
    assert_eq!(site.in_force().generation(), after.generation());
    let shown = house.ask_as("fay", Ask::get("/keys")).await.body.to_string();
    assert!(!shown.contains(&of_snapshots), "{shown}");
}

#[tokio::test]
async fn keys_are_looked_at_once_an_hour_and_at_every_look_while_a_successor_waits() {
    let house = House::new().await;
    with_gateway(&house).await;
    let (site, due, fetcher) = (&house.site, due(&house.site), Fetcher::believing(Vec::new()));
    let before = signing(site, SigningAlgorithm::Es256);
    let mut last = Last { rolled: Some(due - 60), warned: Some(due), forgot: Some(due) };

    once(site, &fetcher, due, &mut last).await;
    assert_eq!(of(site, "next"), [], "the hour is not over");
    once(site, &fetcher, due - 60 + OFTEN, &mut last).await;
    assert_eq!(of(site, "next").len(), 2);
    says(&house, site.in_force().generation()).await;
    once(site, &fetcher, due - 45 + OFTEN, &mut last).await;

    assert_eq!((of(site, "next"), last.rolled), (vec![], Some(due - 45 + OFTEN)));
    assert_ne!(signing(site, SigningAlgorithm::Es256), before);
}
