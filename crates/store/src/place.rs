//! Where the database is, and how it is connected to.

use std::fmt;
use std::fs::{OpenOptions, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor, Row as _};

use crate::Error;

/// Where the database is.
#[derive(Clone)]
pub enum Place {
    /// A file, made where there is none. Its folder must exist.
    Sqlite(PathBuf),
    /// A connection string, `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=verify-full&sslrootcert=FILE`. It never prints.
    Postgres(String),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(hidden)"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// How long a request waits for a connection, and a change for its turn: longer than any change takes, shorter than any caller waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// How long PostgreSQL may take to answer a statement: longer than [`PATIENCE`], which it waits for locks. A host that died, or a firewall
/// that forgot the connection, never says that it is gone, and the system notices after a quarter of an hour.
pub(crate) const ANSWER: Duration = Duration::from_secs(15);

/// Changes of one site server go one after the other, over one connection, so that those which wait take none from the readers.
pub(crate) const WRITERS: u32 = 1;

/// With the writer 8 connections to PostgreSQL, few beside the 100 that it allows.
pub(crate) const POSTGRES_READERS: u32 = 7;

/// Readers beside the writer of SQLite: reads are short and come from the page cache.
pub(crate) const SQLITE_READERS: u32 = 4;

/// Makes the file if need be, for its owner alone. SQLite gives the log beside it the same mode.
///
/// A file that is there is not opened here: to close it would drop the locks that SQLite holds on it in this process.
pub(crate) fn make_file(path: &Path) -> Result<(), Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let answer = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => tighten(path),
        made => made.map(|_| ()),
    };
    answer.map_err(|error| Error::of_file(path, error))
}

fn tighten(path: &Path) -> std::io::Result<()> {
    match path.metadata()?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => std::fs::set_permissions(path, Permissions::from_mode(0o600)),
    }
}

/// Switches to the write-ahead log, and says what SQLite does then. It is the one thing for which SQLite does not wait by itself while
/// another program does the same.
pub(crate) async fn log_ahead(connection: &mut AnyConnection) -> Result<String, Error> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let answer = sqlx::query("PRAGMA journal_mode = WAL").fetch_one(&mut *connection).await.map_err(Error::from);
        match answer {
            Err(Error::Busy(_)) if tokio::time::Instant::now() < end => tokio::time::sleep(Duration::from_millis(10)).await,
            answer => return Ok(answer?.try_get(0)?),
        }
    }
}

pub(crate) fn sqlite(path: &Path) -> Result<AnyConnectOptions, Error> {
    if path.to_str().is_none() {
        return Err(Error::other(format!("the path {} is not UTF-8: choose another", path.display())));
    }
    let url = SqliteConnectOptions::new().filename(path).to_url_lossy();
    Ok(AnyConnectOptions::from_url(&url)?)
}

pub(crate) fn postgres(text: &str) -> Result<AnyConnectOptions, Error> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err(Error::other("the connection string does not begin with postgres://"));
    }
    Ok(text.parse()?)
}

pub(crate) fn sqlite_pool(options: &AnyConnectOptions, size: u32) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        // A file does not go away, and a connection is looked at when it is released.
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SQLITE_SETTINGS).await.map(|_| ()) }))
        .after_release(|connection, _| Box::pin(is_whole(connection)))
        .connect_lazy_with(options.clone())
}

pub(crate) fn postgres_pool(options: &AnyConnectOptions, size: u32) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(PATIENCE)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(POSTGRES_SETTINGS).await.map(|_| ()) }))
        .after_release(|connection, _| Box::pin(answers(connection)))
        .connect_lazy_with(options.clone())
}

/// After a full disk SQLite has rolled back by itself, which sqlx does not see: it believes itself inside a transaction for ever. Such a
/// connection is closed.
async fn is_whole(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    // The answer comes after the rollback that a dropped change left behind.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// A connection that does not answer is closed, so that another one takes its place.
async fn answers(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    tokio::time::timeout(PATIENCE, connection.ping()).await.map_err(|late| sqlx::Error::Io(late.into()))??;
    Ok(true)
}

/// `FULL` syncs the log at every commit. The busy timeout is [`PATIENCE`].
pub(crate) const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL";

/// A change waits for its turn no longer than [`PATIENCE`]; a site server that stops in the middle of one gives way after 30 s.
const POSTGRES_SETTINGS: &str = "SET synchronous_commit = on; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s'";
