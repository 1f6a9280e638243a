//! The state of the site: which generation runs where.

use std::collections::BTreeMap;

use cmg_api::control::MemberStatus;
use cmg_store::MemberStatus as Stored;
use serde_json::json;

use crate::house::{Ask, House};

#[tokio::test]
async fn who_lags_is_told_until_everybody_runs_what_is_in_force() {
    let house = House::new().await;
    let gateway = json!({ "name": "main", "host": "cmg.example", "instances": [{ "name": "gw-1", "address": "gw-1.example:443" }] });
    house.ask_as("ian", Ask::post("/gateways", gateway)).await;
    house.ask_as("ian", Ask::post("/connection-points", json!({ "name": "cp-1" }))).await;

    let before = house.ask_as("ann", Ask::get("/status")).await.body;
    say(&house, &["gateway/gw-1", "connection-point/cp-1"]).await;
    let after = house.ask_as("ann", Ask::get("/status")).await.body;

    let generation = house.site.in_force().generation().to_string();
    assert_eq!((&before["everywhere"], &before["generation"]), (&json!(false), &json!(generation)));
    assert_eq!(before["summary"], json!(format!("2 of 2 members do not run generation {generation}")));
    assert!(before["members"][0]["why"].is_string());
    assert_eq!((&after["everywhere"], &after["summary"]), (&json!(true), &json!(format!("generation {generation} everywhere"))));
    assert_eq!((&after["members"][1]["member"], &after["members"][1]["lags"]), (&json!("gateway/gw-1"), &json!(false)));
    assert_eq!((&after["database"], &after["site"], &after["site_server"]), (&json!("SQLite"), &json!("LAB"), &json!("site-1")));
}

async fn say(house: &House, members: &[&str]) {
    let status = MemberStatus {
        applied: house.site.in_force().generation(),
        applied_at: 1,
        refused: None,
        version: "0.1.0".to_owned(),
        certificate_ends: 1,
        findings: Vec::new(),
        tunnels: BTreeMap::new(),
        wanted_keys: Vec::new(),
        said_at: 0,
    };
    let body = serde_json::to_string(&status).unwrap();
    let stored = members.iter().map(|member| member.split_once('/').unwrap()).map(|(kind, name)| Stored {
        kind: kind.to_owned(),
        name: name.to_owned(),
        body: body.clone(),
        seen_at: house.now(),
    });
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    change.put_member_statuses(&stored.collect::<Vec<_>>(), 0).await.unwrap();
    change.commit().await.unwrap();
}
