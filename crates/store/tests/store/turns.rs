//! Two site servers at once.

use cmg_store::{BulkRefusal, Store};
use tokio::task::JoinSet;

use crate::clients::bulk_token;
use crate::engines::{Database, NOW, on_both};

on_both! {
    two_open_an_empty_database_at_once,
    two_writers_lose_nothing,
    a_code_is_spent_once_by_many,
    a_bulk_token_is_used_as_often_as_it_may_be,
    a_lease_moves_after_it_ends,
    a_refused_statement_ends_the_change,
    waiting_changes_take_nothing_from_readers,
}

async fn two_open_an_empty_database_at_once(database: Database) {
    // The second engine's database is open already; SQLite gets a file that is not there.
    let place = match &database.place {
        cmg_store::Place::Sqlite(_) => cmg_store::Place::Sqlite(database.folder.path().join("new.db")),
        postgres => postgres.clone(),
    };
    let mut opening: JoinSet<_> = (0..4).map(|_| Store::open(place.clone())).collect();

    while let Some(store) = opening.join_next().await {
        store.unwrap().unwrap().ping().await.unwrap();
    }
}

async fn two_writers_lose_nothing(database: Database) {
    let other = Store::open(database.place.clone()).await.unwrap();
    let mut change = other.begin(NOW).await.unwrap();
    change.insert_document("counter", "c", "0").await.unwrap();
    change.commit().await.unwrap();

    let mut writers: JoinSet<_> = [database.store.clone(), other.clone(), database.store.clone(), other].into_iter().map(count).collect();
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }

    assert_eq!(database.store.document("counter", "c").await.unwrap().unwrap().body, "40");
    assert_eq!(database.store.generation().await.unwrap().number, 40);
}

/// Counts to ten in a document, by reading and writing it.
async fn count(store: Store) {
    for _ in 0..10 {
        let mut change = store.begin(NOW).await.unwrap();
        let document = change.document("counter", "c").await.unwrap().unwrap();
        let next = document.body.parse::<u32>().unwrap() + 1;
        change.replace_document("counter", "c", &next.to_string(), document.version).await.unwrap();
        change.next_generation().await.unwrap();
        change.commit().await.unwrap();
    }
}

async fn a_code_is_spent_once_by_many(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.offer_code("gateway", "g1", b"secret", NOW + 1).await.unwrap();
    change.commit().await.unwrap();
    let other = Store::open(database.place.clone()).await.unwrap();

    let spend = async |store: Store| {
        let mut change = store.begin(NOW).await.unwrap();
        let spent = change.spend_code("gateway", "g1", b"secret").await.unwrap();
        change.commit().await.unwrap();
        spent
    };
    let (first, second) = tokio::join!(spend(database.store.clone()), spend(other));

    assert_eq!(u8::from(first) + u8::from(second), 1);
}

async fn a_bulk_token_is_used_as_often_as_it_may_be(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.add_bulk_token(&bulk_token("t", Some(3))).await.unwrap();
    change.commit().await.unwrap();
    let other = Store::open(database.place.clone()).await.unwrap();

    let mut users = JoinSet::new();
    for number in 0..8 {
        let store = if number % 2 == 0 { database.store.clone() } else { other.clone() };
        users.spawn(async move {
            let mut change = store.begin(NOW).await.unwrap();
            let used = change.use_bulk_token("t").await.unwrap();
            change.commit().await.unwrap();
            used
        });
    }
    let uses = users.join_all().await;

    assert_eq!(uses.iter().filter(|used| used.is_ok()).count(), 3);
    assert_eq!(uses.iter().filter(|used| **used == Err(BulkRefusal::UsedUp)).count(), 5);
    assert_eq!(database.store.bulk_token("t").await.unwrap().unwrap().uses, 3);
}

async fn a_lease_moves_after_it_ends(database: Database) {
    let hold = async |holder: &str, now, until| {
        let mut change = database.store.begin(now).await.unwrap();
        let held = change.hold_lease("crl", holder, until).await.unwrap();
        change.commit().await.unwrap();
        held
    };

    assert!(hold("a", 0, 10).await);
    assert!(!hold("b", 9, 20).await);
    assert!(hold("a", 9, 15).await, "its holder may extend it");
    assert!(!hold("b", 14, 20).await);
    assert!(hold("b", 15, 20).await);
    assert!(!hold("a", 16, 30).await);

    let mut change = database.store.begin(16).await.unwrap();
    change.release_lease("crl", "a").await.unwrap();
    assert_eq!(change.leases().await.unwrap()[0].holder, "b", "only the holder gives it back");
    change.release_lease("crl", "b").await.unwrap();
    assert!(change.hold_lease("crl", "a", 30).await.unwrap());
}

async fn a_refused_statement_ends_the_change(database: Database) {
    let mut change = database.store.begin(NOW).await.unwrap();
    change.insert_document("endpoint", "a", "{}").await.unwrap();
    change.insert_document("endpoint", "a", "{}").await.unwrap_err();

    assert!(change.insert_document("endpoint", "b", "{}").await.is_err());
    assert!(change.commit().await.is_err());

    assert_eq!(database.store.count_documents("endpoint").await.unwrap(), 0);
    let mut change = database.store.begin(NOW).await.unwrap();
    change.insert_document("endpoint", "b", "{}").await.unwrap();
    change.commit().await.unwrap();
}

async fn waiting_changes_take_nothing_from_readers(database: Database) {
    let change = database.store.begin(NOW).await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..20 {
        let store = database.store.clone();
        waiting.spawn(async move { store.begin(NOW).await.map(|_| ()) });
    }

    for _ in 0..20 {
        database.store.ping().await.unwrap();
    }

    drop(change);
    for waited in waiting.join_all().await {
        waited.unwrap();
    }
}
