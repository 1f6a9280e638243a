//! Documents: the resources of the configuration, each with a version against lost updates.

use crate::row::{Row, signed};
use crate::statement::{Select, containing, statement, text};
use crate::view::reads;
use crate::{Change, Error, View};

/// One resource of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is, such as `endpoint`.
    pub kind: String,
    /// Its name, unique within its kind.
    pub name: String,
    /// 1 at first, one more with every change.
    pub version: u64,
    /// JSON.
    pub body: String,
    /// When it was made.
    pub created_at: i64,
    /// When it was changed last.
    pub changed_at: i64,
}

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct DocumentPage<'a> {
    /// Only names after this one.
    pub after: Option<&'a str>,
    /// Only names that contain this, in either case.
    pub search: Option<&'a str>,
    /// How many at most.
    pub limit: u32,
}

impl Document {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            kind: row.text("kind")?,
            name: row.text("name")?,
            version: row.count("version")?,
            body: row.text("body")?,
            created_at: row.time("created_at")?,
            changed_at: row.time("changed_at")?,
        })
    }
}

impl View {
    /// One document.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn document(&mut self, kind: &str, name: &str) -> Result<Option<Document>, Error> {
        let sql = "SELECT * FROM documents WHERE kind = $1 AND name = $2";
        self.optional(statement(sql).bind(kind).bind(name), Document::read).await
    }

    /// All documents of a kind, by name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn documents(&mut self, kind: &str) -> Result<Vec<Document>, Error> {
        let sql = "SELECT * FROM documents WHERE kind = $1 ORDER BY name";
        self.all(statement(sql).bind(kind), Document::read).await
    }

    /// All documents, by kind and name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn all_documents(&mut self) -> Result<Vec<Document>, Error> {
        self.all(statement("SELECT * FROM documents ORDER BY kind, name"), Document::read).await
    }

    /// A page of a kind, by name.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn document_page(&mut self, kind: &str, page: DocumentPage<'_>) -> Result<Vec<Document>, Error> {
        let select = Select::new("SELECT * FROM documents WHERE true")
            .and("kind = $", Some(text(kind)))
            .and("name > $", page.after.map(text))
            .and("LOWER(name) LIKE LOWER($) ESCAPE '!'", page.search.map(containing))
            .order("name", page.limit);
        self.all(select.statement(), Document::read).await
    }

    /// How many documents of a kind there are.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn count_documents(&mut self, kind: &str) -> Result<u64, Error> {
        self.number(statement("SELECT COUNT(*) AS count FROM documents WHERE kind = $1").bind(kind)).await
    }
}

reads! {
    document(kind: &str, name: &str) -> Option<Document>;
    documents(kind: &str) -> Vec<Document>;
    all_documents() -> Vec<Document>;
    document_page(kind: &str, page: DocumentPage<'_>) -> Vec<Document>;
    count_documents(kind: &str) -> u64;
}

impl Change {
    /// Adds a document of version 1.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if there is one of that name.
    pub async fn insert_document(&mut self, kind: &str, name: &str, body: &str) -> Result<(), Error> {
        let now = self.now;
        let sql = "INSERT INTO documents (kind, name, version, body, created_at, changed_at) VALUES ($1, $2, 1, $3, $4, $4)";
        self.must(statement(sql).bind(kind).bind(name).bind(body).bind(now)).await
    }

    /// Replaces a document and returns its new version.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] if it does not have version `expected`, [`Error::NotFound`] if there is none.
    pub async fn replace_document(&mut self, kind: &str, name: &str, body: &str, expected: u64) -> Result<u64, Error> {
        self.expect_document(kind, name, Some(expected)).await?;
        let (now, version) = (self.now, expected + 1);
        let sql = "UPDATE documents SET body = $3, version = $4, changed_at = $5 WHERE kind = $1 AND name = $2";
        self.must(statement(sql).bind(kind).bind(name).bind(body).bind(signed(version)).bind(now)).await?;
        Ok(version)
    }

    /// Removes a document; any version where none is expected.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] if it does not have version `expected`, [`Error::NotFound`] if there is none.
    pub async fn remove_document(&mut self, kind: &str, name: &str, expected: Option<u64>) -> Result<(), Error> {
        self.expect_document(kind, name, expected).await?;
        self.must(statement("DELETE FROM documents WHERE kind = $1 AND name = $2").bind(kind).bind(name)).await
    }

    async fn expect_document(&mut self, kind: &str, name: &str, expected: Option<u64>) -> Result<(), Error> {
        let sql = "SELECT version AS count FROM documents WHERE kind = $1 AND name = $2";
        let present = self.number(statement(sql).bind(kind).bind(name)).await?;
        match expected {
            Some(expected) if expected != present => Err(Error::Stale { present }),
            _ => Ok(()),
        }
    }
}
