//! A whole configuration in one change.

use serde_json::{Value, json};

use crate::house::{Answered, Ask, House};

fn configuration() -> Value {
    json!({ "resources": [
        { "kind": "boundary-group", "resource": { "name": "vpn", "networks": ["10.0.0.0/8"], "gateways": ["main"] } },
        { "kind": "gateway", "resource": { "name": "main", "host": "cmg.example" } },
        { "kind": "site-system", "resource": { "name": "web", "role": "web", "urls": ["http://inside.example"] } },
    ] })
}

fn counts(answered: &Answered) -> [u64; 4] {
    ["created", "changed", "removed", "unchanged"].map(|name| answered.body[name].as_u64().unwrap())
}

#[tokio::test]
async fn the_same_twice_changes_nothing_the_second_time() {
    let house = House::new().await;
    let before = house.site.in_force().generation();

    let first = house.ask_as("ian", Ask::post("/apply", configuration())).await;
    let (generation, records) = (house.site.in_force().generation(), house.records().await);
    let second = house.ask_as("ian", Ask::post("/apply", configuration())).await;

    assert_eq!((first.status.as_u16(), counts(&first)), (200, [3, 0, 0, 0]));
    assert_eq!((generation.number, records), (before.number + 1, 3), "one change, whatever it holds");
    assert_eq!((second.status.as_u16(), counts(&second)), (200, [0, 0, 0, 3]));
    assert_eq!((house.site.in_force().generation(), house.records().await), (generation, records));
}

#[tokio::test]
async fn the_difference_is_told_field_by_field() {
    let house = House::new().await;
    house.ask_as("ian", Ask::post("/apply", configuration())).await;
    let mut wanted = configuration();
    wanted["resources"][0]["resource"]["networks"] = json!(["10.0.0.0/8", "192.0.2.0/24"]);

    let dry = house.ask_as("ian", Ask::post("/apply?dry_run=true", wanted.clone())).await;
    assert_eq!(house.ask_as("ann", Ask::get("/boundary-groups/vpn")).await.body["networks"], json!(["10.0.0.0/8"]));
    let done = house.ask_as("ian", Ask::post("/apply", wanted)).await;

    for answered in [&dry, &done] {
        assert_eq!(counts(answered), [0, 1, 0, 2]);
        let field = json!([{ "field": "networks", "before": ["10.0.0.0/8"], "after": ["10.0.0.0/8", "192.0.2.0/24"] }]);
        assert_eq!((&answered.body["resources"][0]["action"], &answered.body["resources"][0]["fields"]), (&json!("changed"), &field));
    }
    assert_eq!((dry.header("x-generation").is_some(), done.header("x-generation").is_some()), (false, true));
}

#[tokio::test]
async fn pruning_removes_what_the_list_does_not_have_of_the_named_kinds_only() {
    let house = House::new().await;
    house.ask_as("ian", Ask::post("/apply", configuration())).await;
    house.ask_as("ian", Ask::post("/boundary-groups", json!({ "name": "old" }))).await;
    let wanted = json!({ "resources": [configuration()["resources"][0]] });

    let pruned = house.ask_as("ian", Ask::post("/apply?prune=boundary-group,site-system", wanted.clone())).await;
    let dangling = house.ask_as("ian", Ask::post("/apply?prune=gateway", wanted.clone())).await;
    let unknown = house.ask_as("ian", Ask::post("/apply?prune=gateways", wanted)).await;

    assert_eq!((pruned.status.as_u16(), counts(&pruned)), (200, [0, 0, 2, 1]));
    assert_eq!(house.ask_as("ann", Ask::get("/gateways/main")).await.status.as_u16(), 200);
    assert_eq!((dangling.status.as_u16(), dangling.keys()), (422, vec!["boundary-groups/vpn.gateways[0]"]));
    assert_eq!((unknown.status.as_u16(), unknown.keys()), (422, vec!["?prune"]));
}

#[tokio::test]
async fn all_problems_of_the_list_are_told_by_their_place_and_nothing_is_stored() {
    let house = House::new().await;
    let mut wanted = configuration();
    let more = [
        json!({ "kind": "gateway", "resource": { "name": "main", "host": "two.example" } }),
        json!({ "kind": "cloud", "resource": {} }),
        json!({ "kind": "boundary-group", "resource": { "nmae": "x", "networks": 1 } }),
        json!({ "kind": "certificate", "resource": { "name": "web" } }),
    ];
    wanted["resources"].as_array_mut().unwrap().extend(more);

    let refused = house.ask_as("ian", Ask::post("/apply", wanted)).await;

    let keys = [
        "resources[3].resource.name",
        "resources[4].kind",
        "resources[5].resource.nmae",
        "resources[5].resource.networks",
        "resources[5].resource.name",
    ];
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, keys.to_vec()));
    let alone = json!({ "resources": [{ "kind": "certificate", "resource": { "name": "web" } }] });
    let refused = house.ask_as("ian", Ask::post("/apply", alone)).await;
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["resources[0].resource.chain"]));
    assert_eq!(house.ask_as("ann", Ask::get("/gateways")).await.body["total"], json!(0));
}
