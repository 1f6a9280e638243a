//! What can be wrong with PostgreSQL.

use cmg_store::{Error, Place, Store};

use crate::configuration::add;
use crate::engines::NOW;
use crate::postgres::{Server, shared};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_change_is_gone_and_comes_back() {
    let Some(mut server) = Server::own() else { return };
    let store = Store::open(Place::Postgres(server.url("postgres"))).await.unwrap();
    add(&store, "endpoint", &["a"]).await;
    let mut change = store.begin(NOW).await.unwrap();
    change.insert_document("endpoint", "b", "{}").await.unwrap();

    server.kill();

    let lost = change.commit().await.err().unwrap();
    assert!(matches!(lost, Error::Gone(_)), "{lost:?}");
    let refused = store.begin(NOW).await.err().unwrap();
    assert!(matches!(refused, Error::Gone(_)), "{refused:?}");
    let refused = store.documents("endpoint").await.err().unwrap();
    assert!(matches!(refused, Error::Gone(_)), "{refused:?}");

    server.start(None);
    add(&store, "endpoint", &["c"]).await;
    let names: Vec<_> = store.documents("endpoint").await.unwrap().into_iter().map(|document| document.name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_gone_and_holds_nobody_up_for_ever() {
    let Some(server) = Server::own() else { return };
    let store = Store::open(Place::Postgres(server.url("postgres"))).await.unwrap();
    add(&store, "endpoint", &["a"]).await;
    let (mut statement, mut view) = (store.begin(NOW).await.unwrap(), store.view().await.unwrap());

    server.signal("STOP");

    let (written, read) = tokio::join!(statement.insert_document("endpoint", "b", "{}"), view.generation());
    assert!(matches!(written, Err(Error::Gone(_))), "{written:?}");
    assert!(matches!(read, Err(Error::Gone(_))), "{read:?}");
    drop((statement, view));
    let refused = store.begin(NOW).await.err().unwrap();
    assert!(matches!(refused, Error::Gone(_) | Error::Busy(_)), "{refused:?}");

    server.signal("CONT");
    // A connection that did not answer is closed in the background.
    while let Err(refused) = store.begin(NOW).await {
        assert!(matches!(refused, Error::Gone(_) | Error::Busy(_)), "{refused:?}");
    }
    add(&store, "endpoint", &["c"]).await;
    let names: Vec<_> = store.documents("endpoint").await.unwrap().into_iter().map(|document| document.name).collect();
    assert_eq!(names, ["a", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_gone_and_its_password_never_prints() {
    let Some(mut server) = Server::own() else { return };
    let place = Place::Postgres(server.url("postgres"));
    server.kill();

    let refused = Store::open(place.clone()).await.err().unwrap();

    assert!(matches!(refused, Error::Gone(_)), "{refused:?}");
    assert!(!format!("{place:?} {refused:?} {refused}").contains("a-password"));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_connection_string_are_named() {
    let Some(server) = shared() else { return };
    let open = async |text: String| {
        let error = Store::open(Place::Postgres(text)).await.err().unwrap();
        assert!(!format!("{error:?}").contains("a-password"), "{error:?}");
        error.to_string()
    };

    assert!(open(server.url("nowhere")).await.contains("createdb"));
    assert!(open("mysql://root:a-password@host/db".into()).await.contains("postgres://"));
    assert!(open("postgres://root:a-password@host:port/db".into()).await.contains("USER:PASSWORD@HOST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let Some(server) = shared() else { return };
    server.run("createdb", &["newer"]);
    let place = Place::Postgres(server.url("newer"));
    Store::open(place.clone()).await.unwrap().close().await;
    server.run("psql", &["-c", "UPDATE schema SET version = 700", "newer"]);

    assert!(matches!(Store::open(place).await, Err(Error::NewerSchema { found: 700, known: cmg_store::SCHEMA })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_and_a_change_that_waits_too_long_say_so() {
    let Some(server) = shared() else { return };
    server.run("createdb", &["slow"]);
    let place = Place::Postgres(server.url("slow"));
    let (store, other) = (Store::open(place.clone()).await.unwrap(), Store::open(place.clone()).await.unwrap());
    let change = other.begin(NOW).await.unwrap();

    let waited = store.begin(NOW).await.err().unwrap();
    assert!(matches!(waited, Error::Busy(_)), "{waited:?}");
    let waited = other.begin(NOW).await.err().unwrap();
    assert!(matches!(waited, Error::Busy(_)), "{waited:?}");
    drop(change);

    server.run("psql", &["-c", "ALTER DATABASE slow SET default_transaction_read_only = on", "slow"]);
    let refused = Store::open(place).await.err().unwrap();
    assert!(matches!(refused, Error::ReadOnly(_)), "{refused:?}");
}
