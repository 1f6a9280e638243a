//! `BITS_POST /ccm_incoming/...`: uploads by the BITS Upload Protocol ([MC-BUP]).
//!
//! | `BITS-Packet-Type` | what it does |
//! |---|---|
//! | `Create-Session` | begins an upload; the answer's `BITS-Session-Id` is its id, which messages refer to |
//! | `Ping` | nothing |
//! | `Fragment` | goes on at `Content-Range: bytes FIRST-LAST/TOTAL`; the answer says where to go on: `BITS-Received-Content-Range` |
//! | `Close-Session` | ends it: it is whole and on disk when this is answered |
//! | `Cancel-Session` | forgets it |
//!
//! Fragments come in order. One that is there already is harmless, so a device whose answer was lost sends it again; after a gap it is told
//! where to go on. What of a fragment has come before its connection broke, counts. Absent on purpose: `BITS-Host-Id`, which would lead a
//! device around the gateway, and replies to uploads.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cmg_api::device::LARGEST_FRAGMENT;
use cmg_process::log::chain;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error};

use crate::desk::Desk;
use crate::device::Device;
use crate::refused::Refused;
use crate::uploads::{Held, UploadRefused};

/// The method.
pub(crate) const METHOD: &str = "BITS_POST";

/// The one protocol that is spoken.
const PROTOCOL: &str = "{7df0354d-249b-430f-820d-3d2a9bef4931}";

/// The longest that a fragment may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that are written at once.
const BLOCK: usize = 256 << 10;

/// What a request of the protocol says in its fields.
fn field<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().trim()
}

/// Serves a request of the protocol.
pub(crate) async fn serve(
    State(desk): State<Arc<Desk>>,
    Extension(device): Extension<Device>,
    request: Request,
) -> Result<Response, Refused> {
    if request.method().as_str() != METHOD {
        return Err(Refused::new("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED, "uploads come by BITS_POST"));
    }
    let client = device.id()?;
    let (parts, body) = request.into_parts();
    let (kind, id) = (field(&parts.headers, "bits-packet-type").to_ascii_lowercase(), field(&parts.headers, "bits-session-id"));
    let done = match kind.as_str() {
        "create-session" => return create(&desk, client, &parts.headers),
        "ping" => return Ok(ack(id, &[])),
        "fragment" => fragment(&desk, client, id, &parts.headers, body).await?,
        "close-session" => close(&desk, client, id).await,
        "cancel-session" => desk.uploads.cancel(client, id).map(|()| ack(id, &[])),
        _ => return Err(Refused::malformed("BITS-Packet-Type is Create-Session, Ping, Fragment, Close-Session or Cancel-Session")),
    };
    Ok(done.unwrap_or_else(|refused| failed(id, refused)))
}

fn create(desk: &Desk, client: &str, headers: &HeaderMap) -> Result<Response, Refused> {
    let offered = field(headers, "bits-supported-protocols");
    if !offered.split_ascii_whitespace().any(|protocol| protocol.eq_ignore_ascii_case(PROTOCOL)) {
        return Err(Refused::malformed(format!("BITS-Supported-Protocols does not name {PROTOCOL}")));
    }
    Ok(match desk.uploads.begin(client) {
        Ok(id) => ack(&id, &[("bits-protocol", PROTOCOL), ("accept-encoding", "identity")]),
        Err(refused) => failed("", refused),
    })
}

/// Takes in a fragment. A range that cannot be read is the outer refusal.
async fn fragment(
    desk: &Arc<Desk>,
    client: &str,
    id: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Result<Response, UploadRefused>, Refused> {
    let range = range(field(headers, header::CONTENT_RANGE.as_str()));
    let (first, last, total) = range.ok_or_else(|| Refused::malformed("write Content-Range: bytes FIRST-LAST/TOTAL"))?;
    if last - first >= LARGEST_FRAGMENT {
        let detail = format!("a fragment has at most {LARGEST_FRAGMENT} bytes");
        return Err(Refused::new("too-large", StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let taken = async {
        let mut held = desk.uploads.take(client, id)?;
        if !held.is_whole() {
            let there = held.expect(first, total)?;
            held = receive(desk, client, held, there, last - first + 1, body).await?;
        }
        Ok(held.received())
    };
    Ok(taken.await.map(|received: u64| ack(id, &[("bits-received-content-range", &received.to_string())])))
}

/// `bytes FIRST-LAST/TOTAL`, of something.
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    (first <= last && last < total).then_some((first, last, total))
}

/// Appends a fragment of `length` bytes, of which `there` are there already, as it comes.
async fn receive(desk: &Arc<Desk>, client: &str, mut held: Held, there: u64, length: u64, body: Body) -> Result<Held, UploadRefused> {
    let new = length.saturating_sub(there);
    desk.uploads.admit(client, new)?;
    let before = held.received();
    let mut incoming = Incoming { body, skip: there.min(length), left: length, end: Instant::now() + PATIENCE };
    let mut result = Ok(());
    while result.is_ok()
        && let Some(block) = incoming.block().await
    {
        let written = tokio::task::spawn_blocking(move || {
            let result = held.append(&block);
            (held, result)
        });
        let Ok((back, appended)) = written.await else { return Err(UploadRefused::Busy) };
        held = back;
        result = appended;
    }
    desk.uploads.give_back(client, new - (held.received() - before).min(new));
    result.map_err(UploadRefused::from)?;
    Ok(held)
}

/// The body of a fragment.
struct Incoming {
    body: Body,
    /// Bytes that are there already.
    skip: u64,
    /// Bytes that may come: what is beyond the range is not read.
    left: u64,
    end: Instant,
}

impl Incoming {
    /// The next bytes that are new; none: nothing more comes, or not in time.
    async fn block(&mut self) -> Option<Vec<u8>> {
        let mut block = Vec::new();
        while block.len() < BLOCK && self.left > 0 {
            let frame = timeout_at(self.end, poll_fn(|context| Pin::new(&mut self.body).poll_frame(context))).await;
            let Ok(Some(Ok(frame))) = frame else { break };
            let Ok(data) = frame.into_data() else { continue };
            let data = &data[..data.len().min(usize::try_from(self.left).unwrap_or(usize::MAX))];
            self.left -= data.len() as u64;
            let skipped = data.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            block.extend_from_slice(&data[skipped..]);
        }
        (!block.is_empty()).then_some(block)
    }
}

async fn close(desk: &Arc<Desk>, client: &Arc<str>, id: &str) -> Result<Response, UploadRefused> {
    let mut held = desk.uploads.take(client, id)?;
    let (desk, client, upload) = (Arc::clone(desk), Arc::clone(client), id.to_owned());
    let finished = tokio::task::spawn_blocking(move || desk.uploads.finish(&client, &upload, &mut held));
    finished.await.unwrap_or(Err(UploadRefused::Busy)).map(|()| ack(id, &[]))
}

fn ack(id: &str, more: &[(&'static str, &str)]) -> Response {
    let mut response = StatusCode::OK.into_response();
    put(response.headers_mut(), "bits-packet-type", "Ack");
    put(response.headers_mut(), "bits-session-id", id);
    for (name, value) in more {
        put(response.headers_mut(), name, value);
    }
    response
}

/// A value that cannot be written is what a device has made up itself: it is left out.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value)
        && !value.is_empty()
    {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// Every refusal of an upload, with its status and the code that BITS knows it by.
fn failed(id: &str, refused: UploadRefused) -> Response {
    use UploadRefused as U;
    let (status, word, code) = match &refused {
        U::Unknown => (StatusCode::NOT_FOUND, "unknown-upload", "0x8020001f"),
        U::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "0x80200020"),
        U::TooMuch => (StatusCode::TOO_MANY_REQUESTS, "too-many", "0x80200020"),
        U::Full => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "0x80070070"),
        U::Gap(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "gap", "0x80070057"),
        U::Length => (StatusCode::BAD_REQUEST, "malformed", "0x80070057"),
        U::Busy => (StatusCode::CONFLICT, "busy", "0x800700aa"),
        U::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "0x80070070"),
    };
    match &refused {
        U::Disk(_) => error!(error = chain(&refused), "An upload cannot be written to disk"),
        _ => debug!(upload = id, word, "An upload does not go on"),
    }
    let mut response = Refused::new(word, status, refused.to_string()).into_response();
    let headers = response.headers_mut();
    put(headers, "bits-packet-type", "Ack");
    put(headers, "bits-session-id", id);
    put(headers, "bits-error", &refused.to_string());
    put(headers, "bits-error-code", code);
    put(headers, "bits-error-context", "0x5");
    if let U::Gap(received) = refused {
        put(headers, "bits-received-content-range", &received.to_string());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_of_something_and_ends_within() {
        assert_eq!(range("bytes 0-9/20"), Some((0, 9, 20)));
        assert_eq!(range("bytes 19-19/20"), Some((19, 19, 20)));
        for wrong in
            ["", "bytes", "bytes 0-9", "bytes 9-0/20", "bytes 0-20/20", "bytes */20", "bytes 0-9/*", "items 0-9/20", "bytes -1-2/3"]
        {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn of_a_fragment_only_what_is_new_and_announced_is_taken() {
        let incoming = |skip, left| Incoming { body: Body::from("0123456789"), skip, left, end: Instant::now() + PATIENCE };

        assert_eq!(incoming(0, 10).block().await.as_deref(), Some(&b"0123456789"[..]));
        assert_eq!(incoming(4, 8).block().await.as_deref(), Some(&b"4567"[..]));
        assert_eq!(incoming(8, 8).block().await, None);
    }
}
