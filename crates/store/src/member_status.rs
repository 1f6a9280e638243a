//! What members last said of themselves.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// The latest status of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its role.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// JSON.
    pub body: String,
    /// When it said so, in the caller's unit.
    pub seen_at: i64,
}

impl MemberStatus {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { kind: row.text("kind")?, name: row.text("name")?, body: row.text("body")?, seen_at: row.time("seen_at")? })
    }
}

impl View {
    /// The status of every member that has one, by kind and name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn member_statuses(&mut self) -> Result<Vec<MemberStatus>, Error> {
        self.all(statement("SELECT * FROM member_status ORDER BY kind, name"), MemberStatus::read).await
    }
}

reads! {
    member_statuses() -> Vec<MemberStatus>;
}

impl Change {
    /// Stores statuses. One that is older than what is known changes nothing, and neither does one that says the same less than `repeated`
    /// later, in the unit of `seen_at`.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_member_statuses(&mut self, statuses: &[MemberStatus], repeated: i64) -> Result<(), Error> {
        let sql = "INSERT INTO member_status (kind, name, body, seen_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body, seen_at = excluded.seen_at \
                   WHERE excluded.seen_at >= member_status.seen_at \
                   AND (excluded.body <> member_status.body OR excluded.seen_at >= member_status.seen_at + $5)";
        for status in statuses {
            let insert = statement(sql).bind(&*status.kind).bind(&*status.name).bind(&*status.body).bind(status.seen_at).bind(repeated);
            self.run(insert).await?;
        }
        Ok(())
    }

    /// Forgets the status of a member, and says whether there was one.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_member_status(&mut self, kind: &str, name: &str) -> Result<bool, Error> {
        let sql = "DELETE FROM member_status WHERE kind = $1 AND name = $2";
        Ok(self.run(statement(sql).bind(kind).bind(name)).await? > 0)
    }
}
