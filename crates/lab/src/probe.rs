//! Asking a program how it is, over its metrics address.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read: metrics of a busy program have a few hundred KiB.
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// What `/livez`, `/readyz` or `/metrics` said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Probe {
    /// Whether the status is 200.
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }
}

/// Asks a program on the loopback; an answer that takes longer than `within` is an error.
pub async fn probe(port: u16, path: &str, within: Duration) -> Result<Probe> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    tokio::time::timeout(within, ask(address, path)).await.map_err(|_| Error::from(ErrorKind::TimedOut))?
}

async fn ask(address: SocketAddr, path: &str) -> Result<Probe> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;

    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    Ok(Probe { status, body: body.to_owned() })
}
