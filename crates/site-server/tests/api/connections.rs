//! The interface over real connections.

use std::sync::Arc;

use cmg_process::shutdown::Drain;
use cmg_site_server::http::api;
use cmg_site_server::http::listener::Service;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{Ask, House};

/// Sends bytes to the interface of `house`, and gives all that comes back.
async fn exchange(house: &House, request: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let service = Service { listener, tls: None, router: api::router(Arc::clone(&house.site)), drain: Arc::new(Drain::default()) };
    let serving = tokio::spawn(service.run());
    // What is too large is not read to its end, so not all of it may be taken.
    let _ = client.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer).await;
    serving.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn before_anybody_is_signed_in_little_is_read() {
    let house = House::new().await;
    for path in ["sessions", "setup"] {
        let head = |length: usize| {
            format!(
                "POST /api/v1/{path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\n\r\n"
            )
        };

        let most = exchange(&house, head(4096) + &"x".repeat(4096)).await;
        let more = exchange(&house, head(4097)).await;
        let endless = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked") + "2000\r\n" + &"x".repeat(0x2000);
        let endless = exchange(&house, endless).await;

        assert!(!most.starts_with("HTTP/1.1 413 "), "{most}");
        assert!(more.starts_with("HTTP/1.1 413 "), "{more}");
        assert!(endless.starts_with("HTTP/1.1 413 "), "{endless}");
    }
}

fn head(session: &str, rest: &str) -> String {
    format!(
        "POST /api/v1/boundary-groups HTTP/1.1\r\nHost: site\r\nConnection: close\r\nAuthorization: Bearer {session}\r\n\
         Content-Type: application/json\r\n{rest}\r\n\r\n"
    )
}

#[tokio::test]
async fn an_audit_record_has_the_address_of_the_connection() {
    let house = House::new().await;
    let session = house.session("ian").await;

    let answer = exchange(&house, head(&session, "Content-Length: 14\r\nX-Forwarded-For: 192.0.2.1") + r#"{"name":"vpn"}"#).await;

    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let audit = house.ask_as("ann", Ask::get("/audit")).await;
    assert_eq!(audit.body["items"][0]["address"], json!("127.0.0.1"));
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let house = House::new().await;
    let session = house.session("ian").await;

    let answer = exchange(&house, head(&session, "Content-Length: 99999999")).await;

    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("/problems/too-large"), "{answer}");
}
