//! Bulk registration tokens: their ids and counts. The tokens themselves are never stored.

use crate::row::{Row, signed};
use crate::statement::{Select, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// A bulk registration token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkToken {
    /// Its id.
    pub id: String,
    /// When it was made.
    pub created_at: i64,
    /// When it ends.
    pub expires_at: i64,
    /// How many registrations it is good for; `None` is without limit.
    pub max_uses: Option<u64>,
    /// How many it was used for.
    pub uses: u64,
    /// From which networks it is good, as the caller writes it.
    pub network: Option<String>,
    /// What for, in the administrator's words.
    pub note: String,
    /// When it was blocked.
    pub blocked_at: Option<i64>,
    /// The account that made it.
    pub created_by: String,
}

/// Why a bulk token was not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkRefusal {
    /// The site has none of this id.
    Unknown,
    /// It has ended.
    Expired,
    /// It is blocked.
    Blocked,
    /// It was used as often as it may be.
    UsedUp,
}

impl BulkToken {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            max_uses: row.maybe_count("max_uses")?,
            uses: row.count("uses")?,
            network: row.maybe_text("network")?,
            note: row.text("note")?,
            blocked_at: row.maybe_time("blocked_at")?,
            created_by: row.text("created_by")?,
        })
    }

    fn refusal(&self, now: i64) -> Option<BulkRefusal> {
        if self.blocked_at.is_some() {
            Some(BulkRefusal::Blocked)
        } else if self.expires_at <= now {
            Some(BulkRefusal::Expired)
        } else if self.max_uses.is_some_and(|most| self.uses >= most) {
            Some(BulkRefusal::UsedUp)
        } else {
            None
        }
    }
}

impl View {
    /// One token.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn bulk_token(&mut self, id: &str) -> Result<Option<BulkToken>, Error> {
        self.optional(statement("SELECT * FROM bulk_tokens WHERE id = $1").bind(id), BulkToken::read).await
    }

    /// A page by id, after one.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn bulk_token_page(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<BulkToken>, Error> {
        let select = Select::new("SELECT * FROM bulk_tokens WHERE true").and("id > $", after.map(text)).order("id", limit);
        self.all(select.statement(), BulkToken::read).await
    }
}

reads! {
    bulk_token(id: &str) -> Option<BulkToken>;
    bulk_token_page(after: Option<&str>, limit: u32) -> Vec<BulkToken>;
}

impl Change {
    /// Records a token.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the id is there.
    pub async fn add_bulk_token(&mut self, token: &BulkToken) -> Result<(), Error> {
        let sql = "INSERT INTO bulk_tokens (id, created_at, expires_at, max_uses, uses, network, note, blocked_at, created_by) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = statement(sql)
            .bind(&*token.id)
            .bind(token.created_at)
            .bind(token.expires_at)
            .bind(token.max_uses.map(signed))
            .bind(signed(token.uses))
            .bind(token.network.as_deref())
            .bind(&*token.note)
            .bind(token.blocked_at)
            .bind(&*token.created_by);
        self.must(insert).await
    }

    /// Removes tokens that ended before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_bulk_tokens_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM bulk_tokens WHERE expires_at < $1").bind(time)).await
    }

    /// Blocks a token. One that is blocked stays so, since when it was.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn block_bulk_token(&mut self, id: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE bulk_tokens SET blocked_at = COALESCE(blocked_at, $2) WHERE id = $1";
        self.must(statement(sql).bind(id).bind(now)).await
    }

    /// Lifts the block of a token.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn unblock_bulk_token(&mut self, id: &str) -> Result<(), Error> {
        self.must(statement("UPDATE bulk_tokens SET blocked_at = NULL WHERE id = $1").bind(id)).await
    }

    /// Counts one use, in this change: what is rolled back was not used. Answers how often it has been used.
    ///
    /// # Errors
    ///
    /// As every write; that the token is not good is an answer.
    pub async fn use_bulk_token(&mut self, id: &str) -> Result<Result<u64, BulkRefusal>, Error> {
        let Some(token) = self.bulk_token(id).await? else { return Ok(Err(BulkRefusal::Unknown)) };
        if let Some(refusal) = token.refusal(self.now) {
            return Ok(Err(refusal));
        }
        self.must(statement("UPDATE bulk_tokens SET uses = uses + 1 WHERE id = $1").bind(id)).await?;
        Ok(Ok(token.uses + 1))
    }
}
