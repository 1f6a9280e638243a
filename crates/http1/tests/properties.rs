//! What holds for every input: no split changes the result, nothing panics, what is written reads the same.

use cmg_http1::{
    CHUNK_END, CRLF, Decoder, Fault, Field, Framing, HeadLimits, Known, LAST_CHUNK_HEAD, Piece, RequestKind, is_field_value, is_token,
    parse_request, parse_response, push_chunk_head, push_field,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

const LIMITS: HeadLimits = HeadLimits { bytes: 512, fields: 8 };

type OwnedField = (Vec<u8>, Vec<u8>, Known);

fn owned(fields: &[Field], buf: &[u8]) -> Vec<OwnedField> {
    fields.iter().map(|f| (f.name.of(buf).to_vec(), f.value.of(buf).to_vec(), f.known)).collect()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["X-[!#$%&'*+.^_`|~0-9a-zA-Z-]{0,12}", "(Via|date|Server|ETag)"].prop_map(String::into_bytes)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(b' '), Just(b'\t'), 0x21..=0x7e_u8, 0x80..=0xff_u8], 0..20)
}

fn fields() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    vec((name(), value()), 0..6)
}

fn write_fields(fields: &[(Vec<u8>, Vec<u8>)], out: &mut Vec<u8>) {
    for (name, value) in fields {
        push_field(name, value, out);
    }
    out.extend_from_slice(CRLF);
}

/// A valid head with bytes of something else behind it, and where it ends.
fn request() -> impl Strategy<Value = (Vec<u8>, usize)> {
    ("[A-Z_]{1,8}", "/[!-~]{0,30}", fields(), vec(any::<u8>(), 0..20)).prop_map(|(method, target, fields, rest)| {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: a.example\r\n").into_bytes();
        write_fields(&fields, &mut bytes);
        let len = bytes.len();
        bytes.extend(rest);
        (bytes, len)
    })
}

/// A valid chunked body of these pieces.
fn write_chunks(pieces: &[Vec<u8>], extension: &str, trailers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
        push_chunk_head(piece.len(), &mut out);
        out.truncate(out.len() - CRLF.len());
        out.extend_from_slice(extension.as_bytes());
        out.extend_from_slice(CRLF);
        out.extend_from_slice(piece);
        out.extend_from_slice(CHUNK_END);
    }
    out.extend_from_slice(LAST_CHUNK_HEAD);
    write_fields(trailers, &mut out);
    out
}

/// Bytes that often look like HTTP, so that they get far into the parsers.
fn suspicious() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 \r\n",
        b"Host: a\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close, x\r\n",
        b"Upgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"TE: trailers\r\n",
        b"A: b\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b" ",
        b":",
        b"3\r\nabc\r\n",
        b"0\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff",
        b";",
        b"a",
        b"[::1]:",
        b"\t",
    ];
    let word = prop_oneof![4 => select(words).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..6)];
    vec(word, 0..14).prop_map(|words| words.concat())
}

fn framing() -> impl Strategy<Value = Framing> {
    prop_oneof![
        3 => Just(Framing::Chunked),
        1 => (0..40_u64).prop_map(Framing::Length),
        1 => Just(Framing::UntilClose),
        1 => Just(Framing::None),
    ]
}

#[derive(Debug, Default, PartialEq)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<OwnedField>,
    fault: Option<Fault>,
    finished: bool,
    consumed: usize,
}

/// Decodes `input` as a reader does to whom it comes in parts that end at `cuts`: what is not consumed is kept.
fn decode(framing: Framing, input: &[u8], cuts: &[usize]) -> Body {
    let mut decoder = Decoder::new(framing);
    let mut body = Body::default();
    for &end in cuts.iter().chain([&input.len()]) {
        while body.fault.is_none() {
            let available = &input[body.consumed..end];
            match decoder.decode(available) {
                Err(fault) => body.fault = Some(fault),
                Ok(decoded) => {
                    assert!(decoded.consumed <= available.len());
                    let consumed = &available[..decoded.consumed];
                    body.consumed += decoded.consumed;
                    match decoded.piece {
                        Piece::Data(range) => {
                            assert!(!range.is_empty());
                            body.data.extend_from_slice(&consumed[range]);
                        }
                        Piece::Trailers(fields) => body.trailers.extend(owned(&fields, consumed)),
                        Piece::NeedMore | Piece::End => break,
                    }
                }
            }
        }
    }
    body.finished = decoder.is_finished();
    body
}

fn sorted_cuts(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn a_head_reads_the_same_however_much_follows((bytes, len) in request(), cut in any::<Index>()) {
        let whole = parse_request(&bytes, &LIMITS, Vec::new());
        let alone = parse_request(&bytes[..len], &LIMITS, Vec::new());
        let part = parse_request(&bytes[..cut.index(len)], &LIMITS, Vec::new());

        prop_assert_eq!(&whole, &alone);
        prop_assert_eq!(whole.unwrap().unwrap().len, len);
        prop_assert_eq!(part, Ok(None));
    }

    #[test]
    fn written_fields_read_the_same(sent in fields()) {
        let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
        write_fields(&sent, &mut bytes);
        let first = parse_response(&bytes, &LIMITS, RequestKind::Other, Vec::new()).unwrap().unwrap();
        let read = owned(&first.fields, &bytes);

        let mut again = b"HTTP/1.1 200 OK\r\n".to_vec();
        let values: Vec<_> = read.iter().map(|(name, value, _)| (name.clone(), value.clone())).collect();
        write_fields(&values, &mut again);
        let second = parse_response(&again, &LIMITS, RequestKind::Other, Vec::new()).unwrap().unwrap();

        prop_assert_eq!(&owned(&second.fields, &again), &read);
        let trimmed: Vec<_> = sent
            .iter()
            .map(|(name, value)| {
                let blank = |b: &u8| matches!(b, b' ' | b'\t');
                let start = value.iter().position(|b| !blank(b)).unwrap_or(value.len());
                let end = value.iter().rposition(|b| !blank(b)).map_or(start, |last| last + 1);
                (name.clone(), value[start..end].to_vec())
            })
            .collect();
        prop_assert_eq!(values, trimmed);
    }

    #[test]
    fn what_is_accepted_is_well_formed_and_reads_the_same_when_written_again(bytes in suspicious()) {
        let Ok(Some(head)) = parse_request(&bytes, &LIMITS, Vec::new()) else { return Ok(()) };
        prop_assert!(head.len <= bytes.len());
        prop_assert!(is_token(head.method.of(&bytes)));

        let mut again = [head.method.of(&bytes), b" ", head.target.of(&bytes), b" "].concat();
        again.extend_from_slice(if format!("{:?}", head.version) == "Http11" { b"HTTP/1.1\r\n" } else { b"HTTP/1.0\r\n" });
        for (name, value, _) in owned(&head.fields, &bytes) {
            prop_assert!(is_token(&name) && is_field_value(&value));
            push_field(&name, &value, &mut again);
        }
        again.extend_from_slice(CRLF);
        let second = parse_request(&again, &HeadLimits { bytes: 2 * LIMITS.bytes, ..LIMITS }, Vec::new()).unwrap().unwrap();

        prop_assert_eq!(owned(&second.fields, &again), owned(&head.fields, &bytes));
        prop_assert_eq!(
            (second.framing, second.keep_alive, second.expect_continue, second.upgrade, second.te_trailers),
            (head.framing, head.keep_alive, head.expect_continue, head.upgrade, head.te_trailers)
        );
    }

    #[test]
    fn a_refused_beginning_is_refused_with_whatever_follows(bytes in suspicious(), cut in any::<Index>()) {
        let part = &bytes[..cut.index(bytes.len() + 1)];

        if parse_request(part, &LIMITS, Vec::new()).is_err() {
            prop_assert!(parse_request(&bytes, &LIMITS, Vec::new()).is_err());
        }
        if parse_response(part, &LIMITS, RequestKind::Other, Vec::new()).is_err() {
            prop_assert!(parse_response(&bytes, &LIMITS, RequestKind::Other, Vec::new()).is_err());
        }
    }

    #[test]
    fn an_answer_that_is_accepted_ends_inside_the_input(bytes in suspicious()) {
        if let Ok(Some(head)) = parse_response(&bytes, &LIMITS, RequestKind::Other, Vec::new()) {
            prop_assert!(head.len <= bytes.len());
            prop_assert!(is_field_value(head.reason.of(&bytes)));
        }
    }

    #[test]
    fn chunks_come_back_however_they_are_split(
        pieces in vec(vec(any::<u8>(), 0..40), 0..5),
        extension in "(;[ -~]{0,10})?",
        trailers in fields(),
        cuts in vec(any::<Index>(), 0..12),
        rest in vec(any::<u8>(), 0..5),
    ) {
        let mut bytes = write_chunks(&pieces, &extension, &trailers);
        let len = bytes.len();
        bytes.extend(rest);

        let whole = decode(Framing::Chunked, &bytes, &[]);
        let split = decode(Framing::Chunked, &bytes, &sorted_cuts(&cuts, bytes.len()));

        prop_assert_eq!(&whole, &split);
        prop_assert_eq!((whole.data, whole.fault, whole.finished, whole.consumed), (pieces.concat(), None, true, len));
        prop_assert_eq!(whole.trailers.len(), trailers.len());
    }

    #[test]
    fn no_split_changes_the_data_or_the_verdict(
        framing in framing(), bytes in suspicious(), cuts in vec(any::<Index>(), 0..12),
    ) {
        let whole = decode(framing, &bytes, &[]);
        let split = decode(framing, &bytes, &sorted_cuts(&cuts, bytes.len()));

        prop_assert_eq!(whole.data, split.data);
        prop_assert_eq!(whole.trailers, split.trailers);
        prop_assert_eq!(whole.finished, split.finished);
        prop_assert_eq!(whole.fault.is_some(), split.fault.is_some());
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(framing in framing(), bytes in vec(any::<u8>(), 0..600)) {
        let _ = parse_request(&bytes, &LIMITS, Vec::new());
        let _ = parse_response(&bytes, &LIMITS, RequestKind::Other, Vec::new());
        let _ = decode(framing, &bytes, &[]);
    }
}
