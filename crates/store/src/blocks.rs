//! Blocks: certificates, tokens and clients that are refused. A removed block stays as a row, so that whoever follows by generation learns of
//! the removal too.

use crate::row::{Row, signed};
use crate::statement::{Select, Value, bound, containing, places, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// What a block names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// The thumbprint of a certificate.
    Thumbprint,
    /// The serial number of a certificate, of an issuer.
    Serial,
    /// The id of a token.
    Token,
    /// A client.
    Client,
    /// Whoever registers as somebody, by what a client came by: `oidc-user/SUBJECT`. Counts where clients register only.
    Identity,
}

/// What is to be blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlock {
    /// Unique for ever.
    pub id: String,
    /// What `value` is.
    pub kind: BlockKind,
    /// What is blocked.
    pub value: String,
    /// The issuer of a serial number or token.
    pub issuer: Option<String>,
    /// Why, in the administrator's words.
    pub note: String,
    /// The account.
    pub created_by: String,
}

/// A block, live or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Unique for ever.
    pub id: String,
    /// What `value` is.
    pub kind: BlockKind,
    /// What is blocked.
    pub value: String,
    /// The issuer of a serial number or token.
    pub issuer: Option<String>,
    /// Why, in the administrator's words.
    pub note: String,
    /// The account.
    pub created_by: String,
    /// When it was added.
    pub created_at: i64,
    /// The number of the generation that added it.
    pub generation_number: u64,
    /// The number of the generation that removed it.
    pub removed_generation: Option<u64>,
}

impl BlockKind {
    /// The word in the database.
    pub fn word(self) -> &'static str {
        match self {
            Self::Thumbprint => "thumbprint",
            Self::Serial => "serial",
            Self::Token => "token",
            Self::Client => "client",
            Self::Identity => "identity",
        }
    }

    fn of(word: &str) -> Result<Self, Error> {
        [Self::Thumbprint, Self::Serial, Self::Token, Self::Client, Self::Identity]
            .into_iter()
            .find(|kind| kind.word() == word)
            .ok_or_else(|| Error::other(format!("the database holds a block of unknown kind {word}")))
    }
}

impl Block {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.text("id")?,
            kind: BlockKind::of(&row.text("kind")?)?,
            value: row.text("value")?,
            issuer: row.maybe_text("issuer")?,
            note: row.text("note")?,
            created_by: row.text("created_by")?,
            created_at: row.time("created_at")?,
            generation_number: row.count("generation_number")?,
            removed_generation: row.maybe_count("removed_generation")?,
        })
    }
}

impl View {
    /// One block, removed ones too.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn block(&mut self, id: &str) -> Result<Option<Block>, Error> {
        self.optional(statement("SELECT * FROM blocks WHERE id = $1").bind(id), Block::read).await
    }

    /// A page of live blocks by id, after an id, of which the value or note contains `search`.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn block_page(&mut self, after: Option<&str>, search: Option<&str>, limit: u32) -> Result<Vec<Block>, Error> {
        let select = Select::new("SELECT * FROM blocks WHERE removed_generation IS NULL")
            .and("id > $", after.map(text))
            .and("LOWER(value || ' ' || note) LIKE LOWER($) ESCAPE '!'", search.map(containing))
            .order("id", limit);
        self.all(select.statement(), Block::read).await
    }

    /// How many blocks are live.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_blocks(&mut self) -> Result<u64, Error> {
        self.number(statement("SELECT COUNT(*) AS count FROM blocks WHERE removed_generation IS NULL")).await
    }

    /// All live blocks.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn live_blocks(&mut self) -> Result<Vec<Block>, Error> {
        self.all(statement("SELECT * FROM blocks WHERE removed_generation IS NULL ORDER BY id"), Block::read).await
    }

    /// Blocks that were added or removed after the generation of this number.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn blocks_since(&mut self, number: u64) -> Result<Vec<Block>, Error> {
        let sql = "SELECT * FROM blocks WHERE generation_number > $1 OR removed_generation > $1 ORDER BY id";
        self.all(statement(sql).bind(signed(number)), Block::read).await
    }
}

reads! {
    block(id: &str) -> Option<Block>;
    block_page(after: Option<&str>, search: Option<&str>, limit: u32) -> Vec<Block>;
    count_blocks() -> u64;
    live_blocks() -> Vec<Block>;
    blocks_since(number: u64) -> Vec<Block>;
}

/// Rows of one statement: SQLite looks for each placeholder among all, so that more would cost more, and fewer are more round trips.
const ROWS: usize = 50;

impl Change {
    /// Adds a block, as of the generation of this change: call [`Change::next_generation`] before.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the same is blocked already, or the id was used.
    pub async fn add_block(&mut self, block: &NewBlock) -> Result<(), Error> {
        match self.add_blocks(std::slice::from_ref(block)).await? {
            0 => Err(Error::Conflict),
            _ => Ok(()),
        }
    }

    /// Adds those that are not blocked yet, and says how many they were.
    ///
    /// # Errors
    ///
    /// As every write.
    pub async fn add_blocks(&mut self, blocks: &[NewBlock]) -> Result<u64, Error> {
        let mut added = 0;
        for rows in blocks.chunks(ROWS) {
            let sql = format!(
                "INSERT INTO blocks (id, kind, value, issuer, note, created_by, created_at, generation_number) \
                 VALUES {} ON CONFLICT DO NOTHING",
                places(rows.len(), 8)
            );
            let values = rows.iter().flat_map(|block| self.values(block)).collect();
            added += self.run(bound(sql, values)).await?;
        }
        Ok(added)
    }

    /// Removes a block, as of the generation of this change: call [`Change::next_generation`] before.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is no live one of this id.
    pub async fn remove_block(&mut self, id: &str) -> Result<(), Error> {
        let number = signed(self.generation.number);
        let sql = "UPDATE blocks SET removed_generation = $2 WHERE id = $1 AND removed_generation IS NULL";
        self.must(statement(sql).bind(id).bind(number)).await
    }

    fn values(&self, block: &NewBlock) -> [Value; 8] {
        [
            text(&block.id),
            text(block.kind.word()),
            text(&block.value),
            block.issuer.as_deref().map_or(Value::NoText, text),
            text(&block.note),
            text(&block.created_by),
            Value::Number(self.now),
            Value::Number(signed(self.generation.number)),
        ]
    }
}
