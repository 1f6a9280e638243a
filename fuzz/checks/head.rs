//! Heads and bodies of HTTP/1.1, both ways: whatever comes, spans stay inside, a part never says more than the whole, and a body
//! is found the same however it is cut.

use cmg_http1::{Decoder, Field, Framing, HeadLimits, Piece, RequestKind, parse_request, parse_response};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 32 };

pub(crate) fn check(input: &[u8]) {
    if let Ok(Some(head)) = parse_request(input, &LIMITS, Vec::new()) {
        assert!(head.len <= input.len());
        assert!(!head.method.of(input).is_empty() && !head.target.of(input).is_empty());
        fields_are_sound(&head.fields, &input[..head.len]);
        for cut in [head.len / 2, head.len - 1] {
            assert!(matches!(parse_request(&input[..cut], &LIMITS, Vec::new()), Ok(None)), "a part of a good head is a whole one, or bad");
        }
        bodies_are_the_same(head.framing, &input[head.len..]);
    }
    for kind in [RequestKind::Other, RequestKind::Head, RequestKind::Connect] {
        if let Ok(Some(head)) = parse_response(input, &LIMITS, kind, Vec::new()) {
            assert!(head.len <= input.len() && (100..=999).contains(&head.status));
            fields_are_sound(&head.fields, &input[..head.len]);
            bodies_are_the_same(head.framing, &input[head.len..]);
        }
    }
    bodies_are_the_same(Framing::Chunked, input);
}

fn fields_are_sound(fields: &[Field], head: &[u8]) {
    assert!(fields.len() <= LIMITS.fields);
    for field in fields {
        assert!(cmg_http1::is_token(field.name.of(head)) && cmg_http1::is_field_value(field.value.of(head)));
    }
}

/// A body that is there at once, and the same body byte by byte.
fn bodies_are_the_same(framing: Framing, input: &[u8]) {
    let whole = decode(framing, input, input.len().max(1));
    let pieces = decode(framing, input, 1);
    assert_eq!(whole.0, pieces.0);
    assert_eq!(whole.1, pieces.1);
}

/// The body's bytes, and whether it ended well.
fn decode(framing: Framing, input: &[u8], step: usize) -> (Vec<u8>, Option<bool>) {
    let mut decoder = Decoder::new(framing);
    let (mut body, mut at, mut end) = (Vec::new(), 0, step.min(input.len()));
    loop {
        let Ok(decoded) = decoder.decode(&input[at..end]) else { return (body, Some(false)) };
        assert!(decoded.consumed <= end - at);
        match decoded.piece {
            Piece::Data(range) => {
                assert!(!range.is_empty() && range.end <= decoded.consumed);
                body.extend_from_slice(&input[at..end][range]);
            }
            Piece::End | Piece::Trailers(_) => {
                assert!(decoder.is_finished());
                return (body, Some(true));
            }
            Piece::NeedMore if end == input.len() => return (body, None),
            Piece::NeedMore => end = (end + step).min(input.len()),
        }
        at += decoded.consumed;
    }
}
