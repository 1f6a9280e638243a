//! The load generator's HTTP client: a ready-made request out, and of the answer only what proves that it is right:
//! status 200 and exactly the length asked for.

use std::net::{IpAddr, SocketAddr};

use crate::Result;
use crate::pki::HOST;
use crate::stream::{Identity, Stream};

/// Bodies of uploads are this, over and over.
static CHUNK: [u8; 256 * 1024] = [b'u'; 256 * 1024];

/// A request, and the length that its answer must have.
#[derive(Clone)]
pub(crate) struct Request {
    /// Head, and the body too where it is small.
    bytes: Vec<u8>,
    /// Bytes of body that follow `bytes`.
    streamed: u64,
    answer: u64,
}

impl Request {
    /// A small answer, which a proxy may buffer.
    pub(crate) fn get(answer: u64) -> Self {
        Self::download("bytes", answer)
    }

    /// A big answer, which a proxy must stream.
    pub(crate) fn bulk(answer: u64) -> Self {
        Self::download("bulk/bytes", answer)
    }

    fn download(path: &str, answer: u64) -> Self {
        let head = format!("GET /{path}/{answer} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: cmg-bench\r\nAccept: */*\r\n\r\n");
        Self { bytes: head.into_bytes(), streamed: 0, answer }
    }

    /// A small body, sent with its head, that the origin takes in and answers with 1 KiB.
    pub(crate) fn post(body: usize) -> Self {
        let mut bytes = upload_head("sink", body as u64);
        bytes.resize(bytes.len() + body, b'u');
        Self { bytes, streamed: 0, answer: 1024 }
    }

    /// A big body, streamed.
    pub(crate) fn bulk_post(body: u64) -> Self {
        Self { bytes: upload_head("bulk/sink", body), streamed: body, answer: 1024 }
    }
}

fn upload_head(path: &str, length: u64) -> Vec<u8> {
    let head = format!("POST /{path} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: cmg-bench\r\nContent-Length: {length}\r\n\r\n");
    head.into_bytes()
}

/// Where to connect, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// None for plain TCP, straight to the origin.
    pub(crate) identities: Option<std::sync::Arc<[Identity]>>,
}

impl Target {
    /// Connects as the given client of the laboratory, counted around.
    pub(crate) async fn connect(&self, client: usize) -> Result<Client> {
        self.connect_from(None, client).await
    }

    /// As [`Self::connect`], from a source address.
    pub(crate) async fn connect_from(&self, source: Option<IpAddr>, client: usize) -> Result<Client> {
        let identity = self.identities.as_ref().map(|all| &all[client % all.len()]);
        let stream = Stream::open(self.address, source, identity).await?;
        Ok(Client { stream, buffer: Vec::new(), left: 0 })
    }
}

/// One connection.
pub(crate) struct Client {
    stream: Stream,
    buffer: Vec<u8>,
    /// Bytes of the present answer's body that have not arrived.
    left: u64,
}

impl Client {
    pub(crate) fn resumed(&self) -> bool {
        self.stream.resumed()
    }

    /// One exchange, checked to its end.
    pub(crate) async fn exchange(&mut self, request: &Request) -> Result<()> {
        self.start(request).await?;
        while self.receive().await? > 0 {}
        Ok(())
    }

    /// Sends the request and reads the answer's head; the body is left to [`Self::receive`].
    pub(crate) async fn start(&mut self, request: &Request) -> Result<()> {
        self.stream.send(&request.bytes).await?;
        let mut left = request.streamed;
        while left > 0 {
            let chunk = left.min(CHUNK.len() as u64);
            self.stream.send(&CHUNK[..chunk as usize]).await?;
            left -= chunk;
        }
        self.head(request.answer).await
    }

    async fn head(&mut self, expected: u64) -> Result<()> {
        self.buffer.clear();
        let end = loop {
            if self.stream.receive(&mut self.buffer).await? == 0 {
                return Err("closed before the end of an answer's head".into());
            }
            if let Some(end) = head_end(&self.buffer) {
                break end;
            }
        };
        let head = &self.buffer[..end];
        if !head.starts_with(b"HTTP/1.1 200") || content_length(head) != Some(expected) {
            return Err(format!("wanted 200 and {expected} bytes, got {}", head.escape_ascii()).into());
        }
        self.left = expected;
        self.count(self.buffer.len() - end)
    }

    /// The next piece of the body, which is thrown away; its size, or 0 when there is no more.
    pub(crate) async fn receive(&mut self) -> Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        self.buffer.clear();
        let read = self.stream.receive(&mut self.buffer).await?;
        if read == 0 {
            return Err(format!("closed {} bytes before the end of an answer", self.left).into());
        }
        self.count(read)?;
        Ok(read)
    }

    fn count(&mut self, body: usize) -> Result<()> {
        self.left = self.left.checked_sub(body as u64).ok_or("more bytes than the answer should have")?;
        Ok(())
    }

    /// Gives back the read buffer of a connection that will be idle.
    pub(crate) fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.stream.close().await?)
    }
}

/// Where the body begins.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    Some(bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4)
}

pub(crate) fn content_length(head: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_found_in_any_spelling() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\nContent-length: 42\r\n\r\n"), Some(42));
    }

    #[test]
    fn another_field_is_not_the_length() {
        assert_eq!(content_length(b"HTTP/1.1 200 OK\r\nX-Content-Length: 42\r\n\r\n"), None);
    }

    #[test]
    fn a_head_ends_behind_the_empty_line() {
        assert_eq!(head_end(b"HTTP/1.1 200 OK\r\n\r\nbody"), Some(19));
    }
}
