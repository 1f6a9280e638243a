//! Answers that were given, so that a request which is sent twice is carried out once.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// An answer, under the account and the key of its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentAnswer {
    /// Who asked.
    pub account: String,
    /// The key that came with the request.
    pub key: String,
    /// The hash of the request: the same key with another request is a mistake.
    pub request_hash: Vec<u8>,
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: String,
    /// When.
    pub at: i64,
}

impl IdempotentAnswer {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            account: row.text("account")?,
            key: row.text("key")?,
            request_hash: row.bytes("request_hash")?,
            status: u16::try_from(row.count("status")?).map_err(|_| Error::other("the database holds an answer of no status"))?,
            body: row.text("body")?,
            at: row.time("at")?,
        })
    }
}

impl View {
    /// The answer to a key.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn idempotent_answer(&mut self, account: &str, key: &str) -> Result<Option<IdempotentAnswer>, Error> {
        let sql = "SELECT * FROM idempotency WHERE account = $1 AND key = $2";
        self.optional(statement(sql).bind(account).bind(key), IdempotentAnswer::read).await
    }
}

reads! {
    idempotent_answer(account: &str, key: &str) -> Option<IdempotentAnswer>;
}

impl Change {
    /// Stores an answer, in the change that it answers.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the key was answered.
    pub async fn put_idempotent_answer(&mut self, answer: &IdempotentAnswer) -> Result<(), Error> {
        let sql = "INSERT INTO idempotency (account, key, request_hash, status, body, at) VALUES ($1, $2, $3, $4, $5, $6)";
        let insert = statement(sql)
            .bind(&*answer.account)
            .bind(&*answer.key)
            .bind(&*answer.request_hash)
            .bind(i64::from(answer.status))
            .bind(&*answer.body)
            .bind(answer.at);
        self.must(insert).await
    }

    /// Removes answers from before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_idempotent_answers_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM idempotency WHERE at < $1").bind(time)).await
    }
}
