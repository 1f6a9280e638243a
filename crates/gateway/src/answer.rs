//! Heads that the gateway writes to clients: of forwarded answers, and of its own.
//!
//! Own answers say a status, a phrase from the refusal table and the request id. Nothing else: what a stranger learns is in one
//! table in core.
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_http1::{Known, Version, is_hop_by_hop};
use cmg_tunnel::{BodyLength, ResponseFrame};

use cmg_credentials::Nonce;

/// The field that names the request to the client and to whoever it asks for help.
pub(crate) const REQUEST_ID: &[u8] = b"X-Request-Id";

/// The field that tells the nonce for proofs of possession.
pub(crate) const NONCE: &[u8] = b"DPoP-Nonce";

/// Seconds after which a client may try again.
const RETRY_AFTER: &str = "2";

/// How the body of an answer is framed to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// No body.
    None,
    /// As many bytes as the head says.
    Length,
    /// Chunks.
    Chunked,
    /// Up to the end of the connection.
    Close,
    /// Not HTTP any more.
    Upgraded,
}

/// What the connection and the request mean for an answer.
#[derive(Clone, Copy)]
pub(crate) struct Setting {
    pub(crate) id: RequestId,
    pub(crate) version: Version,
    pub(crate) is_head: bool,
    pub(crate) keep_alive: bool,
    /// The nonce that the client is told to use in proofs.
    pub(crate) nonce: Option<Nonce>,
    /// The client's token is bound to its key: nonces for proofs are the gateway's alone.
    pub(crate) is_bound: bool,
}

/// Writes the head of a forwarded answer; says how its body is framed and whether the connection goes on afterwards.
pub(crate) fn push_forwarded(out: &mut Vec<u8>, response: &ResponseFrame, setting: Setting) -> (Framing, bool) {
    let head = response.get();
    let framing = framing(head.status, head.body, head.upgrade, setting);
    let keep_alive = setting.keep_alive && !matches!(framing, Framing::Close | Framing::Upgraded);
    push_status(out, head.status, head.reason);
    for (name, value) in response.fields().filter(|(name, _)| passes(name, head.upgrade, setting.is_bound)) {
        push_field(out, name, value);
    }
    push_field(out, REQUEST_ID, &setting.id.to_hex());
    if let Some(nonce) = setting.nonce {
        push_field(out, NONCE, nonce.as_str().as_bytes());
    }
    match (framing, head.body) {
        (Framing::Upgraded, _) => push_field(out, b"Connection", b"Upgrade"),
        (Framing::Chunked, _) => push_field(out, b"Transfer-Encoding", b"chunked"),
        (_, BodyLength::Exact(length)) if has_length(head.status) => {
            push_field(out, b"Content-Length", itoa::Buffer::new().format(length).as_bytes());
        }
        (Framing::Length, _) => push_field(out, b"Content-Length", b"0"),
        _ => {}
    }
    push_connection(out, setting.version, keep_alive, framing);
    out.extend_from_slice(b"\r\n");
    (framing, keep_alive)
}

fn framing(status: u16, body: BodyLength, upgrade: bool, setting: Setting) -> Framing {
    match body {
        _ if upgrade => Framing::Upgraded,
        _ if setting.is_head || matches!(status, 100..=199 | 204 | 304) => Framing::None,
        BodyLength::None | BodyLength::Exact(_) => Framing::Length,
        BodyLength::Unknown if setting.version == Version::Http11 => Framing::Chunked,
        BodyLength::Unknown => Framing::Close,
    }
}

/// Whether a field of an answer is for the client, and not about the connection or written anew. `is_bound`: the client's token is bound
/// to its key, so that a nonce of the server's would lead the client's proofs astray.
pub(crate) fn passes(name: &[u8], upgrade: bool, is_bound: bool) -> bool {
    let known = Known::of(name);
    let ours = is_hop_by_hop(known) && !(known == Known::Trailer || (known == Known::Upgrade && upgrade));
    let foreign_nonce = is_bound && name.eq_ignore_ascii_case(NONCE);
    !(ours || foreign_nonce || known == Known::ContentLength || name.eq_ignore_ascii_case(REQUEST_ID))
}

/// Whether an answer of this status may have a Content-Length.
pub(crate) fn has_length(status: u16) -> bool {
    !matches!(status, 100..=199 | 204)
}

/// Writes a 1xx head; nothing for a client of version 1.0, which would take it for the answer.
pub(crate) fn push_interim(out: &mut Vec<u8>, response: &ResponseFrame, version: Version) {
    if version == Version::Http10 {
        return;
    }
    let head = response.get();
    push_status(out, head.status, head.reason);
    for (name, value) in response.fields().filter(|(name, _)| passes_interim(name)) {
        push_field(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of a 1xx head is for the client.
pub(crate) fn passes_interim(name: &[u8]) -> bool {
    let known = Known::of(name);
    !(is_hop_by_hop(known) || known == Known::ContentLength)
}

/// Writes an answer of the gateway's own. `allow`: the methods of the endpoint, for 405.
pub(crate) fn push_refusal(out: &mut Vec<u8>, refusal: Refusal, allow: &[String], setting: Setting) {
    let row = refusal.row();
    let body = refusal_body(refusal, setting.id);
    push_status(out, row.status, row.phrase.as_bytes());
    let own = Own { refusal, allow, id: setting.id, nonce: setting.nonce, length: body.len() };
    own.fields(|name, value| push_field(out, name, value));
    push_connection(out, setting.version, setting.keep_alive, Framing::Length);
    out.extend_from_slice(b"\r\n");
    if !setting.is_head {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Writes an answer with what the gateway itself knows.
pub(crate) fn push_own(out: &mut Vec<u8>, text: &str, setting: Setting) {
    push_status(out, 200, b"OK");
    crate::tenant::fields(setting.id, text.len(), |name, value| push_field(out, name, value));
    push_connection(out, setting.version, setting.keep_alive, Framing::Length);
    out.extend_from_slice(b"\r\n");
    if !setting.is_head {
        out.extend_from_slice(text.as_bytes());
    }
}

/// The body of an answer of the gateway's own.
pub(crate) fn refusal_body(refusal: Refusal, id: RequestId) -> String {
    format!("{}\nrequest {}\n", refusal.row().phrase, id)
}

/// An answer of the gateway's own.
pub(crate) struct Own<'a> {
    pub(crate) refusal: Refusal,
    /// The methods of the endpoint, for 405.
    pub(crate) allow: &'a [String],
    pub(crate) id: RequestId,
    /// For a proof, where one is asked for.
    pub(crate) nonce: Option<Nonce>,
    /// Bytes of the body.
    pub(crate) length: usize,
}

impl Own<'_> {
    /// Its fields.
    pub(crate) fn fields(&self, mut push: impl FnMut(&[u8], &[u8])) {
        push(b"Content-Type", b"text/plain; charset=utf-8");
        push(b"Content-Length", itoa::Buffer::new().format(self.length).as_bytes());
        push(b"Cache-Control", b"no-store");
        push(REQUEST_ID, &self.id.to_hex());
        if let Some(challenge) = self.refusal.challenge() {
            push(b"WWW-Authenticate", challenge.value().as_bytes());
        }
        if let Some(nonce) = self.nonce {
            push(NONCE, nonce.as_str().as_bytes());
        }
        match self.refusal.row().status {
            405 => push(b"Allow", self.allow.join(", ").as_bytes()),
            _ if self.refusal.is_temporary() => push(b"Retry-After", RETRY_AFTER.as_bytes()),
            _ => {}
        }
    }
}

fn push_status(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn push_connection(out: &mut Vec<u8>, version: Version, keep_alive: bool, framing: Framing) {
    match (framing, keep_alive, version) {
        (Framing::Upgraded, ..) | (_, true, Version::Http11) => {}
        (_, true, Version::Http10) => push_field(out, b"Connection", b"keep-alive"),
        (_, false, _) => push_field(out, b"Connection", b"close"),
    }
}

fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    cmg_http1::push_field(name, value, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_tells_no_nonce_to_a_client_whose_token_is_bound() {
        assert!(passes(b"dpop-nonce", false, false));
        assert!(!passes(b"dpop-nonce", false, true));
        assert!(passes(b"ETag", false, true));
    }

    #[test]
    fn a_client_of_version_1_0_gets_one_head_only() {
        // Status 103, no flags, no length, no reason, no fields.
        let payload: &[u8] = &[0, 103, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let hints = ResponseFrame::decode(payload.into()).expect("a head");
        let written = |version| {
            let mut out = Vec::new();
            push_interim(&mut out, &hints, version);
            out
        };

        assert_eq!(written(Version::Http11), b"HTTP/1.1 103 \r\n\r\n");
        assert_eq!(written(Version::Http10), b"");
    }
}
