//! PostgreSQL is killed under a site server, and comes back.

use std::sync::Arc;

use cmg_site_server::app::change::{Actor, ChangeRefused};
use cmg_store::{Error, Place, Store};

use crate::house::{Ask, House};
use crate::postgres::Server;
use crate::watch::{Unchanged, following, new_point, refused, with_sealed_certificate};

/// What whoever reads it is to do.
const CHECK: &str = "check that PostgreSQL runs";

/// `None` if PostgreSQL is not installed.
async fn on_its_own() -> Option<(Server, House)> {
    let server = Server::own()?;
    let house = House::at(Place::Postgres(server.url("postgres")), "site-1", None).await;
    with_sealed_certificate(&house).await;
    Some((server, house))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_requests_it_is_told_and_met_again() {
    let Some((mut server, house)) = on_its_own().await else { return };
    let _following = following(&[&house.site]);
    let secret = house.session("ian").await;
    let unchanged = Unchanged::since_now(&house).await;

    server.kill();

    refused(&house.ask(Ask::get("/status").bearer(&secret)).await, 503, "unavailable", CHECK);
    refused(&house.ask(new_point("lost").bearer(&secret)).await, 503, "unavailable", CHECK);
    unchanged.check_memory();
    assert!(unchanged.has_signed_manifest("gateway/gw-1"), "members are served from memory");
    let why = until(&house, |said| said.is_err()).await.unwrap_err();
    assert!(why.contains(CHECK), "{why}");

    server.start(None);
    until(&house, |said| said.is_ok()).await.unwrap();
    unchanged.check_all_and_go_on(&house, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_change_nothing_of_it_is_stored() {
    let Some((mut server, house)) = on_its_own().await else { return };
    let secret = house.session("ian").await;
    let unchanged = Unchanged::since_now(&house).await;
    let mut draft = house.site.draft(&Actor::default()).await.unwrap();
    let point = serde_json::from_str::<cmg_api::resource::ConnectionPoint>(r#"{"name":"lost"}"#).unwrap();
    draft.insert(point).await.unwrap();

    server.kill();

    let lost = draft.commit().await.unwrap_err();
    assert!(matches!(lost, ChangeRefused::Store(Error::Gone(_))), "{lost:?}");
    unchanged.check_memory();
    server.start(None);
    unchanged.check_all_and_go_on(&house, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_a_request_that_waits_for_its_turn_the_request_is_told() {
    let Some((mut server, house)) = on_its_own().await else { return };
    let house = Arc::new(house);
    let secret = house.session("ian").await;
    let unchanged = Unchanged::since_now(&house).await;
    let other = Store::open(Place::Postgres(server.url("postgres"))).await.unwrap();
    let held = other.begin(house.now()).await.unwrap();

    let ask = || {
        let (house, ask) = (Arc::clone(&house), new_point("lost").bearer(&secret));
        tokio::spawn(async move { house.ask(ask).await })
    };
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    let mut asked = ask();
    while server.run("psql", &["-Atc", waits, "postgres"]).trim() == "0" {
        if asked.is_finished() {
            // It was told that the database is busy before anybody could look.
            asked = ask();
        }
    }
    server.kill();

    refused(&asked.await.unwrap(), 503, "unavailable", CHECK);
    drop(held);
    server.start(None);
    unchanged.check_all_and_go_on(&house, &secret).await;
}

/// What the site server says of its database, once it is as wanted.
async fn until(house: &House, wanted: fn(&Result<(), String>) -> bool) -> Result<(), String> {
    loop {
        let said = house.site.database_answers();
        if wanted(&said) {
            return said;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
