//! The schema and its way up: numbered texts, applied on open in one transaction, forward only.

use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::Error;
use crate::place::Engine;

/// The schema that this program knows.
pub const SCHEMA: u64 = STEPS.len() as u64;

const STEPS: [&str; 3] = [include_str!("schema/0001.sql"), include_str!("schema/0002.sql"), include_str!("schema/0003.sql")];

/// Brings the database to [`SCHEMA`]. `connection` is in a transaction that excludes other writers.
pub(crate) async fn upgrade(connection: &mut AnyConnection, engine: Engine) -> Result<(), Error> {
    sqlx::query("CREATE TABLE IF NOT EXISTS schema (version BIGINT NOT NULL)").execute(&mut *connection).await?;
    let found = version(connection).await?;
    if found > SCHEMA {
        return Err(Error::NewerSchema { found, known: SCHEMA });
    }

    for step in STEPS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        sqlx::raw_sql(AssertSqlSafe(in_words_of(engine, step))).execute(&mut *connection).await?;
    }
    if found < SCHEMA {
        sqlx::query("DELETE FROM schema").execute(&mut *connection).await?;
        sqlx::query("INSERT INTO schema (version) VALUES ($1)").bind(STEPS.len() as i64).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Demands [`SCHEMA`], and changes nothing.
pub(crate) async fn demand(connection: &mut AnyConnection) -> Result<(), Error> {
    match version(connection).await? {
        SCHEMA => Ok(()),
        found if found > SCHEMA => Err(Error::NewerSchema { found, known: SCHEMA }),
        found => Err(Error::OlderSchema { found, known: SCHEMA }),
    }
}

async fn version(connection: &mut AnyConnection) -> Result<u64, Error> {
    let row = sqlx::query("SELECT version FROM schema").fetch_optional(&mut *connection).await?;
    let version: i64 = row.map(|row| row.try_get("version")).transpose()?.unwrap_or(0);
    Ok(u64::try_from(version).unwrap_or_default())
}

/// Text is ordered by its bytes on both engines, so that pages and cursors are the same, and a new version of the system's locales breaks
/// no index of PostgreSQL.
fn in_words_of(engine: Engine, step: &str) -> String {
    match engine {
        Engine::Sqlite => step.into(),
        Engine::Postgres => step.replace(" BLOB", " BYTEA").replace(" TEXT", " TEXT COLLATE \"C\""),
    }
}
