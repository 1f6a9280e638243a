//! Certificates of a trust come and go one by one, known by their thumbprints.

use cmg_lab::Authority;
use serde_json::json;

use crate::house::{Ask, House};

const AT: &str = "/trusts/devices/authorities";

async fn with_trust(root: &Authority) -> House {
    let house = House::new().await;
    let trust = json!({ "name": "devices", "authorities": [root.certificate_pem()], "check_revocation": false });
    assert_eq!(house.ask_as("ian", Ask::post("/trusts", trust)).await.status.as_u16(), 201);
    house
}

async fn subjects(house: &House) -> Vec<String> {
    let listed = house.ask_as("ann", Ask::get(AT)).await;
    let items = listed.body["items"].as_array().unwrap().clone();
    let name = |item: &serde_json::Value| item["subject"].as_str().unwrap().split(',').next().unwrap().to_owned();
    items.iter().map(|item| format!("{} {}", item["kind"].as_str().unwrap(), name(item))).collect()
}

#[tokio::test]
async fn an_authority_is_added_listed_and_removed_by_its_thumbprint() {
    let (root, other) = (Authority::root("First").unwrap(), Authority::root("Second").unwrap());
    let issuing = other.issuing("Issuing").unwrap();
    let house = with_trust(&root).await;
    let both = json!({ "certificates": other.certificate_pem() + &root.certificate_pem() });

    let added = house.ask_as("ian", Ask::post(AT, both.clone())).await;
    let again = house.ask_as("ian", Ask::post(AT, both)).await;
    let between = json!({ "certificates": issuing.certificate_pem(), "intermediate": true });
    house.ask_as("ian", Ask::post(AT, between)).await;

    assert_eq!((added.status.as_u16(), again.status.as_u16()), (200, 200), "{}", added.body);
    assert_eq!(subjects(&house).await, ["root CN=First", "root CN=Second", "intermediate CN=Issuing"]);
    let first = &added.body["items"][0];
    for thumbprint in [first["sha256"].as_str().unwrap().to_uppercase(), issuing_thumbprint(&house).await] {
        let removed = house.ask_as("ian", Ask::delete(&format!("{AT}/{thumbprint}"), "*")).await;
        assert_eq!(removed.status.as_u16(), 204, "{}", removed.body);
    }
    assert_eq!(subjects(&house).await, ["root CN=Second"]);
    assert_eq!(house.site.in_force().model.trusts["devices"].authorities, [other.certificate_pem()]);
}

async fn issuing_thumbprint(house: &House) -> String {
    house.ask_as("ann", Ask::get(AT)).await.body["items"][2]["thumbprint"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_no_certificate_is_not_added_and_the_last_root_stays() {
    let root = Authority::root("First").unwrap();
    let house = with_trust(&root).await;

    let nothing = house.ask_as("ian", Ask::post(AT, json!({ "certificates": "no certificate" }))).await;
    let unknown = house.ask_as("ian", Ask::delete(&format!("{AT}/00ff"), "*")).await;
    let thumbprint = house.ask_as("ann", Ask::get(AT)).await.body["items"][0]["thumbprint"].as_str().unwrap().to_owned();
    let last = house.ask_as("ian", Ask::delete(&format!("{AT}/{thumbprint}"), "*")).await;

    assert_eq!((nothing.status.as_u16(), nothing.keys()), (422, vec!["certificates"]), "{}", nothing.body);
    assert_eq!(unknown.status.as_u16(), 404);
    assert_eq!((last.status.as_u16(), last.keys()), (422, vec!["authorities"]), "{}", last.body);
    assert_eq!(subjects(&house).await, ["root CN=First"]);
}
