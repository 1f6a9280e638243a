//! Who is online: a row for each device, written by the management point at which it is.

use crate::statement::{Value, bound, places, statement, text};
use crate::{Change, Error};

/// A device that is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The client.
    pub client: String,
    /// Through what: `intranet`, `cmg/NAME` or `ibcm/NAME`.
    pub through: String,
    /// Since when.
    pub since: i64,
}

/// Rows of one statement: SQLite looks for each placeholder among all.
const ROWS: usize = 50;

impl Change {
    /// Notes who came at a management point. Who is not registered, or does not count, is passed over.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn put_present(&mut self, management_point: &str, present: &[Present]) -> Result<(), Error> {
        let mut known = Vec::new();
        let ids: Vec<&str> = present.iter().map(|one| &*one.client).collect();
        for sender in self.senders(&ids).await? {
            if sender.state == crate::ClientState::Approved && !sender.is_blocked {
                known.push(sender.id);
            }
        }
        known.sort_unstable();
        let counted: Vec<&Present> = present.iter().filter(|one| known.binary_search(&one.client).is_ok()).collect();
        for rows in counted.chunks(ROWS) {
            let sql = format!(
                "INSERT INTO presence (client, management_point, through, since) VALUES {} ON CONFLICT (client) DO UPDATE \
                 SET management_point = excluded.management_point, through = excluded.through, since = excluded.since",
                places(rows.len(), 4)
            );
            let values =
                rows.iter().flat_map(|one| [text(&one.client), text(management_point), text(&one.through), Value::Number(one.since)]);
            self.run(bound(sql, values.collect())).await?;
        }
        let ids: Vec<&str> = counted.iter().map(|one| &*one.client).collect();
        self.touch_clients(&ids).await.map(drop)
    }

    /// Notes who went at a management point. Who is at another one meanwhile stays.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_present(&mut self, management_point: &str, ids: &[&str]) -> Result<(), Error> {
        self.touch_clients(ids).await?;
        for ids in ids.chunks(4 * ROWS) {
            let sql = format!("DELETE FROM presence WHERE client IN {} AND management_point = ${}", places(1, ids.len()), ids.len() + 1);
            let values = ids.iter().map(|id| text(id)).chain([text(management_point)]);
            self.run(bound(sql, values.collect())).await?;
        }
        Ok(())
    }

    /// Who is at a management point by what is known: ids.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn present_at(&mut self, management_point: &str) -> Result<Vec<String>, Error> {
        let sql = "SELECT client FROM presence WHERE management_point = $1 ORDER BY client";
        self.all(statement(sql).bind(management_point), |row| row.text("client")).await
    }

    /// Notes that a management point has said who is online.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn note_presence_told(&mut self, management_point: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO presence_told (management_point, told_at) VALUES ($1, $2) \
                   ON CONFLICT (management_point) DO UPDATE SET told_at = excluded.told_at";
        self.run(statement(sql).bind(management_point).bind(now)).await.map(drop)
    }

    /// Forgets who was online at management points that have said nothing since a time, and says how many those were.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn expire_presence(&mut self, before: i64) -> Result<u64, Error> {
        let sql = "DELETE FROM presence WHERE management_point NOT IN (SELECT management_point FROM presence_told WHERE told_at >= $1)";
        let expired = self.run(statement(sql).bind(before)).await?;
        self.run(statement("DELETE FROM presence_told WHERE told_at < $1").bind(before)).await?;
        Ok(expired)
    }

    /// Forgets that a device is online: it counts no more.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn forget_presence(&mut self, client: &str) -> Result<(), Error> {
        self.run(statement("DELETE FROM presence WHERE client = $1").bind(client)).await.map(drop)
    }
}
