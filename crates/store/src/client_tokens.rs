//! Tokens that the site issued to clients: their ids, never the tokens.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// A token of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    /// Its id.
    pub id: String,
    /// The id of the client.
    pub client: String,
    /// What kind of token.
    pub kind: String,
    /// When it was issued.
    pub issued_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// When it was blocked.
    pub blocked_at: Option<i64>,
}

impl ClientToken {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            client: row.text("client")?,
            kind: row.text("kind")?,
            issued_at: row.time("issued_at")?,
            expires_at: row.time("expires_at")?,
            blocked_at: row.maybe_time("blocked_at")?,
        })
    }
}

impl View {
    /// One token.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn client_token(&mut self, id: &str) -> Result<Option<ClientToken>, Error> {
        self.optional(statement("SELECT * FROM client_tokens WHERE id = $1").bind(id), ClientToken::read).await
    }

    /// The tokens of a client, the latest first.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn client_tokens_of(&mut self, client: &str) -> Result<Vec<ClientToken>, Error> {
        let sql = "SELECT * FROM client_tokens WHERE client = $1 ORDER BY issued_at DESC, id";
        self.all(statement(sql).bind(client), ClientToken::read).await
    }

    /// Tokens that end at `from` or later and before `to`, and are not blocked.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn client_tokens_expiring(&mut self, from: i64, to: i64) -> Result<Vec<ClientToken>, Error> {
        let sql = "SELECT * FROM client_tokens WHERE expires_at >= $1 AND expires_at < $2 AND blocked_at IS NULL \
                   ORDER BY expires_at, id";
        self.all(statement(sql).bind(from).bind(to), ClientToken::read).await
    }
}

reads! {
    client_token(id: &str) -> Option<ClientToken>;
    client_tokens_of(client: &str) -> Vec<ClientToken>;
    client_tokens_expiring(from: i64, to: i64) -> Vec<ClientToken>;
}

impl Change {
    /// Records a token.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the id is there; [`Error::NotFound`] if there is no such client.
    pub async fn add_client_token(&mut self, token: &ClientToken) -> Result<(), Error> {
        let sql = "INSERT INTO client_tokens (id, client, kind, issued_at, expires_at, blocked_at) \
                   SELECT $1, id, $3, $4, $5, $6 FROM clients WHERE id = $2";
        let insert = statement(sql)
            .bind(&*token.id)
            .bind(&*token.client)
            .bind(&*token.kind)
            .bind(token.issued_at)
            .bind(token.expires_at)
            .bind(token.blocked_at);
        self.must(insert).await
    }

    /// Blocks a token. One that is blocked stays so, since when it was.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn block_client_token(&mut self, id: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE client_tokens SET blocked_at = COALESCE(blocked_at, $2) WHERE id = $1";
        self.must(statement(sql).bind(id).bind(now)).await
    }

    /// Removes tokens that ended before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_client_tokens_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM client_tokens WHERE expires_at < $1").bind(time)).await
    }
}
