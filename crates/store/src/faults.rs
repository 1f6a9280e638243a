//! What disks and administrators do to a database, done by tests. Only with the feature `faults`, which no program has.

use crate::{Error, Store};

impl Store {
    /// Runs statements on the connection that writes.
    ///
    /// # Errors
    ///
    /// Why the database refuses them.
    pub async fn on_writer(&self, statements: &str) -> Result<(), Error> {
        let statements = sqlx::AssertSqlSafe(statements.to_owned());
        sqlx::raw_sql(statements).execute(self.writer()).await?;
        Ok(())
    }
}
