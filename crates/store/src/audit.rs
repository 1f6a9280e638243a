//! Audit records: who changed what, from where, before and after. They are appended and read, never changed.

use crate::row::Row;
use crate::statement::{Select, Value, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// What is to be recorded. The time is the change's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAuditRecord {
    /// Who.
    pub account: String,
    /// In which role.
    pub role: String,
    /// From which address.
    pub address: String,
    /// What was done, such as `replace`.
    pub action: String,
    /// To what kind of thing.
    pub kind: String,
    /// To which.
    pub name: String,
    /// How it was, as JSON without secrets.
    pub before: Option<String>,
    /// How it is, as JSON without secrets.
    pub after: Option<String>,
    /// The request.
    pub request_id: String,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// 1, 2, 3, in the order of happening.
    pub id: i64,
    /// When.
    pub at: i64,
    /// What.
    pub record: NewAuditRecord,
}

/// Which records. Absent is any.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditFilter<'a> {
    /// Of this account.
    pub account: Option<&'a str>,
    /// On this kind of thing.
    pub kind: Option<&'a str>,
    /// On the thing of this name.
    pub name: Option<&'a str>,
    /// At this time or later.
    pub since: Option<i64>,
}

impl AuditRecord {
    fn read(row: &Row) -> Result<Self, Error> {
        let record = NewAuditRecord {
            account: row.text("account")?,
            role: row.text("role")?,
            address: row.text("address")?,
            action: row.text("action")?,
            kind: row.text("kind")?,
            name: row.text("name")?,
            before: row.maybe_text("before")?,
            after: row.maybe_text("after")?,
            request_id: row.text("request_id")?,
        };
        Ok(Self { id: row.time("id")?, at: row.time("at")?, record })
    }
}

impl AuditFilter<'_> {
    fn apply(&self, select: Select) -> Select {
        select
            .and("account = $", self.account.map(text))
            .and("kind = $", self.kind.map(text))
            .and("name = $", self.name.map(text))
            .and("at >= $", self.since.map(Value::Number))
    }
}

impl View {
    /// A page, newest first, of records before the one of this id.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn audit_page(&mut self, filter: AuditFilter<'_>, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>, Error> {
        let select = filter.apply(Select::new("SELECT * FROM audit WHERE true")).and("id < $", before.map(Value::Number));
        self.all(select.order("id DESC", limit).statement(), AuditRecord::read).await
    }

    /// How many records pass the filter.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_audit(&mut self, filter: AuditFilter<'_>) -> Result<u64, Error> {
        self.number(filter.apply(Select::new("SELECT COUNT(*) AS count FROM audit WHERE true")).statement()).await
    }
}

reads! {
    audit_page(filter: AuditFilter<'_>, before: Option<i64>, limit: u32) -> Vec<AuditRecord>;
    count_audit(filter: AuditFilter<'_>) -> u64;
}

impl Change {
    /// Removes records from before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_audit_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM audit WHERE at < $1").bind(time)).await
    }

    /// Appends a record and returns its id. Changes are one after the other, so the next id is one more than the last.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn append_audit(&mut self, record: &NewAuditRecord) -> Result<i64, Error> {
        let now = self.now;
        let sql = "INSERT INTO audit (id, at, account, role, address, action, kind, name, before, after, request_id) \
                   SELECT COALESCE(MAX(id), 0) + 1, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM audit RETURNING id";
        let insert = statement(sql)
            .bind(now)
            .bind(&*record.account)
            .bind(&*record.role)
            .bind(&*record.address)
            .bind(&*record.action)
            .bind(&*record.kind)
            .bind(&*record.name)
            .bind(record.before.as_deref())
            .bind(record.after.as_deref())
            .bind(&*record.request_id);
        self.one(insert, |row| row.time("id")).await
    }
}
