//! Reading: every read is a method of [`View`], in the file of its resource.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, Transaction};

use crate::Error;
use crate::row::Row;
use crate::statement::Statement;

/// One connection to read by. From [`Store::view`](crate::Store::view) all its answers are of one moment; inside a
/// [`Change`](crate::Change) it sees what the change has written.
pub struct View {
    at: At,
    limit: Limit,
    spoilt: bool,
}

/// How long an answer may take. None: there is nobody at the other end who could be gone.
#[derive(Clone, Copy)]
pub(crate) struct Limit(pub(crate) Option<Duration>);

impl Limit {
    pub(crate) async fn within<T>(self, answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
        match self.0 {
            Some(limit) => tokio::time::timeout(limit, answer).await.unwrap_or_else(|late| Err(sqlx::Error::Io(late.into()))),
            None => answer.await,
        }
    }
}

enum At {
    Connection(PoolConnection<Any>),
    Transaction(Transaction<'static, Any>),
}

impl View {
    pub(crate) fn connection(connection: PoolConnection<Any>, limit: Limit) -> Self {
        Self { at: At::Connection(connection), limit, spoilt: false }
    }

    pub(crate) fn transaction(transaction: Transaction<'static, Any>, limit: Limit) -> Self {
        Self { at: At::Transaction(transaction), limit, spoilt: false }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.check()?;
        match self.at {
            At::Connection(_) => Ok(()),
            At::Transaction(transaction) => Ok(self.limit.within(transaction.commit()).await?),
        }
    }

    /// After a refused statement PostgreSQL refuses all others, and answers COMMIT as if it were done; SQLite goes on, or after a full disk
    /// has rolled back and stores every further statement by itself. So the first refusal ends the transaction here.
    fn check(&self) -> Result<(), Error> {
        match self.spoilt {
            true => Err(Error::other("an earlier statement of this change was refused, so that none of it is stored: begin it again")),
            false => Ok(()),
        }
    }

    fn spoil<T>(&mut self, answer: sqlx::Result<T>) -> Result<T, Error> {
        self.spoilt |= answer.as_ref().is_err_and(|error| !matches!(error, sqlx::Error::RowNotFound));
        Ok(answer?)
    }

    pub(crate) fn raw(&mut self) -> &mut AnyConnection {
        match &mut self.at {
            At::Connection(connection) => connection,
            At::Transaction(transaction) => transaction,
        }
    }

    /// How many rows it touched.
    pub(crate) async fn run(&mut self, statement: Statement<'_>) -> Result<u64, Error> {
        self.check()?;
        let answer = self.limit.within(statement.execute(self.raw())).await;
        Ok(self.spoil(answer)?.rows_affected())
    }

    pub(crate) async fn one<T>(&mut self, statement: Statement<'_>, read: impl Fn(&Row) -> Result<T, Error>) -> Result<T, Error> {
        self.check()?;
        let answer = self.limit.within(statement.fetch_one(self.raw())).await;
        read(&Row(self.spoil(answer)?))
    }

    pub(crate) async fn optional<T>(
        &mut self,
        statement: Statement<'_>,
        read: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.check()?;
        let answer = self.limit.within(statement.fetch_optional(self.raw())).await;
        self.spoil(answer)?.map(|row| read(&Row(row))).transpose()
    }

    pub(crate) async fn all<T>(&mut self, statement: Statement<'_>, read: impl Fn(&Row) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        self.check()?;
        let answer = self.limit.within(statement.fetch_all(self.raw())).await;
        self.spoil(answer)?.into_iter().map(|row| read(&Row(row))).collect()
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
