//! The tasks beside a running program, joined: one that ends before it was told to is an error of the program.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};

/// Tasks with names, which end with this.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task has ended that must not.
#[derive(Debug, thiserror::Error)]
#[error("the task \"{name}\" has ended, and without it the site server is of no use: start it again")]
pub struct TaskEnded {
    /// Which.
    name: &'static str,
    /// None: it came to its end.
    source: Option<JoinError>,
}

impl Tasks {
    /// Runs a task which shall not end by itself.
    pub(crate) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name);
    }

    /// Waits until one has ended, or has panicked; for ever where there is none. Nothing is lost if this future is dropped.
    pub(crate) async fn ended(&mut self) -> TaskEnded {
        let (id, source) = match self.running.join_next_with_id().await {
            Some(Ok((id, ()))) => (id, None),
            Some(Err(error)) => (error.id(), Some(error)),
            None => std::future::pending().await,
        };
        TaskEnded { name: self.names.get(&id).copied().unwrap_or("unknown"), source }
    }

    /// Ends them all.
    pub(crate) async fn shutdown(mut self) {
        self.running.shutdown().await;
    }
}
