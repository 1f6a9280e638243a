//! What a peer can send, for the fuzzer and for the replay of what it has found. Not part of the interface.
use bytes::{Bytes, BytesMut};

use crate::frame::{Frame, Kind, Reader};
use crate::greeting::{Greeting, Hello, decode_list};
use crate::head::{self, RequestFrame, ResponseFrame};
use crate::outbox::ClaimedCredential;

/// Takes `input` for what comes on a connection, and then for the payload of everything that has structure.
pub fn check(input: &[u8]) {
    let mut buffer = BytesMut::from(input);
    let mut reader = Reader::default();
    while let Ok(Some(frame)) = reader.take(&mut buffer) {
        decode(frame);
    }
    request(input);
    response(input);
}

fn decode(frame: Frame) {
    let payload = frame.payload;
    match frame.kind {
        Kind::Greeting => reads_back(Greeting::decode(&payload).map(|greeting| greeting.encode()), &payload),
        Kind::Hello => reads_back(Hello::decode(&payload).map(|hello| hello.encode()), &payload),
        Kind::Serves => drop(decode_list(&payload)),
        Kind::Credential => drop(ClaimedCredential::decode(&payload)),
        Kind::Request => request(&payload),
        Kind::Response | Kind::Interim => response(&payload),
        Kind::Trailers => {
            if let Ok(fields) = head::decode_fields(&payload) {
                sound(fields);
            }
        }
        _ => {}
    }
}

/// There is one way to write each of them.
fn reads_back(encoded: Option<Vec<u8>>, payload: &[u8]) {
    assert!(encoded.is_none_or(|encoded| encoded == payload));
}

fn request(payload: &[u8]) {
    let Ok(frame) = RequestFrame::decode(Bytes::copy_from_slice(payload)) else { return };
    let head = frame.get();
    assert!((cmg_core::ids::is_name(head.endpoint) || frame.is_control()) && cmg_http1::is_token(head.method));
    assert!(!head.target.iter().chain(head.authority).any(u8::is_ascii_control));
    sound(frame.fields());
}

fn response(payload: &[u8]) {
    let Ok(frame) = ResponseFrame::decode(Bytes::copy_from_slice(payload)) else { return };
    assert!((100..=999).contains(&frame.get().status) && cmg_http1::is_field_value(frame.get().reason));
    sound(frame.fields());
}

/// No field can be read as two, whoever writes it into a head.
fn sound<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    for (name, value) in fields {
        assert!(cmg_http1::is_token(name) && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    }
}
