//! The head of a stream, written as HTTP/1.1 and read by the parser that reads every other head.
use std::time::Instant;

use bytes::Bytes;
use cmg_core::refusal::Refusal;
use cmg_http1::{Decoder, Fault, Framing, HeadLimits, Piece, eq_ignore_case, parse_request, push_field};
use cmg_tunnel::trailers;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::connection::Received;

/// Reads the head of a stream. `whole`: no body follows.
pub(super) fn receive(parts: &Parts, whole: bool, limits: &HeadLimits) -> Result<Received, (Refusal, Option<Fault>)> {
    let at = Instant::now();
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut text = Vec::with_capacity(512);
    for part in [method(parts), b" ", target(parts), b" HTTP/1.1\r\n"] {
        text.extend_from_slice(part);
    }
    if let Some(authority) = authority {
        if parts.headers.get_all(HOST).iter().any(|host| !eq_ignore_case(host.as_bytes(), authority)) {
            return Err((Refusal::AmbiguousTarget, None));
        }
        push_field(b"host", authority, &mut text);
    }
    push_fields(&parts.headers, authority.is_some(), &mut text);
    if !whole && !parts.headers.contains_key(CONTENT_LENGTH) {
        push_field(b"transfer-encoding", b"chunked", &mut text);
    }
    text.extend_from_slice(b"\r\n");
    match parse_request(&text, limits, Vec::new()) {
        Ok(Some(head)) => Ok(Received { head, bytes: Bytes::from(text), at }),
        Ok(None) => Err((Refusal::Malformed, None)),
        Err(fault) => Err((crate::connection::refusal_of(fault), Some(fault))),
    }
}

/// The method, byte for byte.
pub(super) fn method(parts: &Parts) -> &[u8] {
    parts.method.as_str().as_bytes()
}

/// The target, byte for byte; CONNECT, which names nothing published, has an authority alone.
pub(super) fn target(parts: &Parts) -> &[u8] {
    match (parts.uri.path_and_query(), parts.uri.authority()) {
        (Some(target), _) => target.as_str().as_bytes(),
        (None, Some(authority)) => authority.as_str().as_bytes(),
        (None, None) => b"*",
    }
}

/// Writes the fields. Cookies, which HTTP/2 lets a client split, become one field again (RFC 9113, 8.2.3).
fn push_fields(headers: &HeaderMap, has_authority: bool, text: &mut Vec<u8>) {
    let others = headers.iter().filter(|(name, _)| *name != COOKIE && !(*name == HOST && has_authority));
    others.for_each(|(name, value)| push_field(name.as_str().as_bytes(), value.as_bytes(), text));
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        push_field(b"cookie", &cookies.join(&b"; "[..]), text);
    }
}

/// Reads trailers by the rules of HTTP/1.1, for the tunnel.
pub(super) fn receive_trailers(headers: &HeaderMap) -> Result<Vec<u8>, Fault> {
    let mut text = cmg_http1::LAST_CHUNK_HEAD.to_vec();
    headers.iter().for_each(|(name, value)| push_field(name.as_str().as_bytes(), value.as_bytes(), &mut text));
    text.extend_from_slice(cmg_http1::CRLF);
    match Decoder::new(Framing::Chunked).decode(&text)?.piece {
        Piece::Trailers(fields) => {
            Ok(trailers(|out| fields.iter().for_each(|field| out.push(field.name.of(&text), field.value.of(&text)))))
        }
        Piece::End => Ok(Vec::new()),
        Piece::Data(_) | Piece::NeedMore => Err(Fault::TrailersTooLarge),
    }
}

#[cfg(test)]
mod tests;
