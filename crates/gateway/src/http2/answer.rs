//! Heads of answers, as HTTP/2 has them: no reason phrase, and no connection to speak about.
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_http1::{Known, is_hop_by_hop};
use cmg_tunnel::{BodyLength, ResponseFrame, trailer_fields};
use http::header::{CONTENT_LENGTH, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::answer::{self, NONCE, REQUEST_ID, has_length, passes, passes_interim};
use cmg_credentials::Nonce;

/// The head of a forwarded answer; none: nothing that HTTP/2 can say.
pub(super) fn forwarded(response: &ResponseFrame, id: RequestId, nonce: Option<Nonce>, is_bound: bool) -> Option<Response<()>> {
    let head = response.get();
    let mut fields = HeaderMap::new();
    for (name, value) in response.fields().filter(|(name, _)| passes(name, false, is_bound)) {
        append(&mut fields, name, value)?;
    }
    append(&mut fields, REQUEST_ID, &id.to_hex())?;
    if let Some(nonce) = nonce {
        append(&mut fields, NONCE, nonce.as_str().as_bytes())?;
    }
    if let BodyLength::Exact(length) = head.body
        && has_length(head.status)
    {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer(head.status, fields)
}

/// Whether no body follows a head.
pub(super) fn has_no_body(response: &ResponseFrame, is_head: bool) -> bool {
    let head = response.get();
    is_head || matches!(head.status, 204 | 304) || matches!(head.body, BodyLength::None | BodyLength::Exact(0))
}

/// A 1xx head; none: not one that HTTP/2 has, such as 101.
pub(super) fn interim(response: &ResponseFrame) -> Option<Response<()>> {
    let mut fields = HeaderMap::new();
    for (name, value) in response.fields().filter(|(name, _)| passes_interim(name)) {
        append(&mut fields, name, value)?;
    }
    answer(response.get().status, fields).filter(|answer| answer.status() != StatusCode::SWITCHING_PROTOCOLS)
}

/// Trailers; none: malformed.
pub(super) fn trailers(payload: &[u8]) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (name, value) in trailer_fields(payload)?.filter(|(name, _)| !is_hop_by_hop(Known::of(name))) {
        append(&mut fields, name, value)?;
    }
    Some(fields)
}

/// An answer of the gateway's own, and its body. `allow`: the methods of the endpoint, for 405.
pub(super) fn refused(refusal: Refusal, allow: &[String], id: RequestId, nonce: Option<Nonce>) -> Option<(Response<()>, String)> {
    let body = answer::refusal_body(refusal, id);
    let mut fields = HeaderMap::new();
    answer::Own { refusal, allow, id, nonce, length: body.len() }.fields(|name, value| {
        let _ = append(&mut fields, name, value);
    });
    Some((answer(refusal.row().status, fields)?, body))
}

/// An answer with what the gateway itself knows, a text of `length` bytes.
pub(super) fn own(length: usize, id: RequestId) -> Option<Response<()>> {
    let mut fields = HeaderMap::new();
    crate::tenant::fields(id, length, |name, value| {
        let _ = append(&mut fields, name, value);
    });
    answer(200, fields)
}

fn answer(status: u16, fields: HeaderMap) -> Option<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = fields;
    Some(response)
}

fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) -> Option<()> {
    fields.try_append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?).ok().map(drop)
}
