//! Reading: every read is a method of [`View`], in the file of its resource.

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Transaction};

use crate::Error;
use crate::row::Row;
use crate::statement::Statement;

/// One connection to read by. From [`Store::view`](crate::Store::view) all its answers are of one moment; inside a
/// [`Change`](crate::Change) it sees what the change has written.
pub struct View {
    at: At,
}

enum At {
    Connection(PoolConnection<Any>),
    Transaction(Transaction<'static, Any>),
}

impl View {
    pub(crate) fn connection(connection: PoolConnection<Any>) -> Self {
        Self { at: At::Connection(connection) }
    }

    pub(crate) fn transaction(transaction: Transaction<'static, Any>) -> Self {
        Self { at: At::Transaction(transaction) }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self.at {
            At::Connection(_) => Ok(()),
            At::Transaction(transaction) => Ok(transaction.commit().await?),
        }
    }

    pub(crate) fn raw(&mut self) -> &mut AnyConnection {
        match &mut self.at {
            At::Connection(connection) => connection,
            At::Transaction(transaction) => transaction,
        }
    }

    /// How many rows it touched.
    pub(crate) async fn run(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        Ok(statement.execute(self.raw()).await?.rows_affected())
    }

    pub(crate) async fn one<T>(&mut self, statement: Statement<'_>, read: impl Fn(&Row) -> Result<T, Error>) -> Result<T, Error> {
        read(&Row(statement.fetch_one(self.raw()).await?))
    }

    pub(crate) async fn optional<T>(
        &mut self,
        statement: Statement<'_>,
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let row = statement.fetch_optional(self.raw()).await?;
        row.map(|row| read(&Row(row))).transpose()
    }

    pub(crate) async fn all<T>(&mut self, statement: Statement<'_>, read: impl Fn(&Row) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let rows = statement.fetch_all(self.raw()).await?;
        rows.into_iter().map(|row| read(&Row(row))).collect()
    }

    pub(crate) async fn number(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        self.one(statement, |row| row.count("count")).await
    }
}

/// Gives [`Store`](crate::Store) the reads of [`View`], each on a connection of its own.
macro_rules! reads {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        impl crate::Store {
            $(
                #[doc = concat!("[`View::", stringify!($name), "`](crate::View::", stringify!($name), ") by itself.")]
                pub async fn $name(&self, $($argument: $type),*) -> Result<$answer, crate::Error> {
                    self.reader().await?.$name($($argument),*).await
                }
            )*
        }
    };
}
pub(crate) use reads;
