//! What can be wrong with a SQLite file. A full disk and a write refused in mid-change are tested beside `Store`, on its own connection.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use cmg_store::{Error, Place, SCHEMA, Store};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::configuration::add;
use crate::engines::{Database, NOW};

/// Names the database to the child process that may not write it.
const READ_ONLY: &str = "CMG_STORE_READ_ONLY";

/// The account `nobody` of every Linux.
const NOBODY: u32 = 65534;

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_for_its_owner_alone() {
    let database = Database::sqlite().await;
    add(&database.store, "endpoint", &["a"]).await;

    for file in std::fs::read_dir(database.folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_written_ahead() {
    let database = Database::sqlite().await;

    let mut connection = raw(&database).await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();

    assert_eq!(mode, "wal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused() {
    let database = Database::sqlite().await;
    raw(&database).await.execute("UPDATE schema SET version = 700").await.unwrap();

    let refused = Store::open(database.place.clone()).await.err().unwrap();

    let words = format!("the database has schema 700, this program knows {SCHEMA}: start a newer version");
    assert_eq!(refused.to_string(), words);
}

/// What makes a database of schema 1 out of one of today.
const LATER_THAN_1: &[&str] = &[
    "DROP INDEX clients_name",
    "DROP TABLE counters",
    "DROP TABLE tasks",
    "DROP TABLE presence_told",
    "DROP TABLE presence",
    "DROP TABLE messages",
    "DROP TABLE inventories",
    "DROP TABLE devices",
    "DROP TABLE sign_ins",
    "UPDATE schema SET version = 1",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_brought_up_and_keeps_what_is_in_it() {
    let database = Database::sqlite().await;
    add(&database.store, "endpoint", &["a"]).await;
    let mut connection = raw(&database).await;
    for later in LATER_THAN_1 {
        connection.execute(*later).await.unwrap();
    }
    let as_it_is = Store::open_as_it_is(database.place.clone()).await.err().unwrap();
    assert!(matches!(as_it_is, Error::OlderSchema { found: 1, known: SCHEMA }), "{as_it_is}");

    let store = Store::open(database.place.clone()).await.unwrap();

    assert!(store.document("endpoint", "a").await.unwrap().is_some());
    let version: i64 = sqlx::query_scalar("SELECT version FROM schema").fetch_one(&mut connection).await.unwrap();
    assert_eq!(version as u64, SCHEMA);
    connection.execute("SELECT * FROM sign_ins").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_another_program_holds_is_busy_and_then_free() {
    let database = Database::sqlite().await;
    let mut connection = raw(&database).await;
    connection.execute("BEGIN EXCLUSIVE").await.unwrap();

    assert!(matches!(database.store.begin(NOW).await.err().unwrap(), Error::Busy(_)));
    database.store.ping().await.unwrap();

    connection.execute("ROLLBACK").await.unwrap();
    add(&database.store, "endpoint", &["a"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_and_a_folder_that_is_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "this is not a database, but a text of some length".repeat(40)).unwrap();

    let damaged = Store::open(Place::Sqlite(text)).await.err().unwrap().to_string();
    let missing = Store::open(Place::Sqlite(folder.path().join("none/site.db"))).await.err().unwrap().to_string();

    assert!(damaged.contains("damaged"), "{damaged}");
    assert!(missing.contains("its folder must exist"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_file_says_so() {
    let database = Database::sqlite().await;
    let Place::Sqlite(path) = &database.place else { unreachable!() };
    database.store.close().await;
    chown(path, Some(NOBODY), None).ok();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o400)).unwrap();
    std::fs::set_permissions(database.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();

    // Root may write anything, so another program of another user has to try.
    let program = database.folder.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(program);
    child.args(["--exact", "sqlite_faults::opens_what_it_may_not_write", "--ignored"]).env(READ_ONLY, path);
    if chown(path, Some(NOBODY), None).is_ok() {
        child.uid(NOBODY).gid(NOBODY);
    }

    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
#[ignore = "run by a_read_only_file_says_so, as a user who may not write"]
async fn opens_what_it_may_not_write() {
    let path = PathBuf::from(std::env::var_os(READ_ONLY).unwrap());

    let refused = Store::open(Place::Sqlite(path)).await.err().unwrap();

    assert!(matches!(refused, Error::ReadOnly(_)), "{refused:?}");
}

async fn raw(database: &Database) -> SqliteConnection {
    let Place::Sqlite(path) = &database.place else { unreachable!() };
    SqliteConnection::connect_with(&sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap()
}
