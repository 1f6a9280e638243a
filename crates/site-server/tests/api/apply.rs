//! A whole configuration in one change.

use serde_json::{Value, json};

use crate::house::{Answered, Ask, House, PASSWORD};

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

fn of(kind: &str, resource: Value) -> Value {
    json!({ "resources": [{ "kind": kind, "resource": resource }] })
}

fn provider() -> Value {
    json!({ "kind": "sign-in-provider", "resource": {
        "name": "corp", "issuer": "https://login.example", "client_id": "console", "site_url": "https://site.example",
    } })
}

fn people() -> Value {
    let eve = json!({ "name": "eve", "role": "full-administrator", "oidc": { "provider": "corp", "subject": "s-1" } });
    let ann = json!({ "name": "ann", "role": "infrastructure-administrator" });
    // The provider stands last, and still is there when the account is tied to it.
    json!({ "resources": [{ "kind": "account", "resource": eve }, { "kind": "account", "resource": ann }, provider()] })
}

#[tokio::test]
async fn accounts_are_applied_and_the_same_again_ends_no_session() {
    let house = House::new().await;

    let dry = house.ask_as("fay", Ask::post("/apply?dry_run=true", people())).await;
    assert_eq!((dry.status.as_u16(), counts(&dry), house.records().await), (200, [2, 1, 0, 0], 0), "{dry:?}");
    let first = house.ask_as("fay", Ask::post("/apply", people())).await;
    let session = house.session("ann").await;
    let records = house.records().await;
    let again = house.ask_as("fay", Ask::post("/apply", people())).await;

    assert_eq!((counts(&first), records), ([2, 1, 0, 0], 3));
    let ann = first.body["resources"].as_array().unwrap().iter().find(|difference| difference["name"] == "ann").unwrap();
    let role = json!([{ "field": "role", "before": "read-only-analyst", "after": "infrastructure-administrator" }]);
    assert_eq!((&ann["kind"], &ann["fields"]), (&json!("account"), &role));
    assert_eq!((counts(&again), house.records().await), ([0, 0, 0, 3], records));
    assert_eq!(house.ask(Ask::get("/whoami").bearer(&session)).await.status.as_u16(), 200);
    let eve = house.ask_as("fay", Ask::get("/accounts/eve")).await.body;
    assert_eq!((&eve["has_password"], &eve["oidc"]["issuer"]), (&json!(false), &json!("https://login.example")));
    let shown = house.ask_as("fay", Ask::post("/apply", of("account", eve))).await;
    assert_eq!(counts(&shown), [0, 0, 0, 1], "what was shown can be sent back: {shown:?}");
}

#[tokio::test]
async fn an_account_that_would_need_a_password_is_told_how_to_get_it() {
    let house = House::new().await;
    let list = json!({ "resources": [
        { "kind": "account", "resource": { "name": "eve", "role": "read-only-analyst", "password": PASSWORD } },
        { "kind": "account", "resource": { "name": "e v", "role": "king" } },
    ] });
    let new = of("account", json!({ "name": "eve", "role": "read-only-analyst" }));

    let read = house.ask_as("fay", Ask::post("/apply", list)).await;
    let refused = house.ask_as("fay", Ask::post("/apply", new)).await;

    assert_eq!((read.status.as_u16(), read.keys()), (422, vec!["resources[0].resource.password", "resources[1].resource.role"]));
    assert!(read.body.to_string().contains("cmg account password eve"), "{read:?}");
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, vec!["resources[0].resource.oidc"]));
    assert!(refused.body.to_string().contains("cmg account new eve --role read-only-analyst"), "{refused:?}");
    house.ask_as("fay", Ask::post("/apply", people())).await;
    let untied = house.ask_as("fay", Ask::post("/apply", of("account", json!({ "name": "eve", "role": "full-administrator" })))).await;
    assert_eq!(untied.keys(), ["resources[0].resource.oidc"], "nothing would be left to sign in by");
}

#[tokio::test]
async fn accounts_are_applied_by_full_administrators_and_one_of_them_is_left() {
    let house = House::new().await;
    let all = ["ann", "ian"].map(|name| json!({ "kind": "account", "resource": { "name": name, "role": "read-only-analyst" } }));

    let by_another = house.ask_as("ian", Ask::post("/apply", json!({ "resources": all }))).await;
    let pruned_by_another = house.ask_as("ian", Ask::post("/apply?prune=account", json!({ "resources": [] }))).await;
    let without_oneself = house.ask_as("fay", Ask::post("/apply?prune=account", json!({ "resources": all }))).await;
    let nobody_left = house.ask_as("fay", Ask::post("/apply", of("account", json!({ "name": "fay", "role": "read-only-analyst" })))).await;

    assert_eq!([by_another.status.as_u16(), pruned_by_another.status.as_u16()], [403, 403]);
    assert_eq!((without_oneself.keys(), nobody_left.keys()), (vec!["accounts/fay"], vec!["accounts"]));
    assert_eq!(house.records().await, 0);
    let fay = json!({ "kind": "account", "resource": { "name": "fay", "role": "full-administrator" } });
    let pruned = house.ask_as("fay", Ask::post("/apply?prune=account", json!({ "resources": [all[0], fay] }))).await;
    assert_eq!(counts(&pruned), [0, 0, 1, 2], "{pruned:?}");
    assert_eq!(house.ask_as("fay", Ask::get("/accounts/ian")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn accounts_follow_each_other_in_one_list_as_administrators() {
    let house = House::new().await;
    let role = |name: &str, role: &str| json!({ "kind": "account", "resource": { "name": name, "role": role } });

    let list = json!({ "resources": [role("fay", "read-only-analyst"), role("ann", "full-administrator")] });
    let changed = house.ask_as("fay", Ask::post("/apply", list)).await;

    assert_eq!((changed.status.as_u16(), counts(&changed)), (200, [0, 2, 0, 0]), "{changed:?}");
}

fn blocks() -> Value {
    let block = |resource: Value| json!({ "kind": "block", "resource": resource });
    json!({ "resources": [
        block(json!({ "thumbprint": "AB".repeat(20), "note": "stolen" })),
        block(json!({ "serial": "0A", "issuer": "CN=CA" })),
        block(json!({ "token": "t-1" })),
        block(json!({ "client": "c-1" })),
    ] })
}

#[tokio::test]
async fn blocks_are_applied_once_and_lifted_where_that_is_said() {
    let house = House::new().await;

    let dry = house.ask_as("ian", Ask::post("/apply?dry_run=true", blocks())).await;
    assert_eq!((counts(&dry), house.records().await), ([4, 0, 0, 0], 0), "{dry:?}");
    let first = house.ask_as("ian", Ask::post("/apply", blocks())).await;
    let (generation, records) = (house.site.in_force().generation(), house.records().await);
    let again = house.ask_as("ian", Ask::post("/apply", blocks())).await;
    let unchanged = (house.site.in_force().generation(), house.records().await);
    let one = json!({ "resources": [blocks()["resources"][0]] });
    let pruned = house.ask_as("ian", Ask::post("/apply?prune=block", one)).await;

    assert_eq!((counts(&first), counts(&again), unchanged), ([4, 0, 0, 0], [0, 0, 0, 4], (generation, records)));
    assert_eq!(counts(&pruned), [0, 0, 3, 1], "{pruned:?}");
    let left = house.ask_as("ann", Ask::get("/blocks")).await.body;
    assert_eq!(
        (&left["total"], &left["items"][0]["value"], &left["items"][0]["note"]),
        (&json!(1), &json!("ab".repeat(20)), &json!("stolen"))
    );
}

#[tokio::test]
async fn the_block_of_a_client_that_was_removed_is_not_pruned() {
    let house = House::new().await;
    house.ask_as("ian", Ask::post("/blocks", json!({ "client": "c-1", "note": "removed" }))).await;
    house.ask_as("ian", Ask::post("/blocks", json!({ "client": "c-2" }))).await;

    let pruned = house.ask_as("ian", Ask::post("/apply?prune=block", json!({ "resources": [] }))).await;

    assert_eq!((counts(&pruned), &pruned.body["resources"][0]["name"]), ([0, 0, 1, 0], &json!("client c-2")));
}

#[tokio::test]
async fn blocks_of_a_list_are_judged_at_their_places() {
    let house = House::new().await;
    let list = json!({ "resources": [
        { "kind": "gateway", "resource": { "name": "main", "host": "cmg.example" } },
        { "kind": "block", "resource": { "thumbprint": "xx" } },
        { "kind": "block", "resource": { "token": "a", "client": "b" } },
        { "kind": "block", "resource": { "tokens": "a" } },
    ] });

    let refused = house.ask_as("ian", Ask::post("/apply", list)).await;

    let keys = ["resources[3].resource.tokens", "resources[2].resource", "resources[1].resource.thumbprint"];
    assert_eq!((refused.status.as_u16(), refused.keys()), (422, keys.to_vec()));
}
