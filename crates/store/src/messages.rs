//! Messages of devices: each is taken once, by the device's own id for it.

use std::collections::BTreeSet;

use crate::row::{Row, signed};
use crate::statement::{Select, Value, bound, places, statement, text};
use crate::view::reads;
use crate::{Change, ClientState, Error, View};

/// A message, as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Whose.
    pub client: String,
    /// The device's own id for it.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// When the device wrote it, by its own clock.
    pub at: i64,
    /// When a management point kept it.
    pub received_at: i64,
    /// Through what it came.
    pub through: String,
    /// JSON; none where it is kept elsewhere.
    pub body: Option<String>,
}

/// A message, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Numbers rise.
    pub number: u64,
    /// The message.
    pub message: NewMessage,
}

/// What is known of a client that has sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its id.
    pub id: String,
    /// Whether it counts.
    pub state: ClientState,
    /// Whether there is a block of it, whatever its state says.
    pub is_blocked: bool,
}

/// Placeholders of one statement at most: SQLite looks for each among all.
const VALUES: usize = 200;

impl Message {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.count("number")?,
            message: NewMessage {
                client: row.text("client")?,
                id: row.text("id")?,
                kind: row.text("kind")?,
                at: row.time("at")?,
                received_at: row.time("received_at")?,
                through: row.text("through")?,
                body: row.maybe_text("body")?,
            },
        })
    }
}

impl View {
    /// A page of a device's messages, the latest first, before a number.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn message_page(&mut self, client: &str, before: Option<u64>, limit: u32) -> Result<Vec<Message>, Error> {
        let select = Select::new("SELECT * FROM messages WHERE true")
            .and("client = $", Some(text(client)))
            .and("number < $", before.map(|number| Value::Number(signed(number))))
            .order("number DESC", limit);
        self.all(select.statement(), Message::read).await
    }

    /// Which of these clients there are, and whether they count.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn senders(&mut self, ids: &[&str]) -> Result<Vec<Sender>, Error> {
        let mut senders = Vec::new();
        for ids in ids.chunks(VALUES) {
            let sql = format!(
                "SELECT id, state, (SELECT COUNT(*) FROM blocks WHERE kind = 'client' AND value = clients.id AND removed_generation IS NULL) \
                 AS blocks FROM clients WHERE id IN {}",
                places(1, ids.len())
            );
            let select = bound(sql, ids.iter().map(|id| text(id)).collect());
            let read = |row: &Row| {
                Ok(Sender { id: row.text("id")?, state: ClientState::of(&row.text("state")?)?, is_blocked: row.count("blocks")? > 0 })
            };
            senders.extend(self.all(select, read).await?);
        }
        Ok(senders)
    }
}

reads! {
    message_page(client: &str, before: Option<u64>, limit: u32) -> Vec<Message>;
    senders(ids: &[&str]) -> Vec<Sender>;
}

impl Change {
    /// Takes messages, and gives those that are new: client and id.
    ///
    /// # Errors
    ///
    /// As every write; there must be such clients.
    pub async fn take_messages(&mut self, messages: &[NewMessage]) -> Result<BTreeSet<(String, String)>, Error> {
        let count = statement("SELECT number AS count FROM counters WHERE name = 'messages'");
        let mut number = self.number(count).await?;
        let mut new = BTreeSet::new();
        for rows in messages.chunks(VALUES / 8) {
            let sql = format!(
                "INSERT INTO messages (number, client, id, kind, at, received_at, through, body) VALUES {} \
                 ON CONFLICT (client, id) DO NOTHING RETURNING client, id",
                places(rows.len(), 8)
            );
            let mut values = Vec::new();
            for message in rows {
                number += 1;
                values.extend([Value::Number(signed(number)), text(&message.client), text(&message.id), text(&message.kind)]);
                values.extend([Value::Number(message.at), Value::Number(message.received_at), text(&message.through)]);
                values.push(message.body.as_deref().map_or(Value::NoText, text));
            }
            new.extend(self.all(bound(sql, values), |row| Ok((row.text("client")?, row.text("id")?))).await?);
        }
        self.must(statement("UPDATE counters SET number = $1 WHERE name = 'messages'").bind(signed(number))).await?;
        Ok(new)
    }

    /// Removes messages that came before a time, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_messages_before(&mut self, time: i64) -> Result<u64, Error> {
        self.run(statement("DELETE FROM messages WHERE received_at < $1").bind(time)).await
    }

    /// Removes what a device has sent beyond the latest `most` messages, of every device, and says how many.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn remove_messages_beyond(&mut self, most: u64) -> Result<u64, Error> {
        let sql = "SELECT client FROM messages GROUP BY client HAVING COUNT(*) > $1";
        let clients = self.all(statement(sql).bind(signed(most)), |row| row.text("client")).await?;
        let mut removed = 0;
        for client in clients {
            let sql = "DELETE FROM messages WHERE client = $1 AND number <= \
                       (SELECT number FROM messages WHERE client = $1 ORDER BY number DESC LIMIT 1 OFFSET $2)";
            removed += self.run(statement(sql).bind(client).bind(signed(most))).await?;
        }
        Ok(removed)
    }
}
