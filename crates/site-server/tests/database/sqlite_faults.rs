//! SQLite is read-only, held by another program, or full.

use cmg_store::{Place, Store};

use crate::house::{Ask, House};
use crate::watch::{Unchanged, new_point, refused, with_sealed_certificate};

async fn house() -> (House, String) {
    let house = House::new().await;
    with_sealed_certificate(&house).await;
    let secret = house.session("ian").await;
    (house, secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_can_be_read_and_says_what_it_wants() {
    let (house, secret) = house().await;
    let unchanged = Unchanged::since_now(&house).await;
    house.site.store.on_writer("PRAGMA query_only = ON").await.unwrap();

    refused(&house.ask(new_point("lost").bearer(&secret)).await, 503, "unavailable", "read-only: give the site server's user");
    assert_eq!(house.ask(Ask::get("/status").bearer(&secret)).await.status.as_u16(), 200);
    unchanged.check_memory();

    house.site.store.on_writer("PRAGMA query_only = OFF").await.unwrap();
    unchanged.check_all_and_go_on(&house, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_program_holds_is_busy_and_then_free() {
    let (house, secret) = house().await;
    let unchanged = Unchanged::since_now(&house).await;
    let other = Store::open(Place::Sqlite(house.folder().join("site.db"))).await.unwrap();
    let held = other.begin(house.now()).await.unwrap();

    refused(&house.ask(new_point("lost").bearer(&secret)).await, 503, "unavailable", "find what holds it");
    assert_eq!(house.ask(Ask::get("/status").bearer(&secret)).await.status.as_u16(), 200);
    unchanged.check_memory();

    drop(held);
    other.close().await;
    unchanged.check_all_and_go_on(&house, &secret).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_database_takes_nothing_of_the_change_that_does_not_fit() {
    let (house, secret) = house().await;
    // The least that SQLite takes is what the database has already.
    house.site.store.on_writer("PRAGMA max_page_count = 1").await.unwrap();

    for number in 0..1_000 {
        let unchanged = Unchanged::since_now(&house).await;
        let answered = house.ask(new_point(&format!("cp-{number}")).bearer(&secret)).await;
        if answered.status.as_u16() != 201 {
            refused(&answered, 507, "full", "free space on that disk");
            house.site.store.on_writer("PRAGMA max_page_count = 1073741823").await.unwrap();
            unchanged.check_all_and_go_on(&house, &secret).await;
            return;
        }
    }
    panic!("it never was full");
}
