//! Jobs are done by one site server at a time, and by another one when it has died.

use cmg_site_server::app::fetching::Fetcher;
use cmg_site_server::jobs::{self, HELD, hold};

use crate::house::House;

#[tokio::test]
async fn one_site_server_works_and_another_takes_over_when_it_died() {
    let house = House::new().await;
    let (other, _) = house.other().await;
    let now = house.now();

    assert!(hold(&house.site, "one", now).await.unwrap());
    assert!(!hold(&other, "other", now + HELD - 1).await.unwrap());
    assert!(hold(&house.site, "one", now + 10).await.unwrap());
    assert!(!hold(&other, "other", now + HELD + 9).await.unwrap());

    assert!(hold(&other, "other", now + HELD + 10).await.unwrap());
    assert!(!hold(&house.site, "one", now + HELD + 11).await.unwrap());
}

#[tokio::test]
async fn who_holds_the_lease_makes_the_sites_list_by_itself() {
    let house = House::new().await;
    let mut newest = house.site.newest();
    newest.mark_unchanged();

    let running = tokio::spawn(jobs::run(std::sync::Arc::clone(&house.site), jobs::holder(&house.site)));

    newest.changed().await.unwrap();
    assert_eq!(house.site.in_force().ground.site_clients.as_ref().unwrap().lists.len(), 1);
    running.abort();
}

#[tokio::test]
async fn who_does_not_hold_the_lease_does_nothing() {
    let house = House::new().await;
    assert!(hold(&house.site, "another", house.now()).await.unwrap());
    let before = house.site.in_force().generation();

    let running = tokio::spawn(jobs::run(std::sync::Arc::clone(&house.site), jobs::holder(&house.site)));
    // Its first try is over when a second one of ours comes through after it.
    while house.site.store.leases().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    for _ in 0..20 {
        hold(&house.site, "another", house.now()).await.unwrap();
    }

    assert_eq!(house.site.in_force().generation(), before);
    running.abort();
}

#[tokio::test]
async fn a_job_that_fails_keeps_no_other_from_its_work() {
    let house = House::new().await;
    crate::seen::made(
        &house,
        "/token-issuers",
        serde_json::json!({
            "name": "gone", "kind": "oidc", "issuer": "https://localhost:1", "token_kind": "oidc-user", "allow_private_addresses": true,
        }),
    )
    .await;
    let mut last = jobs::Last::default();

    jobs::once(&house.site, &Fetcher::believing(Vec::new()), house.now(), &mut last).await;

    assert!(last.warned.is_some() && last.forgot.is_some());
    assert_eq!(house.site.in_force().ground.site_clients.as_ref().unwrap().lists.len(), 1);
}
