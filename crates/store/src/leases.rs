//! Leases: which site server does a background job.

use crate::row::Row;
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// A lease that somebody holds or held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The job.
    pub name: String,
    /// The site server.
    pub holder: String,
    /// Until when.
    pub until: i64,
}

impl Lease {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { name: row.text("name")?, holder: row.text("holder")?, until: row.time("until")? })
    }
}

impl View {
    /// All leases, by name, ended ones too.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn leases(&mut self) -> Result<Vec<Lease>, Error> {
        self.all(statement("SELECT * FROM leases ORDER BY name"), Lease::read).await
    }
}

reads! {
    leases() -> Vec<Lease>;
}

impl Change {
    /// Takes a lease that is free, has ended by now, or is the holder's already. Answers whether the holder has it until then.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn hold_lease(&mut self, name: &str, holder: &str, until: i64) -> Result<bool, Error> {
        let now = self.now;
        let sql = "INSERT INTO leases (name, holder, until) VALUES ($1, $2, $3) \
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                   WHERE leases.holder = excluded.holder OR leases.until <= $4";
        Ok(self.run(statement(sql).bind(name).bind(holder).bind(until).bind(now)).await? > 0)
    }

    /// Gives a lease back, if the holder has it.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn release_lease(&mut self, name: &str, holder: &str) -> Result<(), Error> {
        self.run(statement("DELETE FROM leases WHERE name = $1 AND holder = $2").bind(name).bind(holder)).await.map(|_| ())
    }
}
