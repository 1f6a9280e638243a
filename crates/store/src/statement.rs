//! Statements: fixed text with `$1` placeholders, or put together out of fixed pieces where filters are optional.

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

/// A statement with its values.
pub(crate) type Statement<'q> = Query<'q, Any, AnyArguments>;

/// A statement of fixed text.
pub(crate) fn statement<'q>(sql: &'static str) -> Statement<'q> {
    sqlx::query(sql)
}

/// A statement that grows by conditions. An absent filter is absent from the text, so that both engines find the right index.
pub(crate) struct Select {
    sql: String,
    values: Vec<Value>,
}

/// A value to bind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// NULL for a column of text.
    NoText,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Select {
    /// `sql` ends with a condition, `WHERE true` if there is no other.
    pub(crate) fn new(sql: &'static str) -> Self {
        Self { sql: sql.into(), values: Vec::new() }
    }

    /// Adds ` AND condition`, in which `$` stands for the value, if there is one.
    pub(crate) fn and(mut self, condition: &'static str, value: Option<Value>) -> Self {
        let Some(value) = value else { return self };
        self.values.push(value);
        self.sql.push_str(" AND ");
        self.sql.push_str(&condition.replace('$', &format!("${}", self.values.len())));
        self
    }

    /// Says in which order, and how many.
    pub(crate) fn order(mut self, order: &'static str, limit: u32) -> Self {
        self.values.push(Value::Number(limit.into()));
        self.sql.push_str(&format!(" ORDER BY {order} LIMIT ${}", self.values.len()));
        self
    }

    /// Goes on with fixed text.
    pub(crate) fn plus(mut self, more: &'static str) -> Self {
        self.sql.push_str(more);
        self
    }

    pub(crate) fn statement<'q>(self) -> Statement<'q> {
        bound(self.sql, self.values)
    }
}

/// A statement of put-together text, which holds no value itself.
pub(crate) fn bound<'q>(sql: String, values: Vec<Value>) -> Statement<'q> {
    values.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, value| match value {
        Value::NoText => query.bind(None::<String>),
        Value::Number(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
pub(crate) fn places(rows: usize, columns: usize) -> String {
    let row = |row: usize| {
        let places: Vec<String> = (1..=columns).map(|column| format!("${}", row * columns + column)).collect();
        format!("({})", places.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

/// The pattern of a substring search, to be used with `LOWER(column) LIKE LOWER($1) ESCAPE '!'`.
pub(crate) fn containing(part: &str) -> Value {
    let escaped = part.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    Value::Text(format!("%{escaped}%"))
}

pub(crate) fn text(value: &str) -> Value {
    Value::Text(value.into())
}
