//! Why the database did not do it, sorted by what the caller does about it.
//!
//! Messages are for the administrator: what is wrong and what to do. The engine's own words are the source.

use std::error::Error as StdError;

use sqlx::postgres::PgDatabaseError;
use sqlx::sqlite::SqliteError;

type Source = Box<dyn StdError + Send + Sync>;

/// What went wrong. After every one of them the change that met it is rolled back when it is dropped; only a lost connection during
/// [`Change::commit`](crate::Change::commit) leaves open whether the change was stored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else holds the database. Trying again helps.
    #[error(
        "the database is busy: another program or a long change holds it; try again, and if it stays so, find what holds it (a backup, an open database shell, a site server that hangs)"
    )]
    Busy(#[source] Source),
    /// No space is left.
    #[error("the disk of the database is full: nothing of this change was stored; free space on that disk, or raise the limit set for it")]
    Full(#[source] Source),
    /// The database may only be read.
    #[error(
        "the database is read-only: give the site server's user write permission on the database file and its folder; with PostgreSQL, connect to the primary, not to a standby"
    )]
    ReadOnly(#[source] Source),
    /// The connection was lost or there is none.
    #[error(
        "the database is out of reach: check that PostgreSQL runs, and the host, port and network of the connection string; the site server connects again by itself"
    )]
    Gone(#[source] Source),
    /// A newer program has been here.
    #[error("the database has schema {found}, this program knows {known}: start a newer version")]
    NewerSchema {
        /// The version that the database has.
        found: u64,
        /// The newest version that this program knows.
        known: u64,
    },
    /// An older program has made it, and it is not to be changed.
    #[error(
        "the database has schema {found}, this program knows {known}: use the version that its site server runs, or start this one first"
    )]
    OlderSchema {
        /// The version that the database has.
        found: u64,
        /// The version that this program knows.
        known: u64,
    },
    /// Something of that name, or with that unique value, exists.
    #[error("it exists already: choose another name, or change the one that is there")]
    Conflict,
    /// Somebody else changed it since it was read.
    #[error("it was changed by somebody else, it has version {present} now: read it again and repeat the change")]
    Stale {
        /// The version that is there.
        present: u64,
    },
    /// There is no such thing.
    #[error("there is no such thing in the database")]
    NotFound,
    /// Anything else.
    #[error("{0}")]
    Other(String, #[source] Option<Source>),
}

impl Error {
    pub(crate) fn other(what: impl Into<String>) -> Self {
        Self::Other(what.into(), None)
    }

    /// Sorts a failure to make or open the database's file.
    pub(crate) fn of_file(path: &std::path::Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
        match error.kind() {
            PermissionDenied | ReadOnlyFilesystem => Self::ReadOnly(Box::new(error)),
            StorageFull => Self::Full(Box::new(error)),
            _ => {
                let what = format!("the database file {} cannot be opened: its folder must exist and be writable", path.display());
                Self::Other(what, Some(Box::new(error)))
            }
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let class = match &error {
            sqlx::Error::Database(database) => {
                if let Some(sqlite) = database.try_downcast_ref::<SqliteError>() {
                    of_sqlite(sqlite)
                } else if let Some(postgres) = database.try_downcast_ref::<PgDatabaseError>() {
                    of_postgres(postgres.code())
                } else {
                    Class::Other(UNEXPECTED)
                }
            }
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => Class::Gone,
            sqlx::Error::PoolTimedOut => Class::Busy,
            sqlx::Error::RowNotFound => Class::NotFound,
            sqlx::Error::Tls(_) => Class::Other("TLS with PostgreSQL failed: check sslmode and sslrootcert in the connection string"),
            sqlx::Error::Configuration(_) => Class::Other("the connection string is wrong: postgres://USER:PASSWORD@HOST:PORT/DATABASE"),
            _ => Class::Other(UNEXPECTED),
        };
        class.with(Box::new(error))
    }
}

const UNEXPECTED: &str = "the database refused a statement: this is a fault of the program or of the database, its words follow";

enum Class {
    Busy,
    Full,
    ReadOnly,
    Gone,
    Conflict,
    NotFound,
    Other(&'static str),
}

impl Class {
    fn with(self, source: Source) -> Error {
        match self {
            Self::Busy => Error::Busy(source),
            Self::Full => Error::Full(source),
            Self::ReadOnly => Error::ReadOnly(source),
            Self::Gone => Error::Gone(source),
            Self::Conflict => Error::Conflict,
            Self::NotFound => Error::NotFound,
            Self::Other(what) => Error::Other(what.into(), Some(source)),
        }
    }
}

/// By the result codes of sqlite.org/rescode.html; the low byte is the kind.
fn of_sqlite(error: &SqliteError) -> Class {
    use sqlx::error::DatabaseError;
    if error.is_unique_violation() {
        return Class::Conflict;
    }
    let code: u32 = error.code().and_then(|code| code.parse().ok()).unwrap_or_default();
    match code & 0xff {
        5 | 6 => Class::Busy,
        8 => Class::ReadOnly,
        13 => Class::Full,
        10 => Class::Other("the disk of the database fails to read or write: look at the system's log, then restore a backup"),
        11 | 26 => Class::Other("the database file is damaged or is not one: move it away and restore a backup"),
        14 => Class::Other("the database file cannot be opened: its folder must exist and be writable"),
        _ => Class::Other(UNEXPECTED),
    }
}

/// By the SQLSTATE codes of PostgreSQL's appendix A.
fn of_postgres(code: &str) -> Class {
    match code {
        "23505" => Class::Conflict,
        "53100" => Class::Full,
        "25006" => Class::ReadOnly,
        "55P03" | "40001" | "40P01" | "53300" => Class::Busy,
        "57P01" | "57P02" | "57P03" | "25P03" => Class::Gone,
        "28P01" | "28000" => {
            Class::Other("PostgreSQL refuses the account: check user and password of the connection string, and pg_hba.conf")
        }
        "3D000" => Class::Other("PostgreSQL has no such database: make it with createdb, owned by the user of the connection string"),
        "42501" => Class::Other("PostgreSQL permits too little: the user of the connection string must own the database's tables"),
        code if code.starts_with("08") => Class::Gone,
        _ => Class::Other(UNEXPECTED),
    }
}
