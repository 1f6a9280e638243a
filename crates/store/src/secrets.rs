//! The site's secrets, encrypted by the caller under a key that is not in the database.

use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

impl View {
    /// The ciphertext of a secret.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn secret(&mut self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT ciphertext FROM secrets WHERE name = $1";
        self.optional(statement(sql).bind(name), |row| row.bytes("ciphertext")).await
    }

    /// The names of all secrets, in order.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn secret_names(&mut self) -> Result<Vec<String>, Error> {
        self.all(statement("SELECT name FROM secrets ORDER BY name"), |row| row.text("name")).await
    }
}

reads! {
    secret(name: &str) -> Option<Vec<u8>>;
    secret_names() -> Vec<String>;
}

impl Change {
    /// Stores a secret, in place of an earlier one of that name.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_secret(&mut self, name: &str, ciphertext: &[u8]) -> Result<(), Error> {
        let sql = "INSERT INTO secrets (name, ciphertext) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET ciphertext = excluded.ciphertext";
        self.must(statement(sql).bind(name).bind(ciphertext)).await
    }

    /// Removes a secret, and says whether there was one.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_secret(&mut self, name: &str) -> Result<bool, Error> {
        Ok(self.run(statement("DELETE FROM secrets WHERE name = $1").bind(name)).await? > 0)
    }
}
