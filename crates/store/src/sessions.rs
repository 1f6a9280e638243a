//! Sessions of people in the console. Only the hashes of their secrets are stored.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, Hidden, View};

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The hash of its secret.
    pub secret_hash: Hidden<Vec<u8>>,
    /// Whose it is.
    pub account: String,
    /// When it began.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// When it was used last.
    pub last_used_at: i64,
}

impl Session {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            secret_hash: Hidden(row.bytes("secret_hash")?),
            account: row.text("account")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            last_used_at: row.time("last_used_at")?,
        })
    }
}

impl View {
    /// The session of this hash, whether or not it has expired.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn session_by_hash(&mut self, secret_hash: &[u8]) -> Result<Option<Session>, Error> {
        self.optional(statement("SELECT * FROM sessions WHERE secret_hash = $1").bind(secret_hash), Session::read).await
    }
}

reads! {
    session_by_hash(secret_hash: &[u8]) -> Option<Session>;
}

impl Change {
    /// Begins a session.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no such account, [`Error::Conflict`] if the hash is there.
    pub async fn add_session(&mut self, secret_hash: &[u8], account: &str, expires_at: i64) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO sessions (secret_hash, account, created_at, expires_at, last_used_at) \
                   SELECT $1, name, $3, $4, $3 FROM accounts WHERE name = $2";
        self.must(statement(sql).bind(secret_hash).bind(account).bind(now).bind(expires_at)).await
    }

    /// Notes that a session was used, and until when it lasts.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn touch_session(&mut self, secret_hash: &[u8], expires_at: i64) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE sessions SET last_used_at = $2, expires_at = $3 WHERE secret_hash = $1";
        self.must(statement(sql).bind(secret_hash).bind(now).bind(expires_at)).await
    }

    /// Ends a session, and says whether there was one.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn end_session(&mut self, secret_hash: &[u8]) -> Result<bool, Error> {
        Ok(self.run(statement("DELETE FROM sessions WHERE secret_hash = $1").bind(secret_hash)).await? > 0)
    }

    /// Ends all sessions of an account, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn end_sessions_of(&mut self, account: &str) -> Result<u64, Error> {
        self.run(statement("DELETE FROM sessions WHERE account = $1").bind(account)).await
    }

    /// Removes the sessions that have ended by now, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_expired_sessions(&mut self) -> Result<u64, Error> {
        let now = self.now;
        self.run(statement("DELETE FROM sessions WHERE expires_at <= $1").bind(now)).await
    }
}
