//! Heads of requests: one test per rule.

use cmg_http1::{Fault, Framing, HeadLimits, Known, MAX_FIELD_NAME, RequestHead, Version, connection_options, parse_request};

const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 8 };

fn parse(text: impl AsRef<[u8]>) -> Result<Option<RequestHead>, Fault> {
    parse_request(text.as_ref(), &LIMITS, Vec::new())
}

/// A head of version 1.1 with a Host and these further lines.
fn with_fields(lines: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a.example\r\n{lines}\r\n").into_bytes()
}

fn head(text: impl AsRef<[u8]>) -> RequestHead {
    let text = text.as_ref();
    match parse(text) {
        Ok(Some(head)) => head,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(text)),
    }
}

#[track_caller]
fn refuses(fault: Fault, texts: &[&str]) {
    for text in texts {
        assert_eq!(parse(text), Err(fault), "{text:?}");
    }
}

#[track_caller]
fn refuses_fields(fault: Fault, lines: &[&str]) {
    for line in lines {
        assert_eq!(parse(with_fields(line)), Err(fault), "{line:?}");
    }
}

#[test]
fn every_part_is_where_it_was() {
    let text = b"CCM_POST /a%2f?MPLIST&{x}$ HTTP/1.1\r\nhOST:  a.example:443\t\r\nX-Empty:\r\nVia: \xff b\r\n\r\nbody";

    let head = head(text);

    assert_eq!(head.method.of(text), b"CCM_POST");
    assert_eq!(head.target.of(text), b"/a%2f?MPLIST&{x}$");
    assert_eq!(head.version, Version::Http11);
    let fields: Vec<_> = head.fields.iter().map(|f| (f.name.of(text), f.value.of(text), f.known)).collect();
    assert_eq!(
        fields,
        [(&b"hOST"[..], &b"a.example:443"[..], Known::Host), (b"X-Empty", b"", Known::Other), (b"Via", b"\xff b", Known::Via),]
    );
    assert_eq!(&text[head.len..], b"body");
}

#[test]
fn a_head_that_is_not_whole_needs_more() {
    let text = with_fields("A: b\r\n");

    for len in 0..text.len() {
        assert_eq!(parse(&text[..len]), Ok(None), "{len}");
    }
}

#[test]
fn storage_is_used_again_and_forgets() {
    let first = head(with_fields("A: b\r\nC: d\r\n"));
    let (capacity, place) = (first.fields.capacity(), first.fields.as_ptr());

    let second = parse_request(&with_fields(""), &LIMITS, first.fields).unwrap().unwrap();

    assert_eq!(second.fields.len(), 1);
    assert_eq!((second.fields.capacity(), second.fields.as_ptr()), (capacity, place));
}

#[test]
fn one_line_end_in_front_is_skipped_and_counted() {
    let mut text = b"\r\n".to_vec();
    text.extend(with_fields(""));

    assert_eq!(head(&text).len, text.len());
    assert_eq!(parse("\r"), Ok(None));
    assert_eq!(parse("\r\n"), Ok(None));
}

#[test]
fn two_line_ends_in_front_are_refused() {
    refuses(Fault::RequestLine, &["\r\n\r\n", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"]);
}

#[test]
fn bare_lf_is_refused_wherever_it_stands() {
    refuses(
        Fault::BareLf,
        &[
            "\n",
            "GET / HTTP/1.1\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\nC: d\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\n\r\n\r\n",
        ],
    );
}

#[test]
fn bare_cr_is_refused_wherever_it_stands() {
    refuses(
        Fault::BareCr,
        &[
            "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHo\rst: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\rb: c\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n",
        ],
    );
}

#[test]
fn the_method_is_a_token() {
    refuses(
        Fault::Method,
        &[
            " / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GÉT / HTTP/1.1\r\nHost: a\r\n\r\n",
            "G\tT / HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn what_cannot_become_a_method_is_refused_at_once() {
    refuses(Fault::Method, &["\u{16}\u{3}\u{1}", " ", "\0", "\r\n:"]);
    refuses(Fault::BareCr, &["\rG"]);
}

#[test]
fn the_request_line_has_three_parts() {
    refuses(
        Fault::RequestLine,
        &[
            "GET\r\nHost: a\r\n\r\n",
            "GET /\r\nHost: a\r\n\r\n",
            "GET / \r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / http/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1\r\nHost: a\r\n\r\n",
            "GET / HTTP/11.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn the_target_is_visible_ascii() {
    refuses(
        Fault::Target,
        &[
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /ü HTTP/1.1\r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn other_versions_have_a_fault_of_their_own() {
    refuses(Fault::Version, &["GET / HTTP/1.2\r\nHost: a\r\n\r\n", "GET / HTTP/0.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]);
}

#[test]
fn folded_lines_are_refused() {
    refuses_fields(Fault::FoldedLine, &[" a: b\r\n", "\ta\r\n", "A: b\r\n c\r\n", "A: b\r\n \r\n"]);
}

#[test]
fn names_are_tokens_right_before_their_colon() {
    refuses_fields(Fault::SpaceBeforeColon, &["A : b\r\n", "A\t: b\r\n", "Content-Length \t: 1\r\n"]);
    refuses_fields(Fault::FieldName, &[": b\r\n", "A B: c\r\n", "A(: b\r\n", "A\0: b\r\n", "Ä: b\r\n", "\u{b}: b\r\n"]);
    refuses_fields(Fault::MissingColon, &["A\r\n", "A b\r\n"]);
}

#[test]
fn values_have_no_control_characters() {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        let line = format!("A: b{}c\r\n", char::from(byte));
        refuses_fields(Fault::FieldValue, &[&line]);
    }
}

#[test]
fn values_keep_tabs_inside_and_bytes_beyond_ascii() {
    let mut text = with_fields("");
    text.truncate(text.len() - 2);
    text.extend(b"A:\t \x80\t\xff \t\r\n\r\n");

    let head = head(&text);

    assert_eq!(head.fields[1].value.of(&text), b"\x80\t\xff");
}

#[test]
fn known_names_are_recognised_in_any_case() {
    for (name, known) in Known::NAMES {
        assert_eq!(Known::of(name.as_bytes()), *known, "{name}");
        assert_eq!(Known::of(name.to_uppercase().as_bytes()), *known, "{name}");
        assert_eq!(Known::of(name.replacen('e', "_", 1).as_bytes()), if name.contains('e') { Known::Other } else { *known });
        assert_eq!(Known::of(format!("{name}s").as_bytes()), Known::Other, "{name}s");
    }
}

#[test]
fn limits_are_exact() {
    let text = with_fields("A: b\r\n");
    let parse = |bytes, fields| parse_request(&text, &HeadLimits { bytes, fields }, Vec::new());

    assert!(matches!(parse(text.len(), 2), Ok(Some(_))));
    assert_eq!(parse(text.len() - 1, 2), Err(Fault::HeadTooLarge));
    assert_eq!(parse(text.len(), 1), Err(Fault::TooManyFields));
    assert!(Fault::HeadTooLarge.too_large() && Fault::TooManyFields.too_large() && !Fault::BareLf.too_large());
}

#[test]
fn a_head_of_too_many_fields_is_not_waited_for() {
    let text = with_fields("A: b\r\n");
    let part = &text[..text.len() - 2];
    let parse = |fields| parse_request(part, &HeadLimits { fields, ..LIMITS }, Vec::new());

    assert_eq!(parse(2), Ok(None));
    assert_eq!(parse(1), Err(Fault::TooManyFields));
}

#[test]
fn a_field_name_has_255_bytes_at_most() {
    let with_name = |length: usize| with_fields(&format!("{}: b\r\n", "n".repeat(length)));

    assert_eq!(head(with_name(MAX_FIELD_NAME)).fields.len(), 2);
    assert_eq!(parse(with_name(MAX_FIELD_NAME + 1)), Err(Fault::FieldNameTooLong));
    assert!(Fault::FieldNameTooLong.too_large());
}

#[test]
fn bytes_behind_the_head_do_not_count_against_its_limit() {
    let mut text = with_fields("");
    let limits = HeadLimits { bytes: text.len(), fields: 1 };
    text.extend([b'x'; 4096]);

    assert!(matches!(parse_request(&text, &limits, Vec::new()), Ok(Some(_))));
}

#[test]
fn an_endless_head_is_refused_at_the_limit() {
    let text = [b'a'; 1024];

    assert_eq!(parse(&text[..1023]), Ok(None));
    assert_eq!(parse(text), Err(Fault::HeadTooLarge));
}

#[test]
fn version_1_1_has_exactly_one_host() {
    refuses(Fault::HostMissing, &["GET / HTTP/1.1\r\n\r\n"]);
    refuses(Fault::HostDuplicate, &["GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"]);
    assert_eq!(head("GET / HTTP/1.0\r\n\r\n").version, Version::Http10);
}

#[test]
fn host_is_a_name_or_an_address_and_perhaps_a_port() {
    for host in ["a", "a.example", "a_b-c~1.example.", "192.0.2.1:8443", "[2001:db8::1]", "[::1]:443", "a:00443"] {
        head(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for host in ["", ":443", "a:", "a:x", "a:443443", "a:1:2", "a b", "a,b", "a/b", "u@a", "a?b", "[]", "[::1", "[::1]x", "[g]", "ä", "%61"]
    {
        refuses(Fault::HostInvalid, &[&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")]);
    }
}

#[test]
fn framing_is_what_was_declared() {
    let framing = |lines| head(with_fields(lines)).framing;

    assert_eq!(framing(""), Framing::None);
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(framing("Content-Length: 0018446744073709551615\r\n"), Framing::Length(u64::MAX));
    assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Framing::Chunked);
}

#[test]
fn content_length_is_digits_and_fits() {
    refuses_fields(
        Fault::ContentLengthInvalid,
        &[
            "Content-Length:\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 1 1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length: 1.0\r\n",
            "Content-Length: ١\r\n",
        ],
    );
    refuses_fields(Fault::ContentLengthOverflow, &["Content-Length: 18446744073709551616\r\n", "Content-Length: 36893488147419103230\r\n"]);
}

#[test]
fn two_content_lengths_are_refused_even_if_equal() {
    refuses_fields(
        Fault::ContentLengthDuplicate,
        &["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\ncontent-length: 6\r\n"],
    );
}

#[test]
fn transfer_encoding_beside_content_length_is_refused() {
    refuses_fields(
        Fault::TransferEncodingWithContentLength,
        &["Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n"],
    );
}

#[test]
fn transfer_encoding_is_exactly_chunked() {
    refuses_fields(
        Fault::TransferEncodingUnsupported,
        &[
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked,\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
        ],
    );
    refuses_fields(Fault::TransferEncodingDuplicate, &["Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"]);
}

#[test]
fn version_1_0_has_no_transfer_encoding() {
    refuses(Fault::TransferEncodingInHttp10, &["POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"]);
}

#[test]
fn keep_alive_follows_version_and_options() {
    for (version, lines, keep_alive) in [
        ("1.1", "", true),
        ("1.1", "Connection: Close\r\n", false),
        ("1.1", "Connection: x, close\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(head(&text).keep_alive, keep_alive, "{text}");
    }
}

#[test]
fn only_100_continue_may_be_expected() {
    refuses_fields(Fault::Expectation, &["Expect:\r\n", "Expect: 200-ok\r\n", "Expect: 100-continue, x\r\n"]);

    assert!(head(with_fields("Expect: 100-Continue\r\n")).expect_continue);
    assert!(!head(with_fields("")).expect_continue);
    assert!(!head("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
}

#[test]
fn an_upgrade_takes_both_fields_version_1_1_and_no_body() {
    for (version, lines, upgrade) in [
        ("1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", true),
        ("1.1", "Upgrade: websocket\r\n", false),
        ("1.1", "Connection: Upgrade\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade:\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: WebSocket\r\n", true),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n", true),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", false),
        ("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", false),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n", false),
    ] {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(head(&text).upgrade, upgrade, "{text}");
    }
}

#[test]
fn trailers_are_understood_if_te_says_so() {
    assert!(head(with_fields("TE: Trailers\r\n")).te_trailers);
    assert!(head(with_fields("TE: gzip;q=0.5 ,trailers\r\n")).te_trailers);
    assert!(!head(with_fields("TE: gzip, trailersx\r\n")).te_trailers);
}

#[test]
fn connection_options_come_from_every_connection_field() {
    let text = with_fields("Connection: close,, X-A\r\nA: b\r\nconnection: ,X-B \r\n");

    let fields = head(&text).fields;
    let options: Vec<_> = connection_options(&fields, &text).collect();

    assert_eq!(options, [&b"close"[..], b"X-A", b"X-B"]);
}
