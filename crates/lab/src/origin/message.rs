//! HTTP/1.1 messages at an origin: just enough, bounded, and without touching a byte of the target.
//!
//! The origin trusts whoever talks to it: it is strict about framing only as far as it must be to stay in step.

use std::io::{Error, ErrorKind, Result};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::issued::hex;

/// The longest head that is read.
const HEAD_BYTES: u64 = 128 * 1024;
/// The longest line between chunks.
const CHUNK_LINE_BYTES: u64 = 4096;

/// A connection to the origin, with or without TLS.
pub(super) type Connection<S> = BufReader<S>;
/// Header or trailer fields in order.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// A request head.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) target: Vec<u8>,
    pub(super) fields: Fields,
}

/// What a request body came to.
pub(super) struct Body {
    pub(super) length: u64,
    pub(super) sha256: String,
    pub(super) trailers: Fields,
}

impl Request {
    /// Reads the next head; `None` when the other side has closed between requests.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Self>> {
        let mut from = from.take(HEAD_BYTES);
        let Some(line) = read_line(&mut from).await? else { return Ok(None) };
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(_version)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::new(ErrorKind::InvalidData, "no request line"));
        };
        let (method, target) = (lossy(method), target.to_vec());

        Ok(Some(Self { method, target, fields: read_fields(&mut from).await? }))
    }

    /// The first field of that name as text.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let found = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| lossy(value))
    }

    /// The target up to the question mark.
    pub(super) fn path(&self) -> String {
        lossy(self.target.split(|byte| *byte == b'?').next().unwrap_or_default())
    }

    /// The pairs of the query, percent-decoded, in order.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let target = lossy(&self.target);
        let Some((_, query)) = target.split_once('?') else { return Vec::new() };
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.map(|(name, value)| (percent_decode(name), percent_decode(value))).collect()
    }

    /// Whether the client waits for a 100 before it sends the body.
    pub(super) fn expects_continue(&self) -> bool {
        self.field("Expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    /// Whether the client wants the connection closed.
    pub(super) fn wants_close(&self) -> bool {
        self.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Reads the body to its end.
    pub(super) async fn read_body(&self, from: &mut (impl AsyncBufRead + Unpin)) -> Result<Body> {
        let mut digest = Context::new(&SHA256);
        let (mut length, mut trailers) = (0, Fields::new());
        if self.field("Transfer-Encoding").is_some() {
            loop {
                let size = read_chunk_size(from).await?;
                if size == 0 {
                    break;
                }
                read_exactly(from, size, &mut digest).await?;
                read_line(from).await?;
                length += size;
            }
            trailers = read_fields(&mut from.take(HEAD_BYTES)).await?;
        } else if let Some(given) = self.field("Content-Length") {
            length = given.parse().map_err(|_| Error::new(ErrorKind::InvalidData, "bad Content-Length"))?;
            read_exactly(from, length, &mut digest).await?;
        }
        Ok(Body { length, sha256: hex(digest.finish().as_ref()), trailers })
    }
}

/// Writes a whole answer with a Content-Length; `HEAD` gets the head alone.
pub(super) async fn answer(
    to: &mut (impl AsyncWrite + Unpin),
    request: &Request,
    status: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Result<()> {
    let mut message = head(status, fields);
    message.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    if request.method != "HEAD" {
        message.extend_from_slice(body);
    }
    to.write_all(&message).await?;
    to.flush().await
}

/// Status line and fields, without the empty line at the end.
pub(super) fn head(status: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.into_bytes()
}

/// Writes one chunk and sends it.
pub(super) async fn write_chunk(to: &mut (impl AsyncWrite + Unpin), chunk: &[u8]) -> Result<()> {
    to.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
    to.write_all(chunk).await?;
    to.write_all(b"\r\n").await?;
    to.flush().await
}

/// Undoes percent-encoding; a plus is a plus.
pub(super) fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    lossy(&bytes)
}

async fn read_fields(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Fields> {
    let mut fields = Fields::new();
    loop {
        let line = read_line(from).await?.ok_or(ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(ErrorKind::InvalidData)?;
        fields.push((lossy(&line[..colon]), line[colon + 1..].trim_ascii().to_vec()));
    }
}

async fn read_chunk_size(from: &mut (impl AsyncBufRead + Unpin)) -> Result<u64> {
    let line = read_line(&mut from.take(CHUNK_LINE_BYTES)).await?.ok_or(ErrorKind::UnexpectedEof)?;
    let digits = lossy(line.split(|byte| *byte == b';').next().unwrap_or_default());
    u64::from_str_radix(digits.trim(), 16).map_err(|_| Error::new(ErrorKind::InvalidData, "bad chunk size"))
}

async fn read_exactly(from: &mut (impl AsyncBufRead + Unpin), length: u64, digest: &mut Context) -> Result<()> {
    let mut left = length;
    while left > 0 {
        let available = from.fill_buf().await?;
        if available.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let taken = available.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        digest.update(&available[..taken]);
        from.consume(taken);
        left -= taken as u64;
    }
    Ok(())
}

/// One line without its end; `None` at the end of the input.
async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
