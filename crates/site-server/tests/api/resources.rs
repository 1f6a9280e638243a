//! The resources of the configuration: pages, versions, generations, dry runs, audit records.

use serde_json::{Value, json};

use crate::house::{Answered, Ask, House};

async fn new(house: &House, path: &str, body: Value) -> Answered {
    house.ask_as("ian", Ask::post(path, body)).await
}

#[tokio::test]
async fn a_resource_is_made_read_changed_and_removed() {
    let house = House::new().await;

    let made = new(&house, "/boundary-groups", json!({ "name": "vpn", "networks": ["10.0.0.0/8"] })).await;
    assert_eq!(made.status.as_u16(), 201);
    assert_eq!((made.header("location"), made.header("etag")), (Some("/api/v1/boundary-groups/vpn"), Some("\"1\"")));
    assert_eq!(made.header("x-generation"), Some(house.site.in_force().generation().to_string().as_str()));

    let read = house.ask_as("ann", Ask::get("/boundary-groups/vpn")).await;
    assert_eq!((read.status.as_u16(), read.header("etag"), &read.body), (200, Some("\"1\""), &made.body));
    assert_eq!((&read.body["networks"], &read.body["version"]), (&json!(["10.0.0.0/8"]), &json!(1)));

    let mut body = read.body;
    body["description"] = json!("people at home");
    let set = house.ask_as("ian", Ask::put("/boundary-groups/vpn", "\"1\"", body)).await;
    assert_eq!((set.status.as_u16(), set.header("etag"), &set.body["description"]), (200, Some("\"2\""), &json!("people at home")));

    let removed = house.ask_as("ian", Ask::delete("/boundary-groups/vpn", "\"2\"")).await;
    assert_eq!((removed.status.as_u16(), removed.header("x-generation").is_some()), (204, true));
    assert_eq!(house.ask_as("ann", Ask::get("/boundary-groups/vpn")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn two_administrators_do_not_overwrite_each_other() {
    let house = House::new().await;
    new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    let set = |account, words| {
        let ask = Ask::put("/boundary-groups/vpn", "\"1\"", json!({ "name": "vpn", "description": words }));
        house.ask_as(account, ask)
    };

    let (one, other) = tokio::join!(set("ian", "one"), set("fay", "other"));

    let (won, lost) = if one.status.is_success() { (one, other) } else { (other, one) };
    assert_eq!((won.status.as_u16(), lost.status.as_u16(), lost.kind()), (200, 412, "stale"));
    assert_eq!((&lost.body["version"], lost.header("etag")), (&json!(2), Some("\"2\"")));
    assert_eq!(house.ask_as("ann", Ask::get("/boundary-groups/vpn")).await.body["description"], won.body["description"]);
    assert_eq!(house.ask_as("ian", Ask::delete("/boundary-groups/vpn", "\"1\"")).await.status.as_u16(), 412);
}

#[tokio::test]
async fn a_change_names_the_version_that_it_changes() {
    let house = House::new().await;
    new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    let body = json!({ "name": "vpn", "description": "x" });

    let without = house.ask_as("ian", Ask::new("PUT", "/boundary-groups/vpn").json(body.clone())).await;
    let removal = house.ask_as("ian", Ask::new("DELETE", "/boundary-groups/vpn")).await;
    let wrong = house.ask_as("ian", Ask::put("/boundary-groups/vpn", "1", body.clone())).await;
    let any = house.ask_as("ian", Ask::put("/boundary-groups/vpn", "*", body)).await;

    assert_eq!((without.status.as_u16(), without.kind()), (428, "if-match-required"));
    assert_eq!(removal.status.as_u16(), 428);
    assert_eq!(wrong.status.as_u16(), 400);
    assert_eq!((any.status.as_u16(), any.header("etag")), (200, Some("\"2\"")));
}

#[tokio::test]
async fn the_same_again_makes_no_generation_and_no_record() {
    let house = House::new().await;
    let made = new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    let (before, records) = (house.site.in_force().generation(), house.records().await);

    let again = house.ask_as("ian", Ask::put("/boundary-groups/vpn", "\"1\"", made.body)).await;

    assert_eq!((again.status.as_u16(), again.header("etag")), (200, Some("\"1\"")));
    assert_eq!((house.site.in_force().generation(), house.records().await), (before, records));
    assert_eq!(again.header("x-generation"), Some(before.to_string().as_str()));
}

#[tokio::test]
async fn a_name_stands_once_and_does_not_change() {
    let house = House::new().await;
    new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;

    let twice = new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    let renamed = house.ask_as("ian", Ask::put("/boundary-groups/vpn", "*", json!({ "name": "lan" }))).await;
    let absent = house.ask_as("ian", Ask::put("/boundary-groups/lan", "*", json!({ "name": "lan" }))).await;

    assert_eq!((twice.status.as_u16(), twice.kind()), (409, "exists"));
    assert_eq!((renamed.status.as_u16(), renamed.keys()), (422, vec!["name"]));
    assert_eq!((absent.status.as_u16(), absent.kind()), (404, "not-found"));
}

#[tokio::test]
async fn a_list_comes_in_pages_and_can_be_searched() {
    let house = House::new().await;
    for name in ["a-1", "a-2", "a-3", "b-1"] {
        new(&house, "/boundary-groups", json!({ "name": name })).await;
    }
    let names = |page: &Answered| -> Vec<String> {
        page.body["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };

    let first = house.ask_as("ann", Ask::get("/boundary-groups?limit=3")).await;
    let second = house.ask_as("ann", Ask::get("/boundary-groups?limit=3&after=a-3")).await;
    let full = house.ask_as("ann", Ask::get("/boundary-groups?limit=4")).await;
    let found = house.ask_as("ann", Ask::get("/boundary-groups?search=A-&limit=2")).await;

    assert_eq!(
        (names(&first), &first.body["next"], &first.body["total"]),
        (vec!["a-1".into(), "a-2".into(), "a-3".into()], &json!("a-3"), &json!(4))
    );
    assert_eq!((names(&second), &second.body["next"]), (vec!["b-1".into()], &Value::Null));
    assert_eq!((names(&found), &found.body["next"], &found.body["total"]), (vec!["a-1".into(), "a-2".into()], &json!("a-2"), &json!(3)));
    assert_eq!((names(&full).len(), &full.body["next"]), (4, &Value::Null));
    assert_eq!(first.body["items"][0]["version"], json!(1));
}

#[tokio::test]
async fn what_a_query_does_not_know_is_refused() {
    let house = House::new().await;
    for (query, key) in
        [("limit=0", "?limit"), ("limit=501", "?limit"), ("limit=x", "?limit"), ("sort=name", "?sort"), ("limit=1&limit=2", "?limit")]
    {
        let refused = house.ask_as("ann", Ask::get(&format!("/gateways?{query}"))).await;
        assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec![key]), "{query}");
    }
    let refused = house.ask_as("ian", Ask::post("/gateways?dry_run=maybe", json!({}))).await;
    assert_eq!(refused.keys(), ["?dry_run"]);
}

#[tokio::test]
async fn a_dry_run_judges_everything_and_stores_nothing() {
    let house = House::new().await;
    new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    let (generation, records) = (house.site.in_force().generation(), house.records().await);
    let dangling = json!({ "name": "lan", "site_systems": ["none"] });

    let made = new(&house, "/boundary-groups?dry_run=true", json!({ "name": "lan" })).await;
    let refused = new(&house, "/boundary-groups?dry_run=true", dangling).await;
    let set = house.ask_as("ian", Ask::put("/boundary-groups/vpn?dry_run=true", "*", json!({ "name": "vpn", "description": "x" }))).await;
    let removed = house.ask_as("ian", Ask::delete("/boundary-groups/vpn?dry_run=true", "*")).await;

    assert_eq!((made.status.as_u16(), set.status.as_u16(), removed.status.as_u16()), (201, 200, 204));
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["site_systems[0]"]));
    assert_eq!((house.site.in_force().generation(), house.records().await), (generation, records));
    assert_eq!(house.ask_as("ann", Ask::get("/boundary-groups")).await.body["items"][0]["description"], json!(""));
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_stored() {
    let house = House::new().await;

    let fields = new(&house, "/gateways", json!({ "nmae": "x", "host": 5, "instances": [{ "name": "gw-1" }], "running": "yes" })).await;
    let meaning = new(
        &house,
        "/gateways",
        json!({ "name": "main", "host": "cmg.example", "certificates": ["none"], "instances": [{ "name": "a b", "address": "x" }] }),
    )
    .await;

    assert_eq!((fields.status.as_u16(), fields.keys()), (422, vec!["nmae", "host", "instances[0].address", "running", "name"]));
    assert_eq!(fields.body["problems"][0]["instead"], json!("perhaps `name`"));
    assert_eq!((meaning.status.as_u16(), meaning.keys()), (422, vec!["certificates[0]", "instances[0].name", "instances[0].address"]));
    assert_eq!(house.ask_as("ann", Ask::get("/gateways")).await.body["total"], json!(0));
    assert_eq!(house.records().await, 0);
}

#[tokio::test]
async fn what_others_refer_to_stays() {
    let house = House::new().await;
    new(&house, "/gateways", json!({ "name": "main", "host": "cmg.example" })).await;
    new(&house, "/boundary-groups", json!({ "name": "vpn", "gateways": ["main"] })).await;

    let refused = house.ask_as("ian", Ask::delete("/gateways/main", "*")).await;
    let own = house.ask_as("ian", Ask::delete("/sites/LAB", "*")).await;

    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["boundary-groups/vpn.gateways[0]"]));
    assert_eq!((own.status.as_u16(), own.keys()), (422, vec!["sites/LAB"]));
    assert_eq!(house.ask_as("ann", Ask::get("/gateways/main")).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_site_system_is_given_a_number_that_stays() {
    let house = House::new().await;
    let system = |name: &str| json!({ "name": name, "role": "web", "urls": ["http://inside.example"] });

    let first = new(&house, "/site-systems", system("one")).await;
    let second = new(&house, "/site-systems", system("two")).await;
    house.ask_as("ian", Ask::delete("/site-systems/one", "*")).await;
    let mut body = system("two");
    body["description"] = json!("changed");
    let set = house.ask_as("ian", Ask::put("/site-systems/two", "*", body)).await;
    let third = new(&house, "/site-systems", system("three")).await;

    let numbers = [first, second, set, third].map(|answered| answered.body["role_id"].clone());
    let text = |last: u64| json!((72_057_594_037_927_930_u64 + last).to_string());
    assert_eq!(numbers, [text(7), text(8), text(8), text(7)]);
}

#[tokio::test]
async fn a_site_has_a_site_code() {
    let house = House::new().await;

    assert_eq!(new(&house, "/sites", json!({ "name": "not-a-code" })).await.keys(), ["name"]);
    assert_eq!(new(&house, "/sites", json!({ "name": "XYZ" })).await.status.as_u16(), 201);
}

#[tokio::test]
async fn an_audit_record_says_who_did_what_before_and_after() {
    let house = House::new().await;
    let made = new(&house, "/boundary-groups", json!({ "name": "vpn" })).await;
    house.ask_as("fay", Ask::put("/boundary-groups/vpn", "*", json!({ "name": "vpn", "networks": ["10.0.0.0/8"] }))).await;
    new(&house, "/boundary-groups", json!({ "name": "lan" })).await;

    let page = house.ask_as("ann", Ask::get("/audit?kind=boundary-group&name=vpn")).await;
    let [set, added] = [&page.body["items"][0], &page.body["items"][1]];
    assert_eq!((&set["account"], &set["action"], &set["role"]), (&json!("fay"), &json!("set"), &json!("full-administrator")));
    assert_eq!((&set["before"]["networks"], &set["after"]["networks"]), (&json!([]), &json!(["10.0.0.0/8"])));
    assert_eq!((&added["account"], &added["action"], &added["before"]), (&json!("ian"), &json!("new"), &Value::Null));
    assert_eq!(added["request_id"].as_str(), made.header("x-request-id"));

    let one = house.ask_as("ann", Ask::get("/audit?limit=1")).await;
    assert_eq!((&one.body["items"][0]["name"], &one.body["total"], &one.body["next"]), (&json!("lan"), &json!(3), &json!(3)));
    let rest = house.ask_as("ann", Ask::get("/audit?before=3&account=ian")).await;
    assert_eq!((&rest.body["items"][0]["name"], &rest.body["next"]), (&json!("vpn"), &Value::Null));
    let later = house.ask_as("ann", Ask::get(&format!("/audit?since={}", house.now() + 1_000))).await;
    assert_eq!(later.body["total"], json!(0));
}
