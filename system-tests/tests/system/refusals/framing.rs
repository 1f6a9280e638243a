//! Heads and bodies that could be read in two ways.

use std::sync::LazyLock;

use crate::support::Site;

static SITE: LazyLock<Site> = LazyLock::new(|| Site::start(|setup| setup.endpoint("small", "body_limit = 1000")).shared());

/// Sends a request made of a request line and further lines, CRLF after each, and asserts that it is refused for `detail`.
#[track_caller]
fn refused(lines: &[&str], detail: &str) {
    let request = format!("{}\r\n\r\n", lines.join("\r\n"));
    refused_bytes(request.as_bytes(), (400, "CMGService_Bad_Request", "malformed"), detail);
}

#[track_caller]
fn refused_bytes(request: &[u8], (status, phrase, label): (u16, &str, &str), detail: &str) {
    let mut wire = SITE.device().open();
    wire.write(request);

    let reply = wire.read();

    SITE.assert_refused(&reply, status, phrase, label);
    assert_eq!(SITE.logged(&reply)["detail"], detail);
    assert_eq!(reply.field("Connection"), Some("close"));
    assert!(wire.is_closed(), "nothing that follows is read");
}

const GET: &str = "GET / HTTP/1.1";
const POST: &str = "POST / HTTP/1.1";
const HOST: &str = "Host: localhost";

#[test]
fn a_length_beside_chunks() {
    refused(&[POST, HOST, "Content-Length: 5", "Transfer-Encoding: chunked"], "transfer_encoding_with_content_length");
}

#[test]
fn two_lengths() {
    refused(&[POST, HOST, "Content-Length: 5", "Content-Length: 5"], "content_length_duplicate");
}

#[test]
fn a_length_that_is_no_number() {
    for length in ["+5", "5 5", "0x5", "-1", "5,5", ""] {
        refused(&[POST, HOST, &format!("Content-Length: {length}")], "content_length_invalid");
    }
}

#[test]
fn a_length_beyond_all_bounds() {
    refused(&[POST, HOST, "Content-Length: 99999999999999999999"], "content_length_overflow");
}

#[test]
fn a_transfer_encoding_that_is_not_just_chunked() {
    for encoding in ["gzip, chunked", "chunked, identity", "xchunked", "\"chunked\""] {
        refused(&[POST, HOST, &format!("Transfer-Encoding: {encoding}")], "transfer_encoding_unsupported");
    }
}

#[test]
fn two_transfer_encodings() {
    refused(&[POST, HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], "transfer_encoding_duplicate");
}

#[test]
fn chunks_in_http_1_0() {
    refused(&["POST / HTTP/1.0", HOST, "Transfer-Encoding: chunked"], "transfer_encoding_in_http10");
}

#[test]
fn a_folded_line() {
    refused(&[GET, HOST, "X-Long: one", " two"], "folded_line");
}

#[test]
fn a_line_that_ends_in_a_bare_lf() {
    refused_bytes(b"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", (400, "CMGService_Bad_Request", "malformed"), "bare_lf");
}

#[test]
fn a_bare_cr() {
    refused_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", (400, "CMGService_Bad_Request", "malformed"), "bare_cr");
}

#[test]
fn a_blank_before_the_colon() {
    refused(&[GET, HOST, "Content-Length : 5"], "space_before_colon");
}

#[test]
fn a_field_name_that_is_no_name() {
    refused(&[GET, HOST, "X(Y): 1"], "field_name");
}

#[test]
fn a_line_without_a_colon() {
    refused(&[GET, HOST, "nonsense"], "missing_colon");
}

#[test]
fn a_control_character_in_a_value() {
    refused(&[GET, HOST, "X: a\0b"], "field_value");
}

#[test]
fn no_host() {
    refused(&[GET, "X: y"], "host_missing");
}

#[test]
fn two_hosts() {
    refused(&[GET, HOST, HOST], "host_duplicate");
}

#[test]
fn a_host_that_is_none() {
    refused(&[GET, "Host: local host/x"], "host_invalid");
}

#[test]
fn a_request_line_of_the_wrong_shape() {
    refused(&["GET", HOST], "request_line");
}

#[test]
fn a_method_that_is_no_token() {
    refused(&["GE(T / HTTP/1.1", HOST], "method");
}

#[test]
fn a_byte_beyond_ascii_in_the_target() {
    refused(&["GET /ü HTTP/1.1", HOST], "target");
}

#[test]
fn a_version_that_is_not_spoken() {
    for version in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"] {
        let request = format!("GET / {version}\r\nHost: localhost\r\n\r\n");
        refused_bytes(request.as_bytes(), (505, "CMGService_Version_Not_Supported", "unknown_version"), "version");
    }
}

#[test]
fn an_expectation_that_nobody_knows() {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: a-miracle\r\n\r\n";
    refused_bytes(request, (417, "CMGService_Expectation_Failed", "unknown_expectation"), "expectation");
}

#[test]
fn a_head_of_too_many_bytes() {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    refused_bytes(request.as_bytes(), (431, "CMGService_Head_Too_Large", "head_too_large"), "head_too_large");
}

#[test]
fn a_field_name_of_too_many_bytes() {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}: y\r\n\r\n", "x".repeat(256));
    refused_bytes(request.as_bytes(), (431, "CMGService_Head_Too_Large", "head_too_large"), "field_name_too_long");
}

#[test]
fn a_head_of_too_many_fields() {
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(101));
    refused_bytes(request.as_bytes(), (431, "CMGService_Head_Too_Large", "head_too_large"), "too_many_fields");
}

/// Sends what comes after the head of a chunked upload and asserts that the body is refused before the server has all of it.
#[track_caller]
fn body_refused(target: &str, body: &[u8], (status, phrase, label): (u16, &str, &str)) {
    let mut wire = SITE.device().open();
    wire.send_head("POST", target, &[("Transfer-Encoding", "chunked")]);
    wire.write(body);

    let reply = wire.read();

    SITE.assert_refused(&reply, status, phrase, label);
    assert!(wire.is_closed(), "nothing that follows is read");
}

#[test]
fn a_bad_chunk() {
    let bad: [&[u8]; 6] = [b"x\r\n", b"5\nhello\r\n", b"5\r\nhello6\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"0x5\r\nhello\r\n"];
    for body in bad {
        body_refused(&(SITE.mutual() + "/upload"), body, (400, "CMGService_Bad_Request", "body_malformed"));
    }
}

#[test]
fn a_trailer_that_frames() {
    body_refused(&(SITE.mutual() + "/upload"), b"0\r\nContent-Length: 5\r\n\r\n", (400, "CMGService_Bad_Request", "body_malformed"));
}

#[test]
fn a_chunked_body_that_grows_too_large() {
    let body = [&b"3e8\r\n"[..], &[b'x'; 1000], b"\r\n1\r\nx\r\n"].concat();
    body_refused("/small/upload", &body, (413, "CMGService_Body_Too_Large", "body_too_large"));
}

#[test]
fn a_length_that_is_too_large() {
    let reply = SITE.device().request("POST", "/small/upload?large", &[], &[b'x'; 1001]);

    SITE.assert_refused(&reply, 413, "CMGService_Body_Too_Large", "body_too_large");
    assert!(!SITE.origin.seen().iter().any(|seen| seen.target == b"/upload?large"), "and nothing of it is forwarded");
}
