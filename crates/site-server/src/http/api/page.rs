//! Pages of lists: so many at once, and what to send to get the next.

use super::asked::Asked;
use crate::http::problem::Refused;

/// Items of a page where the query does not say.
const PAGE: i64 = 100;

/// The most items of a page.
const LONGEST: i64 = 500;

/// How many items are asked for.
pub(super) struct Page {
    limit: usize,
}

impl Page {
    pub(super) fn of(asked: &Asked) -> Result<Self, Refused> {
        let limit = asked.number("limit", 1, LONGEST)?.unwrap_or(PAGE);
        Ok(Self { limit: usize::try_from(limit).unwrap_or(1) })
    }

    /// How many to read: one more than asked for tells whether there is a next page.
    pub(super) fn rows(&self) -> u32 {
        u32::try_from(self.limit + 1).unwrap_or(u32::MAX)
    }

    /// Cuts what was read to the page, and says what the next one follows after.
    pub(super) fn cut<T>(&self, rows: &mut Vec<T>, id: impl Fn(&T) -> String) -> Option<String> {
        let next = (rows.len() > self.limit).then(|| id(&rows[self.limit - 1]));
        rows.truncate(self.limit);
        next
    }
}
