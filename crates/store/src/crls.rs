//! Revocation lists that were fetched or uploaded.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// The revocation list of one source of one trust policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crl {
    /// The trust policy.
    pub trust: String,
    /// Where it comes from.
    pub source: String,
    /// The last good list, in DER.
    pub der: Option<Vec<u8>>,
    /// Its `thisUpdate`.
    pub this_update: Option<i64>,
    /// Its `nextUpdate`.
    pub next_update: Option<i64>,
    /// When it came.
    pub fetched_at: Option<i64>,
    /// When the source was tried last.
    pub tried_at: i64,
    /// Why the last try failed, if it did.
    pub error: Option<String>,
}

impl Crl {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            trust: row.text("trust")?,
            source: row.text("source")?,
            der: row.maybe_bytes("der")?,
            this_update: row.maybe_time("this_update")?,
            next_update: row.maybe_time("next_update")?,
            fetched_at: row.maybe_time("fetched_at")?,
            tried_at: row.time("tried_at")?,
            error: row.maybe_text("error")?,
        })
    }
}

impl View {
    /// All lists, by trust policy and source.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn crls(&mut self) -> Result<Vec<Crl>, Error> {
        self.all(statement("SELECT * FROM crls ORDER BY trust, source"), Crl::read).await
    }

    /// The lists of a trust policy, by source.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn crls_of(&mut self, trust: &str) -> Result<Vec<Crl>, Error> {
        self.all(statement("SELECT * FROM crls WHERE trust = $1 ORDER BY source").bind(trust), Crl::read).await
    }
}

reads! {
    crls() -> Vec<Crl>;
    crls_of(trust: &str) -> Vec<Crl>;
}

impl Change {
    /// Stores a list, in place of an earlier one of that source.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_crl(&mut self, crl: &Crl) -> Result<(), Error> {
        let sql = "INSERT INTO crls (trust, source, der, this_update, next_update, fetched_at, tried_at, error) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
                   ON CONFLICT (trust, source) DO UPDATE SET der = excluded.der, this_update = excluded.this_update, \
                   next_update = excluded.next_update, fetched_at = excluded.fetched_at, tried_at = excluded.tried_at, \
                   error = excluded.error";
        let insert = statement(sql)
            .bind(&*crl.trust)
            .bind(&*crl.source)
            .bind(crl.der.as_deref())
            .bind(crl.this_update)
            .bind(crl.next_update)
            .bind(crl.fetched_at)
            .bind(crl.tried_at)
            .bind(crl.error.as_deref());
        self.must(insert).await
    }

    /// Notes that a source failed. The last good list stays.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn note_crl_failure(&mut self, trust: &str, source: &str, error: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO crls (trust, source, tried_at, error) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (trust, source) DO UPDATE SET tried_at = excluded.tried_at, error = excluded.error";
        self.must(statement(sql).bind(trust).bind(source).bind(now).bind(error)).await
    }

    /// Removes the list of one source, and says whether there was one.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_crl(&mut self, trust: &str, source: &str) -> Result<bool, Error> {
        Ok(self.run(statement("DELETE FROM crls WHERE trust = $1 AND source = $2").bind(trust).bind(source)).await? > 0)
    }

    /// Removes the lists of a trust policy, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_crls_of(&mut self, trust: &str) -> Result<u64, Error> {
        self.run(statement("DELETE FROM crls WHERE trust = $1").bind(trust)).await
    }
}
