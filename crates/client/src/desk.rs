//! The desk: a Unix socket in the client's folder, which only the owner of the folder reaches, where a command asks the agent.
//!
//! One line with a wish, one line of JSON in return.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::warn;

use crate::disk::Disk;

/// Its file in the client's folder.
const FILE: &str = "agent.sock";
/// The longest that either side waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest wish and the largest answer, in bytes.
const LARGEST_WISH: u64 = 64;
const LARGEST_ANSWER: u64 = 4 << 20;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Where the client is.
    Status,
    /// Look for the site again.
    Locate,
    /// Ask for the policy now.
    Policy,
    /// Send the inventory now.
    Inventory,
    /// Read the identity again: it has been repaired.
    Reload,
}

const WISHES: [(&str, Wish); 5] = [
    ("status", Wish::Status),
    ("locate", Wish::Locate),
    ("policy", Wish::Policy),
    ("inventory", Wish::Inventory),
    ("reload", Wish::Reload),
];

/// A wish, and where its answer goes.
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    pub(crate) answer: oneshot::Sender<Value>,
}

/// Opens the desk; `Err`: another agent stands at it, or it cannot be opened.
pub(crate) async fn open(disk: &Disk) -> io::Result<UnixListener> {
    if ask(disk, Wish::Status).await.is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "the client runs already with this folder"));
    }
    disk.remove(FILE).map_err(io::Error::other)?;
    UnixListener::bind(disk.path(FILE))
}

/// Serves until dropped, one after the other.
pub(crate) async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => _ = timeout(PATIENCE, answer(stream, &asked)).await,
            Err(error) => {
                warn!(%error, "Nobody can ask the client at the moment");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn answer(mut stream: UnixStream, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let mut line = String::new();
    let (reading, mut writing) = stream.split();
    reading.take(LARGEST_WISH).read_to_string(&mut line).await?;
    let Some((_, wish)) = WISHES.iter().find(|(word, _)| *word == line.trim()) else { return Ok(()) };
    let (answer, answered) = oneshot::channel();
    if asked.send(Asked { wish: *wish, answer }).await.is_err() {
        return Ok(());
    }
    let value = answered.await.unwrap_or_default();
    writing.write_all(value.to_string().as_bytes()).await
}

/// Asks the agent that works with this folder. Fails where none runs.
pub async fn ask(disk: &Disk, wish: Wish) -> io::Result<Value> {
    let word = WISHES.iter().find(|(_, known)| *known == wish).map_or("", |(word, _)| word);
    let asking = async {
        let mut stream = UnixStream::connect(disk.path(FILE)).await?;
        stream.write_all(word.as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(LARGEST_ANSWER).read_to_end(&mut answer).await?;
        serde_json::from_slice(&answer).map_err(io::Error::other)
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
