//! Opening the database, and the ways in.

use std::fmt;
use std::path::Path;

use sqlx::any::AnyConnectOptions;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Transaction};

use crate::place::{self, ANSWER, Engine, POSTGRES_READERS, Place, SQLITE_READERS, SQLITE_SETTINGS, WRITERS};
use crate::statement::statement;
use crate::view::Limit;
use crate::{Change, Error, Generation, View, schema};

/// The site's database. Clones are the same one.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    writer: AnyPool,
    readers: AnyPool,
}

/// Locks the schema while it is upgraded. Any number that nobody else uses; these are the letters "opencmg".
const SCHEMA_LOCK: i64 = 0x006f_7065_6e63_6d67;

impl Store {
    /// Opens the database, makes it where there is none, and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`Error::NewerSchema`] if a newer version of the program has used it; otherwise why it cannot be opened.
    pub async fn open(place: Place) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        match place {
            Place::Sqlite(path) => Self::open_sqlite(&path).await,
            Place::Postgres(text) => Self::open_postgres(&place::postgres(&text)?).await,
        }
    }

    /// Opens a database that is there, as it is: a site server of another version may be using it.
    ///
    /// # Errors
    ///
    /// [`Error::NewerSchema`] or [`Error::OlderSchema`] if this program cannot read it; otherwise why it cannot be opened.
    pub async fn open_as_it_is(place: Place) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let store = match place {
            Place::Sqlite(path) => {
                if !path.exists() {
                    return Err(Error::of_file(&path, std::io::ErrorKind::NotFound.into()));
                }
                let options = place::sqlite(&path)?;
                let (writer, readers) = (place::sqlite_pool(&options, WRITERS), place::sqlite_pool(&options, SQLITE_READERS));
                Self { engine: Engine::Sqlite, writer, readers }
            }
            Place::Postgres(text) => {
                let options = place::postgres(&text)?;
                let (writer, readers) = (place::postgres_pool(&options, WRITERS), place::postgres_pool(&options, POSTGRES_READERS));
                Self { engine: Engine::Postgres, writer, readers }
            }
        };
        let mut reader = store.view().await?;
        schema::demand(reader.raw()).await?;
        drop(reader);
        Ok(store)
    }

    async fn open_sqlite(path: &Path) -> Result<Self, Error> {
        place::make_file(path)?;
        let options = place::sqlite(path)?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        connection.execute(SQLITE_SETTINGS).await?;
        if place::log_ahead(&mut connection).await? != "wal" {
            return Err(Error::other(format!(
                "the database {} cannot keep a write-ahead log: put it on a local disk, not on a network share",
                path.display()
            )));
        }
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        schema::upgrade(&mut transaction, Engine::Sqlite).await?;
        transaction.commit().await?;
        connection.close().await?;

        let (writer, readers) = (place::sqlite_pool(&options, WRITERS), place::sqlite_pool(&options, SQLITE_READERS));
        Ok(Self { engine: Engine::Sqlite, writer, readers })
    }

    async fn open_postgres(options: &AnyConnectOptions) -> Result<Self, Error> {
        let (writer, readers) = (place::postgres_pool(options, WRITERS), place::postgres_pool(options, POSTGRES_READERS));
        let store = Self { engine: Engine::Postgres, writer, readers };
        let mut transaction = store.transaction(&store.writer, "BEGIN").await?;
        // However long another site server takes to upgrade.
        transaction.execute("SET LOCAL lock_timeout = 0").await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(&mut *transaction).await?;
        schema::upgrade(&mut transaction, Engine::Postgres).await?;
        transaction.commit().await?;
        Ok(store)
    }

    /// Waits for its turn and begins a change. `now` is the time that it writes wherever a time is written.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if its turn does not come in 5 s.
    pub async fn begin(&self, now: i64) -> Result<Change, Error> {
        let (begin, lock) = match self.engine {
            Engine::Sqlite => ("BEGIN IMMEDIATE", "SELECT epoch, number FROM site"),
            Engine::Postgres => ("BEGIN", "SELECT epoch, number FROM site FOR UPDATE"),
        };
        let mut view = View::transaction(self.transaction(&self.writer, begin).await?, self.limit());
        let generation = view.one(statement(lock), Generation::read).await?;
        Ok(Change::new(view, now, generation))
    }

    /// Several reads of one moment.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn view(&self) -> Result<View, Error> {
        let begin = match self.engine {
            Engine::Sqlite => "BEGIN",
            Engine::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(View::transaction(self.transaction(&self.readers, begin).await?, self.limit()))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.reader().await?.number(statement("SELECT number AS count FROM site")).await.map(|_| ())
    }

    /// `SQLite` or `PostgreSQL`.
    pub fn engine(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "SQLite",
            Engine::Postgres => "PostgreSQL",
        }
    }

    /// Ends all connections, after the changes that are under way. SQLite folds its log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) async fn reader(&self) -> Result<View, Error> {
        let connection = self.readers.acquire().await;
        Ok(View::connection(connection.map_err(|error| self.sorted(&self.readers, error))?, self.limit()))
    }

    #[cfg(feature = "faults")]
    pub(crate) fn writer(&self) -> &AnyPool {
        &self.writer
    }

    async fn transaction(&self, pool: &AnyPool, begin: &'static str) -> Result<Transaction<'static, Any>, Error> {
        self.limit().within(pool.begin_with(begin)).await.map_err(|error| self.sorted(pool, error))
    }

    fn limit(&self) -> Limit {
        Limit((self.engine == Engine::Postgres).then_some(ANSWER))
    }

    /// The pool waits for a PostgreSQL that refuses connections, so its time-out means two things: fewer connections than it may have tell
    /// that it could not make one.
    fn sorted(&self, pool: &AnyPool, error: sqlx::Error) -> Error {
        let out_of_reach = self.engine == Engine::Postgres && pool.size() < pool.options().get_max_connections();
        match error {
            sqlx::Error::PoolTimedOut if out_of_reach => Error::Gone(Box::new(error)),
            error => error.into(),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.engine())
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;

    use super::*;

    #[tokio::test]
    async fn a_full_disk_says_so_and_stores_nothing() {
        let (folder, store) = a_store().await;
        let pages: i64 = sqlx::query("PRAGMA page_count").fetch_one(&store.writer).await.unwrap().get(0);
        pragma(&store, format!("PRAGMA max_page_count = {}", pages + 2)).await;
        let mut change = store.begin(0).await.unwrap();
        change.insert_document("small", "a", "{}").await.unwrap();

        let refused = change.insert_document("great", "b", &"x".repeat(100_000)).await.unwrap_err();
        change.insert_document("small", "b", "{}").await.unwrap_err();
        change.commit().await.unwrap_err();

        assert!(matches!(refused, Error::Full(_)), "{refused:?}");
        let mut change = store.begin(0).await.unwrap();
        assert_eq!(change.count_documents("small").await.unwrap(), 0);
        change.insert_document("small", "a", "{}").await.unwrap();
        change.commit().await.unwrap();
        drop(folder);
    }

    #[tokio::test]
    async fn a_write_that_is_not_permitted_is_read_only() {
        let (folder, store) = a_store().await;
        pragma(&store, "PRAGMA query_only = ON".into()).await;

        let refused = store.begin(0).await.err().unwrap();

        assert!(matches!(refused, Error::ReadOnly(_)), "{refused:?}");
        drop(folder);
    }

    #[tokio::test]
    async fn every_connection_syncs_at_every_commit() {
        let (folder, store) = a_store().await;

        for pool in [&store.writer, &store.readers] {
            let synchronous: i64 = sqlx::query("PRAGMA synchronous").fetch_one(pool).await.unwrap().get(0);
            assert_eq!(synchronous, 2, "2 is FULL");
        }
        drop(folder);
    }

    async fn a_store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Place::Sqlite(folder.path().join("site.db"))).await.unwrap();
        (folder, store)
    }

    async fn pragma(store: &Store, pragma: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(pragma)).execute(&store.writer).await.unwrap();
    }
}
