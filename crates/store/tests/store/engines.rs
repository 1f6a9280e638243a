//! Databases to test on: a SQLite file of its own, or a database of its own on a PostgreSQL that all tests of this program share.

use std::sync::atomic::{AtomicU32, Ordering};

use cmg_store::{Place, Store};
use tempfile::TempDir;

use crate::postgres::shared;

/// Makes each function, which takes a [`Database`], a test on SQLite and one on PostgreSQL.
macro_rules! on_both {
    ($($rule:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                super::$rule(crate::engines::Database::sqlite().await).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $rule() {
                let Some(database) = crate::engines::Database::postgres().await else { return };
                super::$rule(database).await;
            })*
        }
    };
}
pub(crate) use on_both;

/// The time of most tests.
pub(crate) const NOW: i64 = 1_800_000_000;

/// An empty database, open.
pub(crate) struct Database {
    pub(crate) place: Place,
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
}

impl Database {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::at(Place::Sqlite(folder.path().join("a site?.db")), folder).await
    }

    /// `None` if PostgreSQL is not installed.
    pub(crate) async fn postgres() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("site{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = shared()?;
        server.run("createdb", &[&name]);
        Some(Self::at(Place::Postgres(server.url(&name)), tempfile::tempdir().unwrap()).await)
    }

    async fn at(place: Place, folder: TempDir) -> Self {
        let store = Store::open(place.clone()).await.unwrap();
        Self { place, store, folder }
    }
}
