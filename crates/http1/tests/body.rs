//! Bodies: one test per rule of the framing, and the encoding that goes the other way.

use cmg_http1::{
    Decoder, Fault, Framing, Known, LAST_CHUNK, MAX_CHUNK_EXTENSION, MAX_TRAILER_BYTES, MAX_TRAILER_FIELDS, Piece, is_hop_by_hop,
    push_chunk_head,
};

/// The data, names and values of trailers, how many bytes are left over.
type Body = (Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>, usize);

/// Decodes the whole input.
fn decode(framing: Framing, input: &[u8]) -> Result<Body, Fault> {
    let mut decoder = Decoder::new(framing);
    let (mut data, mut trailers, mut at) = (Vec::new(), Vec::new(), 0);
    loop {
        let rest = &input[at..];
        let decoded = decoder.decode(rest)?;
        at += decoded.consumed;
        match decoded.piece {
            Piece::Data(range) => data.extend_from_slice(&rest[range]),
            Piece::Trailers(fields) => {
                trailers.extend(fields.iter().map(|f| (f.name.of(rest).to_vec(), f.value.of(rest).to_vec())));
                break;
            }
            Piece::NeedMore => {
                decoder.end_of_input()?;
                break;
            }
            Piece::End => break,
        }
    }
    assert!(decoder.is_finished());
    Ok((data, trailers, input.len() - at))
}

fn chunked(input: impl AsRef<[u8]>) -> Result<Vec<u8>, Fault> {
    decode(Framing::Chunked, input.as_ref()).map(|(data, _, _)| data)
}

#[track_caller]
fn refuses(fault: Fault, inputs: &[&str]) {
    for input in inputs {
        assert_eq!(chunked(input), Err(fault), "{input:?}");
    }
}

#[test]
fn no_body_is_finished_from_the_start() {
    for framing in [Framing::None, Framing::Length(0)] {
        let mut decoder = Decoder::new(framing);

        assert!(decoder.is_finished());
        let decoded = decoder.decode(b"next").unwrap();
        assert_eq!((decoded.consumed, decoded.piece), (0, Piece::End));
    }
}

#[test]
fn a_length_takes_exactly_that_much() {
    assert_eq!(decode(Framing::Length(3), b"abcGET"), Ok((b"abc".to_vec(), Vec::new(), 3)));
}

#[test]
fn a_length_is_finished_with_its_last_byte() {
    let mut decoder = Decoder::new(Framing::Length(3));

    assert_eq!(decoder.decode(b"ab").unwrap().piece, Piece::Data(0..2));
    assert!(!decoder.is_finished());
    assert_eq!(decoder.decode(b"").unwrap().piece, Piece::NeedMore);
    assert_eq!(decoder.decode(b"cd").unwrap().piece, Piece::Data(0..1));
    assert!(decoder.is_finished());
}

#[test]
fn until_close_ends_with_the_input_only() {
    let mut decoder = Decoder::new(Framing::UntilClose);

    assert_eq!(decoder.decode(b"abc").unwrap().piece, Piece::Data(0..3));
    assert_eq!(decoder.decode(b"").unwrap().piece, Piece::NeedMore);
    assert!(!decoder.is_finished());
    assert_eq!(decoder.end_of_input(), Ok(()));
    assert!(decoder.is_finished());
}

#[test]
fn an_early_end_is_truncation() {
    assert_eq!(decode(Framing::Length(3), b"ab"), Err(Fault::Truncated));
    refuses(Fault::Truncated, &["", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0\r\n", "0\r\n\r", "0\r\nA: b\r\n"]);
}

#[test]
fn chunks_end_with_the_empty_one() {
    let input = b"3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\nGET";

    assert_eq!(decode(Framing::Chunked, input), Ok((b"abc0123456789".to_vec(), Vec::new(), 3)));
}

#[test]
fn a_big_chunk_is_one_piece() {
    let mut input = b"100000\r\n".to_vec();
    input.resize(8 + 0x10_0000, b'x');

    let decoded = Decoder::new(Framing::Chunked).decode(&input).unwrap();

    assert_eq!((decoded.consumed, decoded.piece), (input.len(), Piece::Data(8..input.len())));
}

#[test]
fn a_chunk_size_is_one_to_sixteen_hexadecimal_digits() {
    assert_eq!(chunked("0000000000000001\r\na\r\n0\r\n\r\n"), Ok(b"a".to_vec()));
    refuses(Fault::ChunkSizeTooLong, &["00000000000000001\r\n", "ffffffffffffffff0"]);
    refuses(
        Fault::ChunkSize,
        &["\r\n", ";a\r\n", "g\r\n", "0x1\r\n", " 1\r\n", "1 \r\n", "1\t\r\n", "+1\r\n", "-1\r\n", "1 ;a\r\n", "1,\r\n", "\0"],
    );
}

#[test]
fn the_largest_chunk_does_not_overflow() {
    let decoded = Decoder::new(Framing::Chunked).decode(b"ffffffffffffffff\r\nabc").unwrap();

    assert_eq!(decoded.piece, Piece::Data(18..21));
}

#[test]
fn chunk_lines_end_in_crlf() {
    refuses(Fault::BareLf, &["1\na\r\n0\r\n\r\n", "1;a\n", "\n"]);
    refuses(Fault::BareCr, &["1\ra\r\n", "1\r\r\n", "1;a\rb\r\n"]);
}

#[test]
fn chunk_data_is_followed_by_crlf() {
    refuses(
        Fault::ChunkEnd,
        &["1\r\nab\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\r\r\n", "1\r\nab\n0\r\n\r\n"],
    );
}

#[test]
fn chunk_extensions_are_skipped() {
    assert_eq!(chunked(b"1;a=\"b\"; c\t\xff\r\na\r\n0;x\r\n\r\n"), Ok(b"a".to_vec()));
    refuses(Fault::ChunkExtension, &["1;\0\r\n", "1;a\u{7f}\r\n", "0;\u{1b}\r\n"]);
}

#[test]
fn chunk_extensions_are_bounded() {
    let with_extension = |len: u16| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(usize::from(len)));

    assert_eq!(chunked(with_extension(MAX_CHUNK_EXTENSION)), Ok(b"a".to_vec()));
    refuses(Fault::ChunkExtensionTooLong, &[&with_extension(MAX_CHUNK_EXTENSION + 1)]);
}

#[test]
fn trailers_are_fields_behind_the_last_chunk() {
    let result = decode(Framing::Chunked, b"1\r\na\r\n0\r\nX-Sum:  1 \r\nETag: \"b\"\r\n\r\nGET");

    let trailers = [("X-Sum", "1"), ("ETag", "\"b\"")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(result, Ok((b"a".to_vec(), trailers.to_vec(), 3)));
}

#[test]
fn trailers_keep_the_rules_of_fields() {
    refuses(Fault::BareLf, &["0\r\n\n", "0\r\nA: b\n\r\n", "0\r\nA: b\r\n\n"]);
    refuses(Fault::BareCr, &["0\r\nA: b\rc\r\n\r\n"]);
    refuses(Fault::FoldedLine, &["0\r\nA: b\r\n c\r\n\r\n", "0\r\n A: b\r\n\r\n"]);
    refuses(Fault::SpaceBeforeColon, &["0\r\nA : b\r\n\r\n"]);
    refuses(Fault::FieldName, &["0\r\n: b\r\n\r\n"]);
    refuses(Fault::FieldValue, &["0\r\nA: \0\r\n\r\n"]);
}

#[test]
fn trailers_do_not_decide_framing_routing_or_identity() {
    for name in [
        "content-length",
        "Transfer-Encoding",
        "HOST",
        "Authorization",
        "Cmg-Authorization",
        "DPoP",
        "Connection",
        "Keep-Alive",
        "Trailer",
        "TE",
        "Upgrade",
        "Expect",
        "Content-Encoding",
        "Content-Range",
        "Content-Type",
        "Range",
        "Cache-Control",
        "Max-Forwards",
        "Cookie",
        "Set-Cookie",
        "Location",
        "Content-Location",
        "Forwarded",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Client-Cert",
        "Client-Cert-Chain",
    ] {
        refuses(Fault::TrailerForbidden, &[&format!("0\r\n{name}: 5\r\n\r\n")]);
    }
    assert_eq!(chunked("0\r\nDate: x\r\nServer: x\r\nVia: x\r\n\r\n"), Ok(Vec::new()));
}

#[test]
fn trailers_are_bounded() {
    let of_bytes = |bytes: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(bytes - "A: \r\n\r\n".len()));
    let of_fields = |fields: usize| format!("0\r\n{}\r\n", "A: b\r\n".repeat(fields));

    assert_eq!(chunked(of_bytes(MAX_TRAILER_BYTES)), Ok(Vec::new()));
    refuses(Fault::TrailersTooLarge, &[&of_bytes(MAX_TRAILER_BYTES + 1), &of_fields(MAX_TRAILER_FIELDS + 1)]);
    assert_eq!(chunked(of_fields(MAX_TRAILER_FIELDS)), Ok(Vec::new()));
}

#[test]
fn a_fault_stays() {
    let mut decoder = Decoder::new(Framing::Chunked);

    assert_eq!(decoder.decode(b"x"), Err(Fault::ChunkSize));
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(Fault::ChunkSize));
    assert_eq!(decoder.end_of_input(), Err(Fault::ChunkSize));
    assert!(!decoder.is_finished());
}

#[test]
fn chunk_heads_are_hexadecimal_without_leading_zeros() {
    for (len, text) in [(0, ""), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xfedc_ba98, "fedcba98\r\n")] {
        let mut out = Vec::new();
        push_chunk_head(len, &mut out);
        assert_eq!(out, text.as_bytes(), "{len}");
    }
    assert_eq!(chunked(LAST_CHUNK), Ok(Vec::new()));
}

#[test]
fn hop_by_hop_fields_are_these() {
    let dropped: Vec<_> = Known::NAMES.iter().filter(|(_, known)| is_hop_by_hop(*known)).map(|(name, _)| *name).collect();

    assert_eq!(
        dropped,
        [
            "transfer-encoding",
            "connection",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authorization",
            "te",
            "trailer",
            "upgrade",
        ]
    );
}

#[test]
fn every_fault_has_a_label_of_its_own() {
    let mut labels: Vec<_> = Fault::ALL.iter().map(|fault| fault.reason()).collect();
    labels.sort_unstable();
    labels.dedup();

    assert_eq!(labels.len(), Fault::ALL.len());
    assert!(labels.iter().all(|label| label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')));
}
