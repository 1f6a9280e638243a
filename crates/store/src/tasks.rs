//! What devices shall do, in the order in which it was asked for.

use crate::row::{Row, signed};
use crate::statement::statement;
use crate::view::reads;
use crate::{Change, Error, View};

/// A task of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Numbers rise.
    pub number: u64,
    /// The device.
    pub client: String,
    /// What it shall do.
    pub kind: String,
    /// When it was asked for.
    pub created_at: i64,
}

impl Task {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self { number: row.count("number")?, client: row.text("client")?, kind: row.text("kind")?, created_at: row.time("created_at")? })
    }
}

impl View {
    /// The last number that a task was given.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn last_task(&mut self) -> Result<u64, Error> {
        self.number(statement("SELECT number AS count FROM counters WHERE name = 'tasks'")).await
    }

    /// Tasks after a number, so many at most.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn tasks_after(&mut self, number: u64, limit: u32) -> Result<Vec<Task>, Error> {
        let sql = "SELECT * FROM tasks WHERE number > $1 ORDER BY number LIMIT $2";
        self.all(statement(sql).bind(signed(number)).bind(i64::from(limit)), Task::read).await
    }
}

reads! {
    last_task() -> u64;
    tasks_after(number: u64, limit: u32) -> Vec<Task>;
}

impl Change {
    /// Asks a device to do something, and gives the task's number. One that was asked for before gives way to this one.
    ///
    /// # Errors
    ///
    /// As every write; there must be such a client.
    pub async fn add_task(&mut self, client: &str, kind: &str) -> Result<u64, Error> {
        self.must(statement("UPDATE counters SET number = number + 1 WHERE name = 'tasks'")).await?;
        self.run(statement("DELETE FROM tasks WHERE client = $1 AND kind = $2").bind(client).bind(kind)).await?;
        let number = self.last_task().await?;
        let now = self.now;
        let insert = statement("INSERT INTO tasks (number, client, kind, created_at) VALUES ($1, $2, $3, $4)");
        self.must(insert.bind(signed(number)).bind(client).bind(kind).bind(now)).await?;
        Ok(number)
    }

    /// Removes tasks that were asked for before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_tasks_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM tasks WHERE created_at < $1").bind(time)).await
    }
}
