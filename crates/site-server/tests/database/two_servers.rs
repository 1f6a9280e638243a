//! Two site servers on one PostgreSQL.

use std::collections::BTreeSet;
use std::sync::Arc;

use cmg_site_server::jobs::{self, HELD, hold};
use cmg_site_server::site::Site;
use cmg_store::Place;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::house::{Ask, House};
use crate::seen::{block_lines, made};
use crate::watch::{database, following, in_force, new_point, with_sealed_certificate};

/// `None` if PostgreSQL is not installed.
async fn two() -> Option<(House, House)> {
    two_at().await.map(|(_, first, second)| (first, second))
}

async fn two_at() -> Option<(Place, House, House)> {
    let (_, place) = database()?;
    let first = House::at(place.clone(), "site-1", None).await;
    let second = House::at(place.clone(), "site-2", Some(&first)).await;
    Some((place, first, second))
}

/// Whether both tell their members the same, to the byte.
fn tell_the_same(one: &Site, other: &Site) {
    let (one, other) = (one.in_force(), other.in_force());
    assert_eq!(one.publication.manifests, other.publication.manifests);
    assert_eq!(one.publication.parts, other.publication.parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_at_one_is_in_force_at_the_other() {
    let Some((first, second)) = two().await else { return };
    let _following = following(&[&first.site, &second.site]);

    with_sealed_certificate(&first).await;
    made(&first, "/blocks", json!({ "token": "stolen" })).await;

    in_force(&second.site, first.site.in_force().generation()).await;
    tell_the_same(&first.site, &second.site);
    assert_eq!(block_lines(&second.site), ["token stolen"]);
    let manifest = second.site.in_force().publication.manifests["gateway/gw-1"].clone();
    assert!(manifest.parts.contains_key(&manifest.sealed["web"]));

    made(&second, "/blocks", json!({ "token": "other" })).await;

    in_force(&first.site, second.site.in_force().generation()).await;
    tell_the_same(&first.site, &second.site);
    assert_eq!(block_lines(&first.site), ["token other", "token stolen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_builds_on_what_the_other_has_changed_and_nobody_has_followed_yet() {
    let Some((first, second)) = two().await else { return };
    with_sealed_certificate(&first).await;
    let sealed = first.site.in_force().publication.manifests["gateway/gw-1"].sealed.clone();

    made(&second, "/connection-points", json!({ "name": "cp-1" })).await;

    let after = second.site.in_force();
    assert_eq!(after.generation().number, first.site.in_force().generation().number + 1);
    assert_eq!(after.publication.manifests["gateway/gw-1"].sealed, sealed);
    assert!(after.publication.parts.contains_key(&sealed["web"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_site_server_tells_what_the_first_two_tell() {
    let Some((place, first, second)) = two_at().await else { return };
    let _following = following(&[&second.site]);
    with_sealed_certificate(&first).await;
    in_force(&second.site, first.site.in_force().generation()).await;

    let third = House::at(place, "site-3", Some(&first)).await;

    tell_the_same(&first.site, &third.site);
    tell_the_same(&second.site, &third.site);
    assert!(!third.site.in_force().publication.manifests["gateway/gw-1"].sealed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_at_both_at_once_lose_nothing() {
    let Some((first, second)) = two().await else { return };
    let (first, second) = (Arc::new(first), Arc::new(second));
    let _following = following(&[&first.site, &second.site]);
    let secret = first.session("ian").await;
    let before = first.site.in_force().generation();

    let mut changes = JoinSet::new();
    for number in 0..40 {
        let house = Arc::clone(if number % 2 == 0 { &first } else { &second });
        let (name, secret) = (format!("cp-{number:02}"), secret.clone());
        changes.spawn(async move {
            loop {
                let answered = house.ask(new_point(&name).bearer(&secret)).await;
                // On a slow machine a turn may not come in time, and whoever asked asks again.
                if answered.status.as_u16() != 503 {
                    return answered;
                }
            }
        });
    }
    let answers = changes.join_all().await;

    assert!(answers.iter().all(|answered| answered.status.as_u16() == 201), "{answers:?}");
    let generations: BTreeSet<_> = answers.iter().map(|answered| answered.header("x-generation").unwrap().to_owned()).collect();
    let wanted: BTreeSet<_> = (1..=40).map(|more| format!("{}.{}", before.epoch, before.number + more)).collect();
    assert_eq!(generations, wanted);
    let last = cmg_api::control::GenerationId { number: before.number + 40, ..before };
    let names: Vec<_> = (0..40).map(|number| format!("cp-{number:02}")).collect();
    for house in [&first, &second] {
        in_force(&house.site, last).await;
        assert!(house.site.in_force().model.connection_points.keys().eq(&names));
    }
    let audit = first.ask(Ask::get("/audit?kind=connection-point&limit=100").bearer(&secret)).await;
    let audited: BTreeSet<_> = audit.body["items"].as_array().unwrap().iter().map(|record| record["name"].as_str().unwrap()).collect();
    assert!(audited.into_iter().eq(names.iter().map(String::as_str)), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_version_is_changed_by_one_of_both() {
    let Some((first, second)) = two().await else { return };
    let secret = first.session("ian").await;
    let made = first.ask(new_point("cp").bearer(&secret)).await;
    let version = made.header("etag").unwrap().to_owned();

    let body = |text: &str| json!({ "name": "cp", "description": text });
    let (one, other) = tokio::join!(
        first.ask(Ask::put("/connection-points/cp", &version, body("one")).bearer(&secret)),
        second.ask(Ask::put("/connection-points/cp", &version, body("other")).bearer(&secret)),
    );

    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412], "{one:?} {other:?}");
    let shown = first.ask(Ask::get("/connection-points/cp").bearer(&secret)).await;
    let won = if one.status.as_u16() == 200 { "one" } else { "other" };
    assert_eq!(shown.body["description"], Value::from(won));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_done_by_one_and_by_the_other_after_it_stopped() {
    let Some((first, second)) = two().await else { return };
    let _following = following(&[&second.site]);
    let mut newest = first.site.newest();
    newest.mark_unchanged();

    let running = tokio::spawn(jobs::run(Arc::clone(&first.site), jobs::holder(&first.site)));
    newest.changed().await.unwrap();
    let lease = first.site.store.leases().await.unwrap().remove(0);
    assert!(lease.holder.starts_with("site-1/"), "{lease:?}");
    assert!(!hold(&second.site, "two", lease.until - 1).await.unwrap());
    running.abort();
    running.await.unwrap_err();

    let until = first.site.store.leases().await.unwrap().remove(0).until;
    assert!(hold(&second.site, "two", until).await.unwrap());
    assert!(!hold(&first.site, "one", until + HELD - 1).await.unwrap());
    jobs::give_back(&first.site, "one").await.unwrap();
    assert!(!hold(&first.site, "one", until + 1).await.unwrap(), "it is not theirs to give back");
    jobs::give_back(&second.site, "two").await.unwrap();
    assert!(hold(&first.site, "one", until + 1).await.unwrap());
    in_force(&second.site, first.site.in_force().generation()).await;
    tell_the_same(&first.site, &second.site);
}
