//! Warnings that are open: what an administrator should know until it is mended.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// A warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Its id: the same trouble has the same.
    pub id: String,
    /// What kind of trouble.
    pub kind: String,
    /// With what.
    pub subject: String,
    /// In words.
    pub what: String,
    /// Since when.
    pub since: i64,
    /// When somebody was told.
    pub told_at: Option<i64>,
}

impl Warning {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            kind: row.text("kind")?,
            subject: row.text("subject")?,
            what: row.text("what")?,
            since: row.time("since")?,
            told_at: row.maybe_time("told_at")?,
        })
    }
}

impl View {
    /// All open warnings, the oldest first.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn warnings(&mut self) -> Result<Vec<Warning>, Error> {
        self.all(statement("SELECT * FROM warnings ORDER BY since, id"), Warning::read).await
    }
}

reads! {
    warnings() -> Vec<Warning>;
}

impl Change {
    /// Raises a warning since now, and says whether it is new. One that is open keeps its time and takes the new words.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn raise_warning(&mut self, id: &str, kind: &str, subject: &str, what: &str) -> Result<bool, Error> {
        let now = self.now;
        let again = statement("UPDATE warnings SET what = $2 WHERE id = $1").bind(id).bind(what);
        if self.run(again).await? > 0 {
            return Ok(false);
        }
        let sql = "INSERT INTO warnings (id, kind, subject, what, since) VALUES ($1, $2, $3, $4, $5)";
        self.must(statement(sql).bind(id).bind(kind).bind(subject).bind(what).bind(now)).await?;
        Ok(true)
    }

    /// Notes that somebody was told of a warning.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn note_warning_told(&mut self, id: &str) -> Result<(), Error> {
        let now = self.now;
        self.must(statement("UPDATE warnings SET told_at = $2 WHERE id = $1").bind(id).bind(now)).await
    }

    /// Ends a warning, and says whether it was open.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn clear_warning(&mut self, id: &str) -> Result<bool, Error> {
        Ok(self.run(statement("DELETE FROM warnings WHERE id = $1").bind(id)).await? > 0)
    }
}
