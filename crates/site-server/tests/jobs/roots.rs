//! Roots follow each other, and nobody is stranded.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::{Enrolled, GenerationId, Manifest, Signed};
use cmg_authority::RootExport;
use cmg_credentials::members::{Purpose, role};
use cmg_site_server::app::change::Actor;
use cmg_site_server::app::enrol;
use cmg_site_server::app::issuers::{RenewRefused, Which, renew};
use cmg_site_server::app::roots::command::{RootsRefused, add, remove};
use cmg_site_server::app::roots::keep;
use serde_json::json;

use crate::enrolment::{a_key, code, renewal, request, with_point};
use crate::house::{House, config};
use crate::issuers::{PASSPHRASE, client};
use crate::rollover::member_says;
use crate::seen::made;

/// Waits until the site server has what was changed beside it.
async fn follows(house: &House, generation: GenerationId) {
    let mut newest = house.site.newest();
    let following = tokio::spawn(Arc::clone(&house.site).keep_fresh());
    newest.wait_for(|newest| *newest == generation).await.unwrap();
    following.abort();
}

/// What the connection point is told.
fn signed(house: &House) -> Signed {
    house.site.in_force().signed["connection-point/cp-1"].clone()
}

fn authorities(house: &House) -> Vec<Vec<u8>> {
    let manifest: Manifest = serde_json::from_str(&signed(house).payload).unwrap();
    manifest.authorities.into_iter().map(|root| root.0).collect()
}

fn is_under(enrolled: &Enrolled, root: &[u8], house: &House) -> bool {
    let chain: Vec<&[u8]> = enrolled.chain.iter().map(|der| der.0.as_slice()).collect();
    role(&chain, Purpose::Client, &[root.to_vec()], house.site.now()).is_ok()
}

#[tokio::test]
async fn a_new_root_issues_when_everybody_knows_it_and_the_earlier_one_goes_when_nobody_needs_it() {
    let house = with_point().await;
    let (site, config) = (&house.site, config(house.folder(), "site-1"));
    let (key, actor) = (a_key(), Actor::default());
    let enrolled = enrol::enrol(site, &actor, &request(&code(site).await, &key)).await.unwrap();
    let device = client(&house, "pc1", 30).await;
    let (old, export) = (site.keys().infrastructure_root.clone(), house.folder().join("second.txt"));

    let added = add(&config, &export, PASSPHRASE, site.now()).await.unwrap();
    follows(&house, added.generation).await;
    let new = RootExport::read(&export).unwrap().open(PASSPHRASE).unwrap().infrastructure_certificate().to_vec();
    assert_eq!(authorities(&house), [old.clone(), new.clone()], "it is told before it issues");
    assert_eq!(added.waits_for, ["connection-point/cp-1: it does not know the new root yet"]);
    assert!(!keep(site, house.now()).await.unwrap());
    assert!(matches!(remove(&config, site.now()).await, Err(RootsRefused::Waits(_))));
    assert!(matches!(add(&config, &house.folder().join("third.txt"), PASSPHRASE, site.now()).await, Err(RootsRefused::TwoAlready)));
    let clients = site.in_force().ground.site_clients.clone().unwrap();
    assert_eq!((clients.roots.len(), clients.root_lists.len(), clients.issuers.len(), clients.lists.len()), (2, 2, 2, 2));

    member_says(&house, "connection-point", "cp-1", added.generation).await;
    while !keep(site, house.now()).await.unwrap() {
        // What was issued a moment ago must lie in another second.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(authorities(&house), [new.clone(), old.clone()]);
    let Err(RootsRefused::Needed(needed)) = remove(&config, site.now()).await else { panic!("it is needed") };
    assert_eq!(needed.len(), 2, "{needed:?}");
    assert!(needed[0].starts_with("connection-point/cp-1") && needed[1].starts_with("client/pc1"), "{needed:?}");
    let renewed = enrol::renew(site, &actor, &renewal(&key, &enrolled)).await.unwrap();
    assert!(is_under(&renewed, &new, &house) && is_under(&enrolled, &old, &house), "it is renewed though it is not due");
    made(&house, &format!("/issued-certificates/{}/revoke", device.serial), json!({})).await;

    let generation = remove(&config, site.now()).await.unwrap();
    follows(&house, generation).await;
    assert_eq!(authorities(&house), [new]);
    let clients = site.in_force().ground.site_clients.clone().unwrap();
    assert_eq!((clients.roots.len(), clients.root_lists.len(), clients.issuers.len(), clients.lists.len()), (1, 1, 1, 1));
    assert!(matches!(remove(&config, site.now()).await, Err(RootsRefused::OneOnly)));
    let with_old = renew(&config, &house.folder().join("site-root-keys.txt"), PASSPHRASE, Which::BOTH, site.now()).await;
    assert!(matches!(with_old, Err(RenewRefused::OtherRoots { .. })), "{with_old:?}");
    renew(&config, &export, PASSPHRASE, Which::BOTH, site.now()).await.unwrap();
}

#[tokio::test]
async fn a_code_that_pins_the_earlier_root_is_waited_for() {
    let house = with_point().await;
    let (site, config, key) = (&house.site, config(house.folder(), "site-1"), a_key());
    let code = code(site).await;
    let added = add(&config, &house.folder().join("second.txt"), PASSPHRASE, site.now()).await.unwrap();
    follows(&house, added.generation).await;

    assert_eq!(added.waits_for, ["connection-point/cp-1: its enrolment code is not used yet"]);
    assert!(!keep(site, house.now()).await.unwrap());

    let enrolled = enrol::enrol(site, &Actor::default(), &request(&code, &key)).await.unwrap();
    assert!(is_under(&enrolled, &site.keys().infrastructure_root, &house));
}

#[tokio::test]
async fn without_a_file_for_its_keys_no_root_is_added() {
    let house = House::new().await;
    let config = config(house.folder(), "site-1");
    let before = house.site.in_force().generation();
    let taken = house.folder().join("site-root-keys.txt");

    for (export, passphrase) in [(taken, PASSPHRASE), (house.folder().join("new.txt"), "short")] {
        assert!(matches!(add(&config, &export, passphrase, house.site.now()).await, Err(RootsRefused::Export(_))));
    }

    let (other, _) = house.other().await;
    assert_eq!((other.in_force().generation(), other.keys().roots().len()), (before, 1));
}
