//! Writing: every write is a method of [`Change`], in the file of its resource.

use std::ops::{Deref, DerefMut};

use crate::statement::Statement;
use crate::{Error, Generation, View};

/// One write transaction, alone among all site servers until it ends. Dropped without [`Change::commit`] it has never been.
///
/// After an [`Error`] that came from the engine (all but [`Error::Stale`] and [`Error::NotFound`], on both engines alike) nothing more of it can
/// be done: drop it and begin again. Keep it short: whoever else wants to write waits, at most 5 s.
pub struct Change {
    view: View,
    pub(crate) now: i64,
    pub(crate) generation: Generation,
}

impl Change {
    pub(crate) fn new(view: View, now: i64, generation: Generation) -> Self {
        Self { view, now, generation }
    }

    /// Makes the change lasting.
    ///
    /// # Errors
    ///
    /// Nothing is stored, except after [`Error::Gone`], which leaves it open: read again to know.
    pub async fn commit(self) -> Result<(), Error> {
        self.view.commit().await
    }

    /// Runs what must touch a row.
    pub(crate) async fn must(&mut self, statement: Statement<'_>) -> Result<(), Error> {
        match self.run(statement).await? {
            0 => Err(Error::NotFound),
            _ => Ok(()),
        }
    }
}

impl Deref for Change {
    type Target = View;

    fn deref(&self) -> &View {
        &self.view
    }
}

impl DerefMut for Change {
    fn deref_mut(&mut self) -> &mut View {
        &mut self.view
    }
}
