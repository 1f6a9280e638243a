//! Sign-ins through a provider that are under way. Only the hashes of their secrets are stored; what belongs to one is sealed by the caller.

use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

impl View {
    /// How many there are, ended ones included.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_sign_ins(&mut self) -> Result<u64, Error> {
        self.number(statement("SELECT COUNT(*) AS count FROM sign_ins")).await
    }
}

reads! {
    count_sign_ins() -> u64;
}

impl Change {
    /// Adds one.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the hash is there.
    pub async fn add_sign_in(&mut self, secret_hash: &[u8], sealed: &[u8], expires_at: i64) -> Result<(), Error> {
        let sql = "INSERT INTO sign_ins (secret_hash, sealed, expires_at) VALUES ($1, $2, $3)";
        self.must(statement(sql).bind(secret_hash).bind(sealed).bind(expires_at)).await
    }

    /// Takes one out, which is what makes its secret count once; none: there is none, or it has ended.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn take_sign_in(&mut self, secret_hash: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let now = self.now;
        let sql = "DELETE FROM sign_ins WHERE secret_hash = $1 AND expires_at > $2 RETURNING sealed";
        self.optional(statement(sql).bind(secret_hash).bind(now), |row| row.bytes("sealed")).await
    }

    /// Removes those that have ended by now.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_ended_sign_ins(&mut self) -> Result<u64, Error> {
        let now = self.now;
        self.run(statement("DELETE FROM sign_ins WHERE expires_at <= $1").bind(now)).await
    }
}
