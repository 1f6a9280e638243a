//! Clients that the site has registered.

use crate::row::Row;
use crate::statement::{bound, places, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Who it is proven to be.
    pub identity: String,
    /// The thumbprint of its key.
    pub key_thumbprint: String,
    /// Whether it counts.
    pub state: ClientState,
    /// When it was registered.
    pub created_at: i64,
    /// When it was seen last.
    pub last_seen_at: Option<i64>,
    /// JSON.
    pub body: String,
}

/// Whether a client counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    /// Waits for an administrator.
    Pending,
    /// Counts.
    Approved,
    /// Is refused.
    Blocked,
}

/// How many clients there are of each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Waiting.
    pub pending: u64,
    /// Approved.
    pub approved: u64,
    /// Blocked.
    pub blocked: u64,
}

impl ClientState {
    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Blocked => "blocked",
        }
    }

    pub(crate) fn of(word: &str) -> Result<Self, Error> {
        [Self::Pending, Self::Approved, Self::Blocked]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| Error::other(format!("the database holds a client of unknown state {word}")))
    }
}

impl Client {
    pub(crate) fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            name: row.text("name")?,
            identity: row.text("identity")?,
            key_thumbprint: row.text("key_thumbprint")?,
            state: ClientState::of(&row.text("state")?)?,
            created_at: row.time("created_at")?,
            last_seen_at: row.maybe_time("last_seen_at")?,
            body: row.text("body")?,
        })
    }

    fn searched(&self) -> String {
        format!("{}\n{}\n{}", self.name, self.identity, self.id).to_lowercase()
    }
}

impl View {
    /// One client.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn client(&mut self, id: &str) -> Result<Option<Client>, Error> {
        self.optional(statement("SELECT * FROM clients WHERE id = $1").bind(id), Client::read).await
    }

    /// The clients of an identity, by id.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn clients_by_identity(&mut self, identity: &str) -> Result<Vec<Client>, Error> {
        self.all(statement("SELECT * FROM clients WHERE identity = $1 ORDER BY id").bind(identity), Client::read).await
    }

    /// The clients of a key, by id.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn clients_by_key(&mut self, key_thumbprint: &str) -> Result<Vec<Client>, Error> {
        let sql = "SELECT * FROM clients WHERE key_thumbprint = $1 ORDER BY id";
        self.all(statement(sql).bind(key_thumbprint), Client::read).await
    }

    /// How many there are of each state.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_clients(&mut self) -> Result<ClientCounts, Error> {
        let select = statement("SELECT state, COUNT(*) AS count FROM clients GROUP BY state");
        let groups = self.all(select, |row| Ok((ClientState::of(&row.text("state")?)?, row.count("count")?))).await?;
        let count = |state| groups.iter().find(|group| group.0 == state).map_or(0, |group| group.1);
        Ok(ClientCounts {
            pending: count(ClientState::Pending),
            approved: count(ClientState::Approved),
            blocked: count(ClientState::Blocked),
        })
    }
}

reads! {
    client(id: &str) -> Option<Client>;
    clients_by_identity(identity: &str) -> Vec<Client>;
    clients_by_key(key_thumbprint: &str) -> Vec<Client>;
    count_clients() -> ClientCounts;
}

/// Ids of one statement: SQLite looks for each placeholder among all, so that more would cost more, and fewer are more round trips.
const IDS: usize = 200;

impl Change {
    /// Registers a client.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the id is there.
    pub async fn add_client(&mut self, client: &Client) -> Result<(), Error> {
        let sql = "INSERT INTO clients (id, name, identity, key_thumbprint, state, created_at, last_seen_at, body, search) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = statement(sql)
            .bind(&*client.id)
            .bind(&*client.name)
            .bind(&*client.identity)
            .bind(&*client.key_thumbprint)
            .bind(client.state.word())
            .bind(client.created_at)
            .bind(client.last_seen_at)
            .bind(&*client.body)
            .bind(client.searched());
        self.must(insert).await
    }

    /// Replaces name, identity, key and body of the client of this id: it registered again. State and times stay.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn replace_client(&mut self, client: &Client) -> Result<(), Error> {
        let sql = "UPDATE clients SET name = $2, identity = $3, key_thumbprint = $4, body = $5, search = $6 WHERE id = $1";
        let update = statement(sql)
            .bind(&*client.id)
            .bind(&*client.name)
            .bind(&*client.identity)
            .bind(&*client.key_thumbprint)
            .bind(&*client.body)
            .bind(client.searched());
        self.must(update).await
    }

    /// Sets the state of a client.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn set_client_state(&mut self, id: &str, state: ClientState) -> Result<(), Error> {
        self.must(statement("UPDATE clients SET state = $2 WHERE id = $1").bind(id).bind(state.word())).await
    }

    /// Notes that these clients were seen, and says how many of them there are.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn touch_clients(&mut self, ids: &[&str]) -> Result<u64, Error> {
        let mut touched = 0;
        for ids in ids.chunks(IDS) {
            let sql = format!("UPDATE clients SET last_seen_at = {} WHERE id IN {}", self.now, places(1, ids.len()));
            touched += self.run(bound(sql, ids.iter().map(|id| text(id)).collect())).await?;
        }
        Ok(touched)
    }

    /// Removes a client and its tokens.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`].
    pub async fn remove_client(&mut self, id: &str) -> Result<(), Error> {
        self.must(statement("DELETE FROM clients WHERE id = $1").bind(id)).await
    }
}
