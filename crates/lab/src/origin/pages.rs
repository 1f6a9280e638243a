//! The pages of the origin.
//!
//! | path | answer |
//! |---|---|
//! | `/` and anything unknown | text: what was received |
//! | `/echo` | the same as JSON, with length, SHA-256 and trailers of the body |
//! | `/bytes/<n>` | n bytes of [`pattern`] with Content-Length; one `Range` is honoured |
//! | `/chunked/<n>` | the same bytes, chunked |
//! | `/until-close/<n>` | the same bytes, ended by closing |
//! | `/truncated/<n>` | n bytes of a promised 2n + 1, then the connection closes |
//! | `/garbage` | something that is not HTTP |
//! | `/upload` | JSON: length and SHA-256 of the body, after a 100 if one is awaited |
//! | `/refuse-upload` | 403 at once, the body unread, then the connection closes |
//! | `/slow/<ms>` | 200 after that time, unless the client goes away |
//! | `/held` | 200 once `Origin::release` lets it go, unless the client goes away |
//! | `/events?count=&every=` | chunks of server-sent events, `every` milliseconds apart |
//! | `/ws` | WebSocket echo |
//! | `/status/<code>/<reason>` | that status line, percent-decoded |
//! | `/trailers` | a chunked answer with a trailer field |
//! | `/early-hints` | 103, then 200 |
//! | `/redirect?to=` | 302 with that Location |
//! | `/cookie?domain=` | Set-Cookie with that Domain |
//! | `/fields?<name>=<value>&...` | 200 with those header fields |

use std::io::Result;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt};

use super::message::{Connection, Fields, Request, answer, head, percent_decode, write_chunk};
use super::{State, websocket};

const TEXT: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const CHUNKED: (&str, &str) = ("Transfer-Encoding", "chunked");
const BLOCK: u64 = 64 * 1024;

/// What becomes of the connection after an answer.
#[derive(Clone, Copy)]
pub(super) enum After {
    KeepAlive,
    Close,
}

/// `length` bytes of the endless pattern that `/bytes` serves, from `offset` on: each byte is its position modulo 251.
pub fn pattern(offset: u64, length: usize) -> Vec<u8> {
    (offset..).take(length).map(|position| (position % 251) as u8).collect()
}

/// Answers one request.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    request: &Request,
    state: &State,
) -> Result<After> {
    let path = request.path();
    let (page, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    match page {
        "refuse-upload" => refuse_upload(connection, request).await,
        "ws" => websocket::echo(connection, request).await.map(|()| After::Close),
        "garbage" => {
            raw(connection, b"this is not HTTP\r\n\r\n").await?;
            Ok(After::Close)
        }
        "until-close" => until_close(connection, number(rest)).await,
        "truncated" => truncated(connection, number(rest)).await,
        "slow" => slow(connection, request, Duration::from_millis(number(rest))).await,
        "held" => held(connection, request, state).await,
        _ => {
            let report = receive(connection, request).await?;
            reply(connection, request, page, rest, &report).await.map(|()| After::KeepAlive)
        }
    }
}

/// Pages that read the whole request first and leave the connection in step.
async fn reply<S: AsyncRead + AsyncWrite + Unpin>(
    to: &mut Connection<S>,
    request: &Request,
    page: &str,
    rest: &str,
    report: &Value,
) -> Result<()> {
    let ok = "200 OK";
    match page {
        "bytes" => bytes(to, request, number(rest)).await,
        "chunked" => chunked(to, request, number(rest)).await,
        "echo" | "upload" => answer(to, request, ok, &[JSON], report.to_string().as_bytes()).await,
        "events" => events(to, request).await,
        "status" => answer(to, request, &percent_decode(&rest.replacen('/', " ", 1)), &[TEXT], b"").await,
        "trailers" => trailers(to).await,
        "early-hints" => {
            to.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n").await?;
            answer(to, request, ok, &[TEXT], b"after the hints\n").await
        }
        "redirect" => answer(to, request, "302 Found", &[("Location", &parameter(request, "to"))], b"").await,
        "cookie" => {
            let cookie = format!("lab=1; Domain={}; Path=/", parameter(request, "domain"));
            answer(to, request, ok, &[TEXT, ("Set-Cookie", &cookie)], b"").await
        }
        "fields" => {
            let query = request.query();
            let fields: Vec<_> = query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            answer(to, request, ok, &fields, b"").await
        }
        _ => answer(to, request, ok, &[TEXT], text(request, report).as_bytes()).await,
    }
}

/// Reads the body and says what came.
async fn receive<S: AsyncRead + AsyncWrite + Unpin>(from: &mut Connection<S>, request: &Request) -> Result<Value> {
    if request.expects_continue() {
        raw(from, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = request.read_body(from).await?;
    Ok(json!({
        "method": request.method,
        "target": String::from_utf8_lossy(&request.target),
        "headers": pairs(&request.fields),
        "length": body.length,
        "sha256": body.sha256,
        "trailers": pairs(&body.trailers),
    }))
}

fn text(request: &Request, report: &Value) -> String {
    let mut page = format!("This is the laboratory's origin. It received:\n\n{} ", request.method);
    page.push_str(&String::from_utf8_lossy(&request.target));
    page.push('\n');
    for (name, value) in &request.fields {
        page.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value)));
    }
    page.push_str(&format!("\nand a body of {} bytes\n", report["length"]));
    page
}

fn pairs(fields: &Fields) -> Vec<[String; 2]> {
    fields.iter().map(|(name, value)| [name.clone(), String::from_utf8_lossy(value).into_owned()]).collect()
}

async fn bytes(to: &mut (impl AsyncWrite + Unpin), request: &Request, length: u64) -> Result<()> {
    let whole = (0, length);
    let range = request.field("Range").and_then(|value| parse_range(&value, length));
    let (first, end) = range.unwrap_or(whole);
    let (size, content_range) = ((end - first).to_string(), format!("bytes {first}-{}/{length}", end.saturating_sub(1)));
    let mut fields = vec![("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")];
    if range.is_some() {
        fields.push(("Content-Range", &content_range));
    }
    fields.push(("Content-Length", &size));
    let mut message = head(if range.is_some() { "206 Partial Content" } else { "200 OK" }, &fields);
    message.extend_from_slice(b"\r\n");
    to.write_all(&message).await?;
    if request.method != "HEAD" {
        write_pattern(to, first, end).await?;
    }
    to.flush().await
}

/// `bytes=a-b` or `bytes=a-` within the length, as first byte and the one after the last.
fn parse_range(value: &str, length: u64) -> Option<(u64, u64)> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)?.min(length) };
    (first < end).then_some((first, end))
}

async fn write_pattern(to: &mut (impl AsyncWrite + Unpin), first: u64, end: u64) -> Result<()> {
    let mut position = first;
    while position < end {
        let size = BLOCK.min(end - position);
        to.write_all(&pattern(position, size as usize)).await?;
        position += size;
    }
    Ok(())
}

async fn chunked(to: &mut (impl AsyncWrite + Unpin), request: &Request, length: u64) -> Result<()> {
    let mut message = head("200 OK", &[CHUNKED]);
    message.extend_from_slice(b"\r\n");
    to.write_all(&message).await?;
    if request.method == "HEAD" {
        return to.flush().await;
    }
    let mut position = 0;
    while position < length {
        let size = BLOCK.min(length - position);
        write_chunk(to, &pattern(position, size as usize)).await?;
        position += size;
    }
    raw(to, b"0\r\n\r\n").await
}

async fn until_close(to: &mut (impl AsyncWrite + Unpin), length: u64) -> Result<After> {
    to.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
    write_pattern(to, 0, length).await?;
    to.shutdown().await?;
    Ok(After::Close)
}

async fn truncated(to: &mut (impl AsyncWrite + Unpin), length: u64) -> Result<After> {
    to.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * length + 1).as_bytes()).await?;
    write_pattern(to, 0, length).await?;
    to.shutdown().await?;
    Ok(After::Close)
}

async fn refuse_upload(to: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<After> {
    answer(to, request, "403 Forbidden", &[TEXT, ("Connection", "close")], b"no uploads here\n").await?;
    Ok(After::Close)
}

async fn slow<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, request: &Request, time: Duration) -> Result<After> {
    receive(connection, request).await?;
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        gone = client_gone(connection) => return Err(gone),
    }
    answer(connection, request, "200 OK", &[TEXT], b"at last\n").await?;
    Ok(After::KeepAlive)
}

async fn held<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>, request: &Request, state: &State) -> Result<After> {
    receive(connection, request).await?;
    tokio::select! {
        permit = state.releases.0.acquire() => {
            if let Ok(permit) = permit {
                permit.forget();
            }
        }
        gone = client_gone(connection) => return Err(gone),
    }
    answer(connection, request, "200 OK", &[TEXT], b"released\n").await?;
    Ok(After::KeepAlive)
}

/// Ends when the other side closes; pipelined bytes count as staying.
async fn client_gone<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>) -> std::io::Error {
    match connection.fill_buf().await {
        Ok([]) => std::io::ErrorKind::UnexpectedEof.into(),
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

async fn events(to: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<()> {
    let count = number(&parameter(request, "count")).max(1);
    let every = Duration::from_millis(number(&parameter(request, "every")));
    let mut message = head("200 OK", &[("Content-Type", "text/event-stream"), CHUNKED]);
    message.extend_from_slice(b"\r\n");
    to.write_all(&message).await?;
    for event in 0..count {
        if event > 0 {
            tokio::time::sleep(every).await;
        }
        write_chunk(to, format!("data: {event}\n\n").as_bytes()).await?;
    }
    raw(to, b"0\r\n\r\n").await
}

async fn trailers(to: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Checksum\r\n\r\n").await?;
    write_chunk(to, b"body before trailers\n").await?;
    raw(to, b"0\r\nX-Checksum: 1234\r\n\r\n").await
}

async fn raw(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

fn parameter(request: &Request, name: &str) -> String {
    request.query().into_iter().find(|(given, _)| given == name).map(|(_, value)| value).unwrap_or_default()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}
