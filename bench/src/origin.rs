//! The origin behind every system: HTTP/1.1 keep-alive, as cheap as can be.
//! Any GET whose path ends in `/bytes/<n>` gets n bytes, any POST is taken in and answered with 1 KiB.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;
use crate::client::{content_length, head_end};

/// What bodies are made of.
const BLOCK: usize = 256 * 1024;
/// Bytes in the answer to an upload.
const RECEIPT: u64 = 1024;

/// Serves until the process ends.
pub(crate) async fn run(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    let block: Arc<[u8]> = vec![b'o'; BLOCK].into();
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let block = Arc::clone(&block);
        // A client that goes away ends its own task and nothing else.
        tokio::spawn(async move { drop(serve(tcp, &block).await) });
    }
}

async fn serve(mut tcp: TcpStream, block: &[u8]) -> Result<()> {
    let mut input = Vec::with_capacity(BLOCK);
    let mut output = Vec::new();
    loop {
        let Some(end) = head(&mut tcp, &mut input).await? else { return Ok(()) };
        let Some(wanted) = wanted(&input[..end]) else {
            tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await?;
            return Ok(());
        };
        let body = content_length(&input[..end]).unwrap_or(0);
        input.drain(..end);
        take(&mut tcp, &mut input, body).await?;

        output.clear();
        output.extend_from_slice(
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {wanted}\r\n\r\n").as_bytes(),
        );
        answer(&mut tcp, &mut output, wanted, block).await?;
    }
}

/// Reads up to the end of a head; None where the client is done.
async fn head(tcp: &mut TcpStream, input: &mut Vec<u8>) -> Result<Option<usize>> {
    loop {
        if let Some(end) = head_end(input) {
            return Ok(Some(end));
        }
        if tcp.read_buf(input).await? == 0 {
            return Ok(None);
        }
    }
}

/// How many bytes the answer has; None for a request that this origin does not know.
fn wanted(head: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    match (words.next()?, words.next()?) {
        ("GET", path) => path.rsplit_once("/bytes/")?.1.parse().ok(),
        ("POST", _) => Some(RECEIPT),
        _ => None,
    }
}

/// Takes in `body` bytes, some of which may be in `input` already.
async fn take(tcp: &mut TcpStream, input: &mut Vec<u8>, mut body: u64) -> Result<()> {
    loop {
        let here = body.min(input.len() as u64);
        input.drain(..here as usize);
        body -= here;
        if body == 0 {
            return Ok(());
        }
        if tcp.read_buf(input).await? == 0 {
            return Err("closed in the middle of a body".into());
        }
    }
}

/// A small answer leaves in one write, a big one block by block.
async fn answer(tcp: &mut TcpStream, output: &mut Vec<u8>, wanted: u64, block: &[u8]) -> Result<()> {
    let first = wanted.min(block.len() as u64);
    output.extend_from_slice(&block[..first as usize]);
    tcp.write_all(output).await?;
    let mut left = wanted - first;
    while left > 0 {
        let now = left.min(block.len() as u64);
        tcp.write_all(&block[..now as usize]).await?;
        left -= now;
        // Small requests have their turn between two blocks.
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_says_its_length_in_the_path() {
        assert_eq!(wanted(b"GET /bulk/bytes/4096 HTTP/1.1\r\n\r\n"), Some(4096));
    }

    #[test]
    fn an_upload_is_answered_with_one_kibibyte() {
        assert_eq!(wanted(b"POST /sink HTTP/1.1\r\n\r\n"), Some(1024));
    }

    #[test]
    fn anything_else_is_unknown() {
        assert_eq!(wanted(b"DELETE /bytes/1 HTTP/1.1\r\n\r\n"), None);
    }
}
