//! The policy of clients: published with management points, signed, and the same as long as nothing in it changes.

use cmg_api::ManagementPointDocument;
use cmg_api::bytes::Sha256;
use cmg_api::control::{GenerationId, Signed};
use cmg_api::policy::{IntranetManagementPoint, POLICY_CONTEXT, Policy};
use cmg_core::time::WallTime;
use cmg_credentials::members::Statement;
use cmg_site_server::app::fetching::Fetcher;
use cmg_site_server::jobs::{Last, once};
use cmg_site_server::site::Site;
use serde_json::json;

use crate::house::{Ask, House};
use crate::seen::{enrol, made};

async fn a_house() -> House {
    let house = House::new().await;
    made(&house, "/management-points", json!({ "name": "mp-1", "host": "mp1.corp.example" })).await;
    enrol(&house, "management-point", "mp-1", "01AB").await;
    house
}

/// The part that the management point is told to fetch.
fn signed(site: &Site) -> Signed {
    let in_force = site.in_force();
    let parts = &in_force.publication.parts;
    let document = &parts[&in_force.publication.manifests["management-point/mp-1"].document];
    let document: ManagementPointDocument = toml::from_str(std::str::from_utf8(document).unwrap()).unwrap();
    let digest = Sha256::of_path(document.policy.as_deref().unwrap()).unwrap();
    assert!(in_force.publication.manifests["management-point/mp-1"].parts.contains_key(&digest));
    serde_json::from_slice(&parts[&digest]).unwrap()
}

/// What it says, verified.
fn policy(site: &Site) -> Policy {
    let signed = signed(site);
    let chain: Vec<_> = signed.chain.iter().map(|der| &der.0).collect();
    let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
    statement.verify(POLICY_CONTEXT, site.keys().roots().as_slice(), WallTime(site.now().0)).unwrap();
    serde_json::from_str(&signed.payload).unwrap()
}

#[tokio::test]
async fn a_management_point_gets_the_policy_signed() {
    let house = a_house().await;
    let settings = json!({ "name": "default", "policy_every": "5m", "agents": { "osquery": { "interval": 60 } } });
    made(&house, "/client-settings", settings).await;
    made(&house, "/boundary-groups", json!({ "name": "hq", "networks": ["10.1.0.0/16"], "site_systems": ["mp-1"] })).await;

    let policy = policy(&house.site);

    let expected = IntranetManagementPoint { name: "mp-1".to_owned(), url: "https://mp1.corp.example:8446".to_owned() };
    assert_eq!((policy.management_points, policy.generation), (vec![expected], house.site.in_force().generation()));
    assert_eq!((policy.client.policy_every, &policy.agents["osquery"]["interval"]), (300, &json!(60)));
    assert_eq!((policy.boundary_groups[0].name.as_str(), policy.roots.len()), ("hq", 1));
    assert_eq!(policy.site, house.site.code);
}

#[tokio::test]
async fn what_clients_are_not_told_keeps_the_policy_and_what_they_are_told_changes_it() {
    let house = a_house().await;
    let before = signed(&house.site);

    made(&house, "/connection-points", json!({ "name": "cp-1" })).await;
    assert_eq!(signed(&house.site), before);
    let (other, _) = house.other().await;
    assert_eq!(signed(&other), before, "every site server publishes the same");

    made(&house, "/internet-servers", json!({ "name": "dmz", "management_points": ["https://ibcm.example.com"] })).await;
    let after = policy(&house.site);
    assert_eq!((after.services[0].name.as_str(), after.generation), ("dmz", house.site.in_force().generation()));
}

#[tokio::test]
async fn another_signing_key_signs_the_policy_anew() {
    let house = a_house().await;
    let before = signed(&house.site);

    let rolled = house.ask_as("fay", Ask::post("/keys/snapshots/roll", json!({}))).await;

    assert!(rolled.status.is_success(), "{rolled:?}");
    let after = signed(&house.site);
    assert_ne!(after.chain, before.chain);
    assert!(policy(&house.site).generation > serde_json::from_str::<Policy>(&before.payload).unwrap().generation);
}

#[tokio::test]
async fn a_policy_that_is_missing_or_of_an_earlier_epoch_is_signed_by_the_job() {
    let house = a_house().await;
    let place = format!("policy/{}", house.site.code);
    let mut older: Policy = policy(&house.site);
    older.generation = GenerationId { epoch: 0, number: 99 };
    let older = house.site.keys().snapshots.sign(POLICY_CONTEXT, serde_json::to_string(&older).unwrap()).unwrap();
    for kept in [None, Some(serde_json::to_vec(&older).unwrap())] {
        let mut change = house.site.store.begin(house.now()).await.unwrap();
        match &kept {
            Some(text) => change.put_secret(&place, text).await.unwrap(),
            None => _ = change.remove_secret(&place).await.unwrap(),
        }
        change.commit().await.unwrap();
        let (other, _) = house.other().await;
        let found = other.in_force().ground.policies.get(&house.site.code).cloned();
        assert_eq!(found.as_deref(), kept.as_deref(), "as it was read");

        once(&other, &Fetcher::of_system(), house.now(), &mut Last::default()).await;

        assert_eq!(policy(&other).generation, other.in_force().generation());
        let settled = other.in_force().generation();
        once(&other, &Fetcher::of_system(), house.now(), &mut Last::default()).await;
        assert_eq!(other.in_force().generation(), settled, "it is done once");
    }
}
