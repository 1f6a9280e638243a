//! Tokens by which programs use the API in the name of an account. Only their hashes are stored.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, Hidden, View};

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub account: String,
    /// What the account calls it.
    pub name: String,
    /// The hash of its secret.
    pub secret_hash: Hidden<Vec<u8>>,
    /// When it was made.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// When it was used last.
    pub last_used_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
}

impl ApiToken {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            account: row.text("account")?,
            name: row.text("name")?,
            secret_hash: Hidden(row.bytes("secret_hash")?),
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            last_used_at: row.maybe_time("last_used_at")?,
            revoked_at: row.maybe_time("revoked_at")?,
        })
    }
}

impl View {
    /// The token of this hash, whether or not it still counts.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn api_token_by_hash(&mut self, secret_hash: &[u8]) -> Result<Option<ApiToken>, Error> {
        self.optional(statement("SELECT * FROM api_tokens WHERE secret_hash = $1").bind(secret_hash), ApiToken::read).await
    }

    /// All tokens of an account, by id.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn api_tokens_of(&mut self, account: &str) -> Result<Vec<ApiToken>, Error> {
        self.all(statement("SELECT * FROM api_tokens WHERE account = $1 ORDER BY id").bind(account), ApiToken::read).await
    }
}

reads! {
    api_token_by_hash(secret_hash: &[u8]) -> Option<ApiToken>;
    api_tokens_of(account: &str) -> Vec<ApiToken>;
}

impl Change {
    /// Adds a token that ends at `expires_at`.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the id or hash is there; [`Error::NotFound`] if there is no such account.
    pub async fn add_api_token(&mut self, id: &str, account: &str, name: &str, secret_hash: &[u8], expires_at: i64) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO api_tokens (id, account, name, secret_hash, created_at, expires_at) \
                   SELECT $1, name, $3, $4, $5, $6 FROM accounts WHERE name = $2";
        let insert = statement(sql).bind(id).bind(account).bind(name).bind(secret_hash).bind(now).bind(expires_at);
        self.must(insert).await
    }

    /// Ends every token that counts, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn revoke_all_api_tokens(&mut self) -> Result<u64, Error> {
        let now = self.now;
        self.run(statement("UPDATE api_tokens SET revoked_at = $1 WHERE revoked_at IS NULL AND expires_at > $1").bind(now)).await
    }

    /// Revokes a token of an account. One that is revoked stays so, since when it was.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn revoke_api_token(&mut self, account: &str, id: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE api_tokens SET revoked_at = COALESCE(revoked_at, $3) WHERE account = $1 AND id = $2";
        self.must(statement(sql).bind(account).bind(id).bind(now)).await
    }

    /// Removes tokens that ended, or were revoked, before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_api_tokens_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM api_tokens WHERE expires_at < $1 OR revoked_at < $1").bind(time)).await
    }

    /// Notes that a token was used.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn touch_api_token(&mut self, id: &str) -> Result<(), Error> {
        let now = self.now;
        self.must(statement("UPDATE api_tokens SET last_used_at = $2 WHERE id = $1").bind(id).bind(now)).await
    }
}
