//! Failed sign-ins, counted. How long to wait after so many is decided elsewhere.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// The failures of one subject in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignInFailures {
    /// How many.
    pub failures: u64,
    /// When the last one was.
    pub last_at: i64,
}

impl SignInFailures {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { failures: row.count("failures")?, last_at: row.time("last_at")? })
    }
}

impl View {
    /// The failures of a subject (an account, or an address), if there are any.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn sign_in_failures(&mut self, subject: &str) -> Result<Option<SignInFailures>, Error> {
        let sql = "SELECT failures, last_at FROM sign_in_failures WHERE subject = $1";
        self.optional(statement(sql).bind(subject), SignInFailures::read).await
    }
}

reads! {
    sign_in_failures(subject: &str) -> Option<SignInFailures>;
}

impl Change {
    /// Notes one more failure, and says how many there are.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn note_sign_in_failure(&mut self, subject: &str) -> Result<u64, Error> {
        let now = self.now;
        let sql = "INSERT INTO sign_in_failures (subject, failures, last_at) VALUES ($1, 1, $2) \
                   ON CONFLICT (subject) DO UPDATE SET failures = sign_in_failures.failures + 1, last_at = excluded.last_at \
                   RETURNING failures AS count";
        self.number(statement(sql).bind(subject).bind(now)).await
    }

    /// Forgets the failures of a subject.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn clear_sign_in_failures(&mut self, subject: &str) -> Result<(), Error> {
        self.run(statement("DELETE FROM sign_in_failures WHERE subject = $1").bind(subject)).await.map(|_| ())
    }

    /// Forgets failures of which the last was before a time, and says of how many subjects.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_sign_in_failures_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM sign_in_failures WHERE last_at < $1").bind(time)).await
    }
}
