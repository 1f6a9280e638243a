//! What strangers and mistakes send, and a database that does not answer.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tower::ServiceExt;

use crate::house::{Ask, House};

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let house = House::new().await;
    let body = br#"{"name":"vpn"}"#;
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/json; charset=latin-1")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let ask = Ask::new("POST", "/boundary-groups").bytes(body.to_vec());
        let ask = headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
        let refused = house.ask_as("ian", ask).await;
        assert_eq!((refused.status.as_u16(), refused.kind()), (415, "media-type"), "{headers:?}");
    }
    let ask = Ask::new("POST", "/boundary-groups").bytes(body.to_vec()).header("content-type", "Application/JSON; charset=UTF-8");
    assert_eq!(house.ask_as("ian", ask).await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whatever_it_says_of_its_length() {
    let house = House::new().await;
    let body = json!({ "name": "vpn", "description": "x".repeat(5 << 20) });
    let length = body.to_string().len().to_string();

    let without_length = house.ask_as("ian", Ask::post("/boundary-groups", body.clone())).await;
    let with_length = house.ask_as("ian", Ask::post("/boundary-groups", body).header("content-length", &length)).await;

    for refused in [without_length, with_length] {
        assert_eq!((refused.status.as_u16(), refused.kind()), (413, "too-large"));
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_in_one_way_only_is_refused() {
    let house = House::new().await;
    let deep = format!("{{\"name\": {}1{}}}", "[".repeat(1_000), "]".repeat(1_000));
    for body in ["", "{", "[]", "null", r#"{"name": "a", "name": "b"}"#, r#"{"name": "a"} {}"#, &deep] {
        let ask = Ask::new("POST", "/boundary-groups").bytes(body.as_bytes().to_vec()).header("content-type", "application/json");
        let refused = house.ask_as("ian", ask).await;
        assert_eq!((refused.status.as_u16(), refused.kind()), (400, "malformed"), "{body:.60}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let house = House::new().await;

    let nothing = house.ask(Ask::get("/nothing")).await;
    let method = house.ask(Ask::new("PATCH", "/gateways")).await;

    assert_eq!((nothing.status.as_u16(), nothing.kind()), (404, "not-found"));
    assert_eq!((method.status.as_u16(), method.kind()), (405, "method-not-allowed"));
}

#[tokio::test]
async fn every_answer_names_its_request_and_is_not_kept() {
    let house = House::new().await;
    for ask in [Ask::get("/openapi.json"), Ask::get("/gateways"), Ask::get("/nothing"), Ask::new("PATCH", "/gateways")] {
        let answered = house.ask(ask.header("x-request-id", "chosen")).await;

        let id = answered.header("x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        if !answered.status.is_success() {
            assert_eq!(answered.body["request_id"], json!(id));
            assert_eq!(answered.header("content-type"), Some("application/problem+json"));
            assert_eq!(answered.body["status"], json!(answered.status.as_u16()));
        }
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
            assert_eq!(answered.header(name), Some(value));
        }
        assert!(answered.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
}

#[tokio::test]
async fn what_shows_no_session_that_counts_is_not_signed_in() {
    let house = House::new().await;
    for authorization in ["Bearer x", "Bearer cmg_x", "Bearer ", "Basic YTpi", "nonsense", "Bearer a b"] {
        let refused = house.ask(Ask::get("/gateways").header("authorization", authorization)).await;
        assert_eq!((refused.status.as_u16(), refused.kind()), (401, "not-signed-in"), "{authorization}");
    }
}

#[tokio::test]
async fn a_path_that_is_no_text_is_refused() {
    let house = House::new().await;
    let session = house.session("ann").await;
    let request = Request::get("/api/v1/gateways/%ff").header("authorization", format!("Bearer {session}")).body(Body::empty()).unwrap();

    let response = cmg_site_server::http::api::router(house.site.clone()).oneshot(request).await.unwrap();

    assert_eq!(response.status().as_u16(), 400);
}

#[tokio::test]
async fn a_database_that_is_gone_is_told_with_when_to_ask_again() {
    let house = House::new().await;
    let session = house.session("ian").await;
    house.site.store.close().await;

    let refused = house.ask(Ask::post("/boundary-groups", json!({ "name": "vpn" })).bearer(&session)).await;

    assert_eq!((refused.status.as_u16(), refused.kind()), (503, "unavailable"));
    assert!(refused.header("retry-after").is_some());
}
