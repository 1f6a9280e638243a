//! The origin over real sockets.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cmg_lab::Origin;
use cmg_lab::origin::{Progress, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_target_arrives_byte_for_byte() {
    let origin = start().await;

    ask(&origin, "GET /a%2Fb//c?MPLIST&x={%7d}$ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;

    assert_eq!(origin.seen()[0].target, b"/a%2Fb//c?MPLIST&x={%7d}$");
}

#[tokio::test]
async fn bytes_follow_the_pattern() {
    let origin = start().await;

    let answer = ask(&origin, &get("/bytes/70000")).await;

    assert!(text(&answer).contains("Content-Length: 70000\r\n"));
    assert_eq!(&answer[answer.len() - 70000..], pattern(0, 70000));
}

#[tokio::test]
async fn a_range_is_honoured() {
    let origin = start().await;

    let answer = ask(&origin, "GET /bytes/100 HTTP/1.1\r\nRange: bytes=10-19\r\nConnection: close\r\n\r\n").await;

    assert!(text(&answer).starts_with("HTTP/1.1 206 "));
    assert_eq!(&answer[answer.len() - 14..], [b"\r\n\r\n".as_slice(), &pattern(10, 10)].concat());
}

#[tokio::test]
async fn an_upload_is_counted_and_hashed() {
    let origin = start().await;

    let answer = ask(&origin, "POST /upload HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc").await;

    assert!(text(&answer).contains("\"length\":3"));
    assert!(text(&answer).contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

#[tokio::test]
async fn a_chunked_upload_with_trailers_is_reported() {
    let origin = start().await;
    let body = "3;x=y\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n";

    let answer = ask(&origin, &format!("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}")).await;

    assert!(text(&answer).contains("\"length\":3"));
    assert!(text(&answer).contains("\"trailers\":[[\"X-Sum\",\"1\"]]"));
}

#[tokio::test]
async fn an_awaited_100_comes_before_the_answer() {
    let origin = start().await;
    let head = "POST /upload HTTP/1.1\r\nContent-Length: 0\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";

    assert!(text(&ask(&origin, head).await).starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_refused_upload_gets_no_100() {
    let origin = start().await;
    let head = "POST /refuse-upload HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";

    assert!(text(&ask(&origin, head).await).starts_with("HTTP/1.1 403 Forbidden\r\n"));
}

#[tokio::test]
async fn any_status_and_reason_can_be_asked_for() {
    let origin = start().await;

    assert!(text(&ask(&origin, &get("/status/990/Odd%20but%20true")).await).starts_with("HTTP/1.1 990 Odd but true\r\n"));
}

#[tokio::test]
async fn a_client_that_goes_away_is_noticed() {
    let origin = start().await;
    let mut client = TcpStream::connect(origin.address()).await.unwrap();
    client.write_all(get("/held").as_bytes()).await.unwrap();
    origin.wait_until(|seen| seen.len() == 1).await;

    drop(client);

    origin.wait_until(|seen| seen[0].progress == Progress::Broken).await;
}

#[tokio::test]
async fn a_held_request_is_answered_when_released() {
    let origin = start().await;
    origin.release(1);

    assert!(text(&ask(&origin, &get("/held")).await).ends_with("released\n"));
}

#[tokio::test]
async fn a_websocket_says_back_what_it_is_told() {
    let origin = start().await;
    let mut client = TcpStream::connect(origin.address()).await.unwrap();
    client.write_all(b"GET /ws HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").await.unwrap();
    // A masked text frame "Hello" (RFC 6455, 5.7), then a masked close.
    client.write_all(&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]).await.unwrap();
    client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();

    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();

    assert!(text(&answer).contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(answer.ends_with(b"\r\n\r\n\x81\x05Hello\x88\x00"));
}

#[tokio::test]
async fn an_early_hint_comes_first() {
    let origin = start().await;

    assert!(text(&ask(&origin, &get("/early-hints")).await).starts_with("HTTP/1.1 103 Early Hints\r\n"));
}

async fn start() -> Origin {
    Origin::start(([127, 0, 0, 1], 0).into()).await.unwrap()
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

async fn ask(origin: &Origin, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(origin.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}
