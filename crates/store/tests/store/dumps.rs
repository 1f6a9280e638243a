//! Backup and restore, from either engine into either.

use cmg_store::{Error, Store};

use crate::clients::{bulk_token, client};
use crate::configuration::{add, block};
use crate::engines::{Database, NOW, on_both};
use crate::sign_in::fields;

on_both! {
    a_dump_loads_into_an_empty_database,
    a_dump_does_not_load_over_anything,
    a_dump_of_a_newer_program_is_refused,
    a_damaged_dump_leaves_nothing,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_of_one_engine_loads_into_the_other_and_back() {
    let Some(postgres) = Database::postgres().await else { return };
    let (sqlite, back) = (Database::sqlite().await, Database::sqlite().await);
    fill(&sqlite.store).await;
    let dump = sqlite.store.dump().await.unwrap();

    postgres.store.load(&dump, NOW).await.unwrap();
    back.store.load(&postgres.store.dump().await.unwrap(), NOW).await.unwrap();

    assert_eq!(sorted(&postgres.store.dump().await.unwrap()), sorted(&dump));
    assert_eq!(sorted(&back.store.dump().await.unwrap()), sorted(&dump));
    assert_eq!(postgres.store.secret("key").await.unwrap(), Some(vec![0, 255, 10]));
    let mut change = postgres.store.begin(NOW).await.unwrap();
    assert_eq!(change.append_audit(&Default::default()).await.unwrap(), 2, "ids go on");
    assert_eq!(change.raise_epoch().await.unwrap().epoch, NOW as u64);
}

async fn a_dump_loads_into_an_empty_database(database: Database) {
    let source = Database::sqlite().await;
    fill(&source.store).await;
    let dump = source.store.dump().await.unwrap();

    database.store.load(&dump, NOW).await.unwrap();

    assert_eq!(sorted(&database.store.dump().await.unwrap()), sorted(&dump));
    assert_eq!(database.store.site().await.unwrap(), source.store.site().await.unwrap());
}

async fn a_dump_does_not_load_over_anything(database: Database) {
    let source = Database::sqlite().await;
    fill(&source.store).await;
    add(&database.store, "endpoint", &["another"]).await;

    assert!(matches!(database.store.load(&source.store.dump().await.unwrap(), NOW).await, Err(Error::Conflict)));

    assert_eq!(database.store.all_documents().await.unwrap().len(), 1);
    assert_eq!(database.store.site().await.unwrap().code, None);
}

async fn a_dump_of_a_newer_program_is_refused(database: Database) {
    let refused = database.store.load("{\"schema\":7}\n", NOW).await;

    assert!(matches!(refused, Err(Error::NewerSchema { found: 7, .. })));
}

async fn a_damaged_dump_leaves_nothing(database: Database) {
    let before = database.store.dump().await.unwrap();
    let good = before.clone() + "[\"secrets\",{\"name\":\"a\",\"ciphertext\":{\"bytes\":\"AA==\"}}]\n";
    let head = before.lines().next().unwrap();
    let endings =
        ["[\"secrets\"", "[\"secrets\",{\"name\":\"b\",\"ciphertext\":{\"bytes\":\"?\"}}]", "[\"secrets\",{\"name\":\"b\",\"unknown\":1}]"];

    for ending in endings {
        assert!(matches!(database.store.load(&format!("{good}{ending}"), NOW).await, Err(Error::Other(..))), "{ending}");
    }
    for unknown in ["[\"schema\",{\"version\":1}]", "[\"secrets\",{\"name) --\":1}]", "[\"secrets\",{}]"] {
        let refused = database.store.load(&format!("{good}{unknown}"), NOW).await.unwrap_err().to_string();
        assert!(refused.contains("names what this program does not know"), "{refused}");
    }
    assert!(matches!(database.store.load(head, NOW).await, Err(Error::Other(..))), "a dump without its site");
    assert!(matches!(database.store.load("", NOW).await, Err(Error::Other(..))));

    assert_eq!(database.store.dump().await.unwrap(), before);
    database.store.load(&good, NOW).await.unwrap();
}

/// Rows have no order within a table.
fn sorted(dump: &str) -> Vec<&str> {
    let mut lines: Vec<_> = dump.lines().collect();
    lines.sort_unstable();
    lines
}

/// Something in most tables, with NULLs, bytes, line ends and quotes.
async fn fill(store: &Store) {
    let mut change = store.begin(NOW).await.unwrap();
    change.found_site("ABC").await.unwrap();
    change.next_generation().await.unwrap();
    change.insert_document("endpoint", "a\n\"b'ü", "{\"a\":\n1}").await.unwrap();
    change.add_block(&block("1", "one")).await.unwrap();
    change.append_audit(&Default::default()).await.unwrap();
    change.add_account("ann", &fields(None)).await.unwrap();
    change.add_api_token("t", "ann", "ci", b"\0\xff", NOW).await.unwrap();
    change.add_session(b"\0", "ann", NOW).await.unwrap();
    change.note_sign_in_failure("ann").await.unwrap();
    change.offer_code("gateway", "g1", b"secret", NOW).await.unwrap();
    change.put_secret("key", &[0, 255, 10]).await.unwrap();
    change.add_bulk_token(&bulk_token("b", None)).await.unwrap();
    change.add_client(&client("1")).await.unwrap();
    change.put_heartbeat("1", NOW, "{}").await.unwrap();
    change.hold_lease("job", "me", NOW).await.unwrap();
    change.note_crl_failure("pki", "http://crl", "refused").await.unwrap();
    change.raise_warning("w", "expiry", "cert", "soon").await.unwrap();
    change.commit().await.unwrap();
}
