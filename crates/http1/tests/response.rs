//! Heads of answers: one test per rule that differs from requests.

use cmg_http1::{Fault, Framing, HeadLimits, RequestKind, ResponseHead, Version, parse_response};

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8 };

fn parse(text: impl AsRef<[u8]>) -> Result<Option<ResponseHead>, Fault> {
    parse_response(text.as_ref(), &LIMITS, RequestKind::Other, Vec::new())
}

fn head_for(request: RequestKind, text: impl AsRef<[u8]>) -> ResponseHead {
    let text = text.as_ref();
    match parse_response(text, &LIMITS, request, Vec::new()) {
        Ok(Some(head)) => head,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(text)),
    }
}

fn head(text: impl AsRef<[u8]>) -> ResponseHead {
    head_for(RequestKind::Other, text)
}

#[track_caller]
fn refuses(fault: Fault, texts: &[&str]) {
    for text in texts {
        assert_eq!(parse(text), Err(fault), "{text:?}");
    }
}

#[test]
fn every_part_is_where_it_was() {
    let text = b"HTTP/1.0 990 CMGService_\xfc\t ok \r\nA: b\r\n\r\nbody";

    let head = head(text);

    assert_eq!((head.status, head.version), (990, Version::Http10));
    assert_eq!(head.reason.of(text), b"CMGService_\xfc\t ok ");
    assert_eq!(head.fields[0].value.of(text), b"b");
    assert_eq!(&text[head.len..], b"body");
}

#[test]
fn a_head_that_is_not_whole_needs_more() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";

    for len in 0..text.len() {
        assert_eq!(parse(&text[..len]), Ok(None), "{len}");
    }
}

#[test]
fn storage_is_used_again_and_forgets() {
    let first = head("HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n");

    let second = parse_response(b"HTTP/1.1 200 OK\r\nE: f\r\n\r\n", &LIMITS, RequestKind::Other, first.fields);

    assert_eq!(second.unwrap().unwrap().fields.len(), 1);
}

#[test]
fn the_reason_phrase_may_be_empty_or_missing_with_its_space() {
    assert!(head("HTTP/1.1 200 \r\n\r\n").reason.is_empty());
    assert!(head("HTTP/1.1 200\r\n\r\n").reason.is_empty());
}

#[test]
fn the_reason_phrase_has_no_control_characters() {
    refuses(Fault::ReasonPhrase, &["HTTP/1.1 200 O\0K\r\n\r\n", "HTTP/1.1 200 \u{7f}\r\n\r\n"]);
    refuses(Fault::BareCr, &["HTTP/1.1 200 O\rK\r\n\r\n"]);
}

#[test]
fn a_status_has_three_digits_from_100_on() {
    for (text, status) in [("100", 100), ("101", 101), ("299", 299), ("999", 999)] {
        let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
        assert_eq!(head(format!("HTTP/1.1 {text} \r\n{upgrade}\r\n")).status, status);
    }
    refuses(
        Fault::StatusLine,
        &[
            "HTTP/1.1 099 X\r\n\r\n",
            "HTTP/1.1 20 X\r\n\r\n",
            "HTTP/1.1 2000 X\r\n\r\n",
            "HTTP/1.1 2x0 X\r\n\r\n",
            "HTTP/1.1 +20 X\r\n\r\n",
            "HTTP/1.1 \r\n\r\n",
        ],
    );
}

#[test]
fn the_status_line_is_exact() {
    refuses(
        Fault::StatusLine,
        &[
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1\t200 OK\r\n\r\n",
            "HTTP/1.1 200\tOK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ],
    );
    refuses(Fault::Version, &["HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.2 200 OK\r\n\r\n"]);
}

#[test]
fn what_cannot_become_a_status_line_is_refused_at_once() {
    refuses(Fault::StatusLine, &["<", "HTTQ", "SSH-2.0-x\r\n", "\r"]);
}

#[test]
fn line_and_field_rules_are_those_of_requests() {
    refuses(Fault::BareLf, &["HTTP/1.1 200 OK\n\n", "HTTP/1.1 200 OK\r\nA: b\n\r\n"]);
    refuses(Fault::FoldedLine, &["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"]);
    refuses(Fault::SpaceBeforeColon, &["HTTP/1.1 200 OK\r\nA : b\r\n\r\n"]);
}

#[test]
fn limits_hold_here_too() {
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let parse = |bytes, fields| parse_response(text, &HeadLimits { bytes, fields }, RequestKind::Other, Vec::new());

    assert!(matches!(parse(text.len(), 1), Ok(Some(_))));
    assert_eq!(parse(text.len() - 1, 1), Err(Fault::HeadTooLarge));
    assert_eq!(parse(text.len(), 0), Err(Fault::TooManyFields));
}

#[test]
fn framing_is_what_was_declared_or_lasts_until_close() {
    for (lines, framing) in
        [("", Framing::UntilClose), ("Content-Length: 7\r\n", Framing::Length(7)), ("Transfer-Encoding: chunked\r\n", Framing::Chunked)]
    {
        assert_eq!(head(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).framing, framing);
    }
}

#[test]
fn some_answers_have_no_body_whatever_they_declare() {
    for status in [100, 103, 204, 304] {
        assert_eq!(head(format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n")).framing, Framing::None);
    }
    for (request, status, framing) in [
        (RequestKind::Head, 200, Framing::None),
        (RequestKind::Connect, 200, Framing::None),
        (RequestKind::Connect, 299, Framing::None),
        (RequestKind::Connect, 407, Framing::Length(7)),
        (RequestKind::Other, 205, Framing::Length(7)),
    ] {
        let head = head_for(request, format!("HTTP/1.1 {status} X\r\nContent-Length: 7\r\n\r\n"));
        assert_eq!(head.framing, framing, "{request:?} {status}");
    }
}

#[test]
fn ambiguous_framing_is_refused_even_where_there_is_no_body() {
    for status in ["200", "204", "304"] {
        for (fault, lines) in [
            (Fault::TransferEncodingWithContentLength, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            (Fault::ContentLengthDuplicate, "Content-Length: 5\r\nContent-Length: 5\r\n"),
            (Fault::ContentLengthInvalid, "Content-Length: 5, 5\r\n"),
            (Fault::TransferEncodingUnsupported, "Transfer-Encoding: gzip\r\n"),
        ] {
            refuses(fault, &[&format!("HTTP/1.1 {status} X\r\n{lines}\r\n")]);
        }
    }
    refuses(Fault::TransferEncodingInHttp10, &["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]);
}

#[test]
fn the_connection_lives_on_only_if_the_end_of_the_body_is_certain() {
    for (text, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\n", false),
        ("HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n", true),
        ("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\n", false),
        ("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", false),
    ] {
        assert_eq!(head(text).keep_alive, keep_alive, "{text}");
    }
}

#[test]
fn a_switch_of_protocols_says_to_what() {
    let head = head("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");

    assert_eq!((head.upgrade, head.framing), (true, Framing::None));
    let switches_to_another = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    refuses(Fault::SwitchWithoutUpgrade, &[switches_to_another, "HTTP/1.1 101 X\r\n\r\n", "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"]);
}

#[test]
fn an_offer_to_upgrade_is_no_switch() {
    assert!(!head("HTTP/1.1 426 X\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n").upgrade);
}
