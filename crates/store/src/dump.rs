//! Backup and restore: every row as a line of JSON, the same from either engine.
//!
//! The first line is the schema. A row is `["table", {"column": value}]`; a value is a number, a text, `null`, or `{"bytes": "base64"}`.
//! The dump holds what the database holds, secrets in their encrypted form and hashes too: encrypt it before it leaves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AssertSqlSafe, Column as _, Row as _, ValueRef as _};

use crate::statement::{Value, bound, statement};
use crate::{Change, Error, SCHEMA, Store, View};

/// Every table of rows, in an order in which they can be filled: what others refer to comes first.
///
/// Absent on purpose: inventories, messages, presence and tasks. They are far more than all the rest, and devices send anew what counts.
const TABLES: [&str; 21] = [
    "site",
    "documents",
    "blocks",
    "audit",
    "accounts",
    "api_tokens",
    "sessions",
    "sign_in_failures",
    "sign_ins",
    "members",
    "member_status",
    "issued_certificates",
    "secrets",
    "bulk_tokens",
    "clients",
    "client_tokens",
    "devices",
    "idempotency",
    "leases",
    "crls",
    "warnings",
];

impl Store {
    /// Everything, of one moment.
    ///
    /// # Errors
    ///
    /// As every read.
    pub async fn dump(&self) -> Result<String, Error> {
        let mut view = self.view().await?;
        let mut lines = format!("{}\n", json!({ "schema": SCHEMA }));
        for table in TABLES {
            view.dump_table(table, &mut lines).await?;
        }
        Ok(lines)
    }

    /// Fills an empty database, in one change. What follows is [`Change::raise_epoch`], so that the restored configuration wins.
    ///
    /// # Errors
    ///
    /// [`Error::NewerSchema`] if a newer program made the dump, [`Error::Conflict`] if this database is not empty, [`Error::Other`] if the
    /// dump is damaged. Nothing is stored then.
    pub async fn load(&self, dump: &str, now: i64) -> Result<(), Error> {
        let mut change = self.begin(now).await?;
        change.load(dump).await?;
        change.commit().await
    }
}

impl View {
    async fn dump_table(&mut self, table: &str, lines: &mut String) -> Result<(), Error> {
        let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(self.raw()).await?;
        for row in &rows {
            lines.push_str(&json!([table, written(row)?]).to_string());
            lines.push('\n');
        }
        Ok(())
    }
}

impl Change {
    /// The same as [`Store::load`], as a part of this change.
    ///
    /// # Errors
    ///
    /// The same; then this change is to be dropped.
    pub async fn load(&mut self, dump: &str) -> Result<(), Error> {
        let mut lines = dump.lines();
        check_schema(lines.next().unwrap_or_default())?;
        self.check_empty().await?;
        self.run(statement("DELETE FROM site")).await?;
        for line in lines {
            let (table, row) = parsed(line)?;
            self.insert(&table, row).await?;
        }
        if self.number(statement("SELECT COUNT(*) AS count FROM site WHERE one = 1")).await? != 1 {
            return Err(damaged("it has no site"));
        }
        self.read_generation().await
    }

    async fn check_empty(&mut self) -> Result<(), Error> {
        for table in TABLES {
            let rows = if table == "site" { "site WHERE number > 0 OR code IS NOT NULL" } else { table };
            let count = self.number(bound(format!("SELECT COUNT(*) AS count FROM {rows}"), Vec::new())).await?;
            if count > 0 {
                return Err(Error::Conflict);
            }
        }
        Ok(())
    }

    async fn insert(&mut self, table: &str, row: Map<String, Json>) -> Result<(), Error> {
        if !TABLES.contains(&table) || row.is_empty() || !row.keys().all(|column| is_name(column)) {
            return Err(damaged("it names what this program does not know"));
        }
        let columns = row.keys().cloned().collect::<Vec<_>>().join(", ");
        let mut values = Vec::new();
        let mut places = Vec::new();
        for value in row.into_iter().map(|(_, value)| value) {
            places.push(match value_of(value)? {
                None => "NULL".into(),
                Some(value) => {
                    values.push(value);
                    format!("${}", values.len())
                }
            });
        }
        let sql = format!("INSERT INTO {table} ({columns}) VALUES ({})", places.join(", "));
        self.must(bound(sql, values)).await
    }
}

fn check_schema(line: &str) -> Result<(), Error> {
    let head: Json = serde_json::from_str(line).map_err(|_| damaged("its first line is not that of a dump"))?;
    match head.get("schema").and_then(Json::as_u64) {
        Some(SCHEMA) => Ok(()),
        Some(found) if found > SCHEMA => Err(Error::NewerSchema { found, known: SCHEMA }),
        _ => Err(damaged("it is of no known schema")),
    }
}

fn parsed(line: &str) -> Result<(String, Map<String, Json>), Error> {
    serde_json::from_str(line).map_err(|error| damaged(&format!("a line cannot be read: {error}")))
}

fn damaged(why: &str) -> Error {
    Error::other(format!("the backup is damaged, {why}: nothing was restored, take another backup"))
}

fn is_name(column: &str) -> bool {
    column.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Values say their type themselves, since SQLite has types by value.
fn written(row: &AnyRow) -> Result<Map<String, Json>, Error> {
    let mut written = Map::new();
    for column in row.columns() {
        let (at, value) = (column.ordinal(), row.try_get_raw(column.ordinal())?);
        let json = match value.type_info().kind() {
            _ if value.is_null() => Json::Null,
            AnyTypeInfoKind::Text => row.try_get::<String, _>(at)?.into(),
            AnyTypeInfoKind::Blob => json!({ "bytes": STANDARD.encode(row.try_get::<Vec<u8>, _>(at)?) }),
            _ => row.try_get::<i64, _>(at)?.into(),
        };
        written.insert(column.name().into(), json);
    }
    Ok(written)
}

fn value_of(value: Json) -> Result<Option<Value>, Error> {
    match value {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(Value::Text(text))),
        Json::Number(number) => number.as_i64().map(|number| Some(Value::Number(number))).ok_or_else(|| damaged("a number is too great")),
        Json::Object(object) => {
            let bytes = object.get("bytes").and_then(Json::as_str).and_then(|text| STANDARD.decode(text).ok());
            bytes.map(|bytes| Some(Value::Bytes(bytes))).ok_or_else(|| damaged("bytes cannot be read"))
        }
        Json::Bool(_) | Json::Array(_) => Err(damaged("it holds a value of no known type")),
    }
}
