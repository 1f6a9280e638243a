//! One row of an answer, read by column name.

use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row as _, Type};

use crate::Error;

/// What a statement returns one of.
pub(crate) struct Row(pub(crate) AnyRow);

impl Row {
    pub(crate) fn text(&self, column: &str) -> Result<String, Error> {
        self.value(column)
    }

    pub(crate) fn maybe_text(&self, column: &str) -> Result<Option<String>, Error> {
        self.value(column)
    }

    pub(crate) fn bytes(&self, column: &str) -> Result<Vec<u8>, Error> {
        self.value(column)
    }

    pub(crate) fn maybe_bytes(&self, column: &str) -> Result<Option<Vec<u8>>, Error> {
        self.value(column)
    }

    pub(crate) fn time(&self, column: &str) -> Result<i64, Error> {
        self.value(column)
    }

    pub(crate) fn maybe_time(&self, column: &str) -> Result<Option<i64>, Error> {
        self.value(column)
    }

    pub(crate) fn count(&self, column: &str) -> Result<u64, Error> {
        Ok(unsigned(self.value(column)?))
    }

    pub(crate) fn maybe_count(&self, column: &str) -> Result<Option<u64>, Error> {
        Ok(self.value::<Option<i64>>(column)?.map(unsigned))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.value::<i64>(column)? != 0)
    }

    fn value<'r, T: Decode<'r, Any> + Type<Any>>(&'r self, column: &str) -> Result<T, Error> {
        Ok(self.0.try_get(column)?)
    }
}

/// Counts are stored as BIGINT; one beyond it cannot be reached by counting.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}
