//! Heads inside frames: counted lengths, no delimiters, so that no byte of a client can be read as structure.
//!
//! Both ends check what they take: names are tokens, values hold no control characters, lengths add up. The HTTP/1.1 that each end
//! speaks outwards is made anew from these parts.
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use cmg_core::ids::RequestId;

use crate::ask::CONTROL_ENDPOINT;

/// How long a body is, as its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// There is none.
    None,
    /// So many bytes.
    Exact(u64),
    /// Known at its end.
    Unknown,
}

/// A head that does not hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed head in a frame")]
pub struct HeadError;

const UPGRADE: u8 = 1;
const TRAILERS_WELCOME: u8 = 2;
const EXPECTS_CONTINUE: u8 = 4;
const HAS_BODY: u8 = 8;
const HAS_LENGTH: u8 = 16;

/// What a gateway tells about a request, before the fields.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Names the request on its whole way.
    pub id: RequestId,
    /// Number of the credential; zero: none.
    pub credential: u32,
    /// The endpoint.
    pub endpoint: &'a str,
    /// Request method.
    pub method: &'a [u8],
    /// Path and query as the client sent them.
    pub target: &'a [u8],
    /// Host and port as the client wrote them.
    pub authority: &'a [u8],
    /// The client's address.
    pub client: SocketAddr,
    /// Whether the client asks for a protocol upgrade.
    pub upgrade: bool,
    /// Whether the client takes trailers.
    pub trailers: bool,
    /// Whether the client waits for 100 (Continue).
    pub expects_continue: bool,
    /// The body.
    pub body: BodyLength,
}

/// What a connection point tells about an answer, before the fields.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Status code.
    pub status: u16,
    /// Reason phrase.
    pub reason: &'a [u8],
    /// Whether the connection is now something else than HTTP.
    pub upgrade: bool,
    /// The body.
    pub body: BodyLength,
}

/// Appends fields to a head. The HTTP parser has refused longer names than 255 bytes, and its callers longer heads than 65,536.
pub struct Fields<'v>(&'v mut Vec<u8>);

impl Fields<'_> {
    /// Appends one field: a name of at most 255 bytes and a value of at most 65,535. One that is longer is left out; whoever read it has
    /// to refuse it.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let (Ok(name_len), Ok(value_len)) = (u8::try_from(name.len()), u16::try_from(value.len())) else { return };
        self.0.push(name_len);
        self.0.extend_from_slice(name);
        self.0.extend_from_slice(&value_len.to_be_bytes());
        self.0.extend_from_slice(value);
    }
}

impl RequestHead<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>, fields: impl FnOnce(&mut Fields<'_>)) {
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.extend_from_slice(&self.credential.to_be_bytes());
        let flags = flag(self.upgrade, UPGRADE) | flag(self.trailers, TRAILERS_WELCOME) | flag(self.expects_continue, EXPECTS_CONTINUE);
        push_body(out, flags, self.body);
        push_address(out, self.client);
        push_short(out, self.endpoint.as_bytes());
        push_short(out, self.method);
        push_long(out, self.authority);
        push_long(out, self.target);
        fields(&mut Fields(out));
    }
}

impl ResponseHead<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>, fields: impl FnOnce(&mut Fields<'_>)) {
        out.extend_from_slice(&self.status.to_be_bytes());
        push_body(out, flag(self.upgrade, UPGRADE), self.body);
        push_short(out, &self.reason[..self.reason.len().min(255)]);
        fields(&mut Fields(out));
    }
}

/// Writes fields alone: trailers.
pub(crate) fn encode_fields(out: &mut Vec<u8>, fields: impl FnOnce(&mut Fields<'_>)) {
    fields(&mut Fields(out));
}

/// A request as received, checked.
#[derive(Debug)]
pub struct RequestFrame {
    payload: Bytes,
    layout: RequestLayout,
}

#[derive(Debug, Clone, Copy)]
struct RequestLayout {
    id: u128,
    credential: u32,
    flags: u8,
    body: BodyLength,
    client: SocketAddr,
    endpoint: (usize, usize),
    method: (usize, usize),
    authority: (usize, usize),
    target: (usize, usize),
    fields: usize,
}

impl RequestFrame {
    /// Reads and checks a request head.
    pub fn decode(payload: Bytes) -> Result<Self, HeadError> {
        let mut cursor = Cursor { bytes: &payload, at: 0 };
        let id = u128::from_be_bytes(cursor.array()?);
        let credential = u32::from_be_bytes(cursor.array()?);
        let (flags, body) = cursor.body()?;
        let layout = RequestLayout {
            id,
            credential,
            flags,
            body,
            client: cursor.address()?,
            endpoint: cursor.short()?,
            method: cursor.short()?,
            authority: cursor.long()?,
            target: cursor.long()?,
            fields: cursor.at,
        };
        check_fields(&payload[layout.fields..])?;
        let frame = Self { payload, layout };
        let head = frame.head()?;
        let sound = (cmg_core::ids::is_name(head.endpoint) || asks_the_peer(&head))
            && cmg_http1::is_token(head.method)
            && is_visible(head.target)
            && is_visible(head.authority);
        if sound { Ok(frame) } else { Err(HeadError) }
    }

    fn head(&self) -> Result<RequestHead<'_>, HeadError> {
        let part = |(start, end): (usize, usize)| &self.payload[start..end];
        Ok(RequestHead {
            id: RequestId(self.layout.id),
            credential: self.layout.credential,
            endpoint: std::str::from_utf8(part(self.layout.endpoint)).map_err(|_| HeadError)?,
            method: part(self.layout.method),
            target: part(self.layout.target),
            authority: part(self.layout.authority),
            client: self.layout.client,
            upgrade: self.layout.flags & UPGRADE != 0,
            trailers: self.layout.flags & TRAILERS_WELCOME != 0,
            expects_continue: self.layout.flags & EXPECTS_CONTINUE != 0,
            body: self.layout.body,
        })
    }

    /// The head.
    pub fn get(&self) -> RequestHead<'_> {
        self.head().expect("checked when it was read")
    }

    /// Whether the gateway itself asks the connection point itself: no client stands behind it.
    pub fn is_control(&self) -> bool {
        self.get().endpoint == CONTROL_ENDPOINT
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        FieldsIn(&self.payload[self.layout.fields..])
    }
}

/// An answer's head as received, checked.
#[derive(Debug)]
pub struct ResponseFrame {
    payload: Bytes,
    status: u16,
    flags: u8,
    body: BodyLength,
    reason: (usize, usize),
    fields: usize,
}

impl ResponseFrame {
    /// Reads and checks an answer's head.
    pub fn decode(payload: Bytes) -> Result<Self, HeadError> {
        let mut cursor = Cursor { bytes: &payload, at: 0 };
        let status = u16::from_be_bytes(cursor.array()?);
        let (flags, body) = cursor.body()?;
        let reason = cursor.short()?;
        let fields = cursor.at;
        check_fields(&payload[fields..])?;
        let upgrades_oddly = flags & UPGRADE != 0 && status != 101;
        if !(100..=999).contains(&status) || upgrades_oddly || !cmg_http1::is_field_value(&payload[reason.0..reason.1]) {
            return Err(HeadError);
        }
        Ok(Self { payload, status, flags, body, reason, fields })
    }

    /// Whether it is a 1xx head, after which another one comes. A 101 that upgrades the connection is an answer.
    pub(crate) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && !(self.status == 101 && self.flags & UPGRADE != 0)
    }

    /// The head.
    pub fn get(&self) -> ResponseHead<'_> {
        ResponseHead {
            status: self.status,
            reason: &self.payload[self.reason.0..self.reason.1],
            upgrade: self.flags & UPGRADE != 0,
            body: self.body,
        }
    }

    /// The fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        FieldsIn(&self.payload[self.fields..])
    }
}

/// Reads and checks fields alone: trailers.
pub(crate) fn decode_fields(payload: &[u8]) -> Result<impl Iterator<Item = (&[u8], &[u8])>, HeadError> {
    check_fields(payload)?;
    Ok(FieldsIn(payload))
}

/// Nobody's credential goes along with what a gateway asks for itself.
fn asks_the_peer(head: &RequestHead<'_>) -> bool {
    head.endpoint == CONTROL_ENDPOINT && head.credential == 0 && !head.upgrade
}

fn flag(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn push_body(out: &mut Vec<u8>, flags: u8, body: BodyLength) {
    let (bits, length) = match body {
        BodyLength::None => (0, 0),
        BodyLength::Exact(length) => (HAS_BODY | HAS_LENGTH, length),
        BodyLength::Unknown => (HAS_BODY, 0),
    };
    out.push(flags | bits);
    out.extend_from_slice(&length.to_be_bytes());
}

fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn push_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(255)];
    out.push(bytes.len() as u8);
    out.extend_from_slice(bytes);
}

fn push_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn is_visible(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (0x21..0x7f).contains(byte))
}

fn check_fields(bytes: &[u8]) -> Result<(), HeadError> {
    let mut rest = FieldsIn(bytes);
    for (name, value) in rest.by_ref() {
        if !cmg_http1::is_token(name) || !cmg_http1::is_field_value(value) {
            return Err(HeadError);
        }
    }
    if rest.0.is_empty() { Ok(()) } else { Err(HeadError) }
}

struct FieldsIn<'a>(&'a [u8]);

impl<'a> Iterator for FieldsIn<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name_len, rest) = self.0.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
        let (value_len, rest) = rest.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*value_len)))?;
        self.0 = rest;
        Some((name, value))
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeadError> {
        let array = self.bytes[self.at..].first_chunk::<N>().ok_or(HeadError)?;
        self.at += N;
        Ok(*array)
    }

    fn span(&mut self, length: usize) -> Result<(usize, usize), HeadError> {
        let start = self.at;
        if self.bytes.len() - start < length {
            return Err(HeadError);
        }
        self.at += length;
        Ok((start, self.at))
    }

    fn short(&mut self) -> Result<(usize, usize), HeadError> {
        let [length] = self.array()?;
        self.span(usize::from(length))
    }

    fn long(&mut self) -> Result<(usize, usize), HeadError> {
        let length = u16::from_be_bytes(self.array()?);
        self.span(usize::from(length))
    }

    fn body(&mut self) -> Result<(u8, BodyLength), HeadError> {
        let [flags] = self.array()?;
        let length = u64::from_be_bytes(self.array()?);
        let body = match (flags & HAS_BODY != 0, flags & HAS_LENGTH != 0) {
            (true, true) => BodyLength::Exact(length),
            (true, false) => BodyLength::Unknown,
            (false, _) => BodyLength::None,
        };
        Ok((flags, body))
    }

    fn address(&mut self) -> Result<SocketAddr, HeadError> {
        let ip = match self.array()? {
            [4] => IpAddr::from(self.array::<4>()?),
            [6] => IpAddr::from(self.array::<16>()?),
            _ => return Err(HeadError),
        };
        Ok(SocketAddr::new(ip, u16::from_be_bytes(self.array()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_request() -> Vec<u8> {
        let head = RequestHead {
            id: RequestId(7),
            credential: 3,
            endpoint: "mp1",
            method: b"CCM_POST",
            target: b"/x?MPLIST",
            authority: b"cmg.example:8443",
            client: "[2001:db8::1]:1234".parse().expect("an address"),
            upgrade: false,
            trailers: true,
            expects_continue: false,
            body: BodyLength::Exact(5),
        };
        let mut out = vec![];
        head.encode(&mut out, |fields| {
            fields.push(b"User-Agent", b"SMS CCM 5.0");
            fields.push(b"X-Empty", b"");
        });
        out
    }

    #[test]
    fn a_request_head_reads_back() {
        let frame = RequestFrame::decode(a_request().into()).expect("a sound head");
        let head = frame.get();

        assert_eq!((head.endpoint, head.method, head.target), ("mp1", &b"CCM_POST"[..], &b"/x?MPLIST"[..]));
        assert_eq!((head.body, head.trailers, head.upgrade), (BodyLength::Exact(5), true, false));
        assert_eq!(frame.fields().count(), 2);
    }

    #[test]
    fn a_cut_head_is_refused_at_every_byte() {
        let whole = a_request();
        for cut in 0..whole.len() {
            let decoded = RequestFrame::decode(Bytes::copy_from_slice(&whole[..cut]));
            let cut_at_a_field = decoded.is_ok_and(|frame| frame.fields().count() < 2);
            assert!(cut_at_a_field || RequestFrame::decode(Bytes::copy_from_slice(&whole[..cut])).is_err());
        }
    }

    #[test]
    fn control_characters_from_a_lying_gateway_are_refused() {
        for (from, to) in
            [(&b"SMS CCM"[..], &b"SMS\r\nCC"[..]), (b"User-Agent", b"User:Agent"), (b"/x?", b"/x "), (b"CCM_POST", b"CCM POST")]
        {
            let mut bytes = a_request();
            let at = bytes.windows(from.len()).position(|window| window == from).expect("present");
            bytes[at..at + to.len()].copy_from_slice(to);

            assert!(RequestFrame::decode(bytes.into()).is_err());
        }
    }
}
