//! The one row of the site: its code and the generation of its configuration.

use crate::row::{Row, signed};
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// A generation of the configuration. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Generation {
    /// Raised by a restore. The first is 1.
    pub epoch: u64,
    /// Raised by every change. Before the first change it is 0.
    pub number: u64,
}

/// What the database says of its site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The generation in force.
    pub generation: Generation,
    /// The site code; `None` until the site is founded.
    pub code: Option<String>,
    /// When it was founded.
    pub created_at: Option<i64>,
}

impl Generation {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { epoch: row.count("epoch")?, number: row.count("number")? })
    }
}

impl View {
    /// The site.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn site(&mut self) -> Result<Site, Error> {
        self.one(statement("SELECT epoch, number, code, created_at FROM site"), |row| {
            Ok(Site { generation: Generation::read(row)?, code: row.maybe_text("code")?, created_at: row.maybe_time("created_at")? })
        })
        .await
    }

    /// The generation in force.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn generation(&mut self) -> Result<Generation, Error> {
        self.one(statement("SELECT epoch, number FROM site"), Generation::read).await
    }
}

reads! {
    site() -> Site;
    generation() -> Generation;
}

impl Change {
    /// Gives the site its code, once.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if it has one.
    pub async fn found_site(&mut self, code: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "UPDATE site SET code = $1, created_at = $2 WHERE code IS NULL";
        match self.run(statement(sql).bind(code).bind(now)).await? {
            0 => Err(Error::Conflict),
            _ => Ok(()),
        }
    }

    /// Makes this change the next generation, and says which. Before any block is added or removed.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn next_generation(&mut self) -> Result<Generation, Error> {
        let Generation { epoch, number } = self.generation;
        self.set_generation(Generation { epoch, number: number + 1 }).await
    }

    /// Makes this change the first generation of a new epoch, so that a restored configuration wins over later ones of the old epoch.
    ///
    /// The epoch is the change's time at least, so that the second restore of one backup wins over what came after the first.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn raise_epoch(&mut self) -> Result<Generation, Error> {
        let Generation { epoch, number } = self.generation;
        let epoch = (epoch + 1).max(u64::try_from(self.now).unwrap_or_default());
        self.set_generation(Generation { epoch, number: number + 1 }).await
    }

    /// Forgets what a restored database must not bring back: sessions, enrolment codes, leases, answers to repeated requests.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn forget_what_passes(&mut self) -> Result<(), Error> {
        for sql in [
            "DELETE FROM sessions",
            "DELETE FROM idempotency",
            "DELETE FROM leases",
            "UPDATE members SET code_secret = NULL, code_ends = NULL",
        ] {
            self.run(statement(sql)).await?;
        }
        Ok(())
    }

    /// Takes over the generation that is stored.
    pub(crate) async fn read_generation(&mut self) -> Result<(), Error> {
        self.generation = self.one(statement("SELECT epoch, number FROM site"), Generation::read).await?;
        Ok(())
    }

    async fn set_generation(&mut self, generation: Generation) -> Result<Generation, Error> {
        let sql = "UPDATE site SET epoch = $1, number = $2";
        self.must(statement(sql).bind(signed(generation.epoch)).bind(signed(generation.number))).await?;
        self.generation = generation;
        Ok(generation)
    }
}
