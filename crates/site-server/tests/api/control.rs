//! The control port: what strangers may send there, and how many there may be.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, StatusCode};
use cmg_api::bytes::Base64;
use cmg_api::control::{STATUS_CONTEXT, Signed};
use cmg_authority::PrivateKey;
use cmg_core::ids::{ConnectionPointId, GatewayId, ManagementPointId, Role};
use cmg_credentials::members::signed_bytes;
use cmg_lab::{Authority, Issued};
use cmg_process::shutdown::Drain;
use cmg_site_server::app::change::Actor;
use cmg_site_server::http::control;
use cmg_site_server::http::listener::{Peer, Service};
use hyper::body::Frame;
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, PrivateKeyDer};
use rcgen::SigningKey;
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tower::ServiceExt;

use crate::house::{Ask, House, peer};

/// A body without end, which tells whether anybody has read of it.
struct Endless(Arc<AtomicBool>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096])))))
    }
}

async fn send(house: &House, method: &str, path: &str, peer: Peer, body: Body) -> StatusCode {
    let request = Request::builder().method(method).uri(format!("/control/v1/{path}")).body(body).unwrap();
    control::router(Arc::clone(&house.site)).layer(Extension(peer)).oneshot(request).await.unwrap().status()
}

async fn point(house: &House) -> Peer {
    let made = house.ask_as("ian", Ask::post("/connection-points", json!({ "name": "cp-1" }))).await;
    assert_eq!(made.status.as_u16(), 201, "{made:?}");
    enrol(house, "connection-point/cp-1").await;
    Peer { member: Some(Role::ConnectionPoint(ConnectionPointId::new("cp-1"))), ..peer("127.0.0.1:1", true) }
}

/// Makes a member one that has a certificate, without its program.
async fn enrol(house: &House, member: &str) {
    let mut draft = house.site.draft(&Actor::default()).await.unwrap();
    draft.ground.sealing_keys.insert(member.to_owned(), vec![4; 65]);
    draft.publish();
    draft.commit().await.unwrap();
}

#[tokio::test]
async fn who_has_no_certificate_that_counts_is_told_to_enrol() {
    let house = House::new().await;
    let point = point(&house).await;
    let status = async || send(&house, "GET", "news?after=0.0", point.clone(), Body::empty()).await.as_u16();
    assert_eq!(status().await, 200);

    let mut draft = house.site.draft(&Actor::default()).await.unwrap();
    draft.ground.sealing_keys.clear();
    draft.publish();
    draft.commit().await.unwrap();

    assert_eq!(status().await, 403);
}

#[tokio::test]
async fn a_revoked_certificate_of_a_member_that_was_enrolled_again_does_not_count() {
    let house = House::new().await;
    let now = point(&house).await;
    let fingerprint = cmg_api::bytes::Sha256([7; 32]);
    let before = Peer { fingerprint: Some(fingerprint), ..now.clone() };
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let revoked = cmg_store::IssuedCertificate {
        serial: "07".to_owned(),
        authority: "infrastructure".to_owned(),
        subject: "connection-point/cp-1".to_owned(),
        purpose: "connection-point".to_owned(),
        not_before: 0,
        not_after: house.now() + 60,
        fingerprint: fingerprint.to_string(),
        revoked_at: Some(house.now()),
    };
    change.add_certificate(&revoked).await.unwrap();
    change.commit().await.unwrap();
    enrol(&house, "connection-point/cp-1").await;

    for (who, expected) in [(now, 200), (before, 403)] {
        assert_eq!(send(&house, "GET", "news?after=0.0", who, Body::empty()).await.as_u16(), expected);
    }
}

/// A gateway instance with a certificate, which speaks through connection points.
struct Gateway {
    key: PrivateKey,
    chain: Vec<Base64>,
}

impl Gateway {
    fn new(house: &House, name: &str) -> Self {
        let key = PrivateKey::generate().unwrap();
        let role = Role::Gateway(GatewayId::new(name));
        let issued = house.site.keys().infrastructure.member(&role, &key.public(), house.site.now()).unwrap();
        Self { key, chain: issued.chain.into_iter().map(Base64).collect() }
    }

    /// Says at `said_at` that it has the generation with this number in force.
    fn says(&self, number: u64, said_at: u64) -> serde_json::Value {
        let payload = json!({
            "applied": { "epoch": 1, "number": number }, "applied_at": 1, "refused": null, "version": "0", "certificate_ends": 1,
            "findings": [], "tunnels": {}, "said_at": said_at,
        });
        let payload = payload.to_string();
        let signature = Base64(self.key.sign(&signed_bytes(STATUS_CONTEXT, payload.as_bytes())).unwrap());
        serde_json::to_value(Signed { payload, chain: self.chain.clone(), signature }).unwrap()
    }
}

/// The generation that `gw-1` has in force, as the site knows it.
async fn applied(house: &House) -> Option<u64> {
    let known = house.site.store.member_statuses().await.unwrap().into_iter().find(|status| status.name == "gw-1")?;
    serde_json::from_str::<serde_json::Value>(&known.body).unwrap()["applied"]["number"].as_u64()
}

#[tokio::test]
async fn a_gateways_state_is_what_it_has_signed_and_the_newest_of_it() {
    let house = House::new().await;
    let instances = json!([{ "name": "gw-1", "address": "a:443" }]);
    let made = house.ask_as("ian", Ask::post("/gateways", json!({ "name": "main", "host": "cmg.example", "instances": instances }))).await;
    assert_eq!(made.status.as_u16(), 201, "{made:?}");
    let point = point(&house).await;
    let (gateway, other) = (Gateway::new(&house, "gw-1"), Gateway::new(&house, "gw-2"));
    let tell =
        async |report: serde_json::Value| send(&house, "POST", "status", point.clone(), Body::from(report.to_string())).await.as_u16();

    assert_eq!(tell(json!({ "members": {}, "gateways": { "gateway/gw-1": other.says(9, 9) } })).await, 204);
    assert_eq!(applied(&house).await, None, "signed by another");
    assert_eq!(tell(json!({ "members": {}, "gateways": { "gateway/gw-1": gateway.says(3, 5_000) } })).await, 204);
    assert_eq!(applied(&house).await, Some(3));
    assert_eq!(tell(json!({ "members": {}, "gateways": { "gateway/gw-1": gateway.says(2, 4_000) } })).await, 204);
    assert_eq!(applied(&house).await, Some(3), "an older word that came by another way");

    let unsigned: serde_json::Value = serde_json::from_str(gateway.says(8, 8)["payload"].as_str().unwrap()).unwrap();
    assert_eq!(tell(json!({ "members": { "gateway/gw-1": unsigned } })).await, 403, "the connection point's own word");
    assert_eq!(tell(json!({ "members": {}, "gateways": { "gateway/gw-2": other.says(1, 1) } })).await, 403, "it connects to none such");
    assert_eq!(applied(&house).await, Some(3));
}

#[tokio::test]
async fn each_kind_of_member_has_its_own_routes_and_no_others() {
    let house = House::new().await;
    let point = point(&house).await;
    let made = house.ask_as("ian", Ask::post("/management-points", json!({ "name": "mp-1", "host": "mp1.corp.example" }))).await;
    assert_eq!(made.status.as_u16(), 201, "{made:?}");
    enrol(&house, "management-point/mp-1").await;
    let management_point = Peer { member: Some(Role::ManagementPoint(ManagementPointId::new("mp-1"))), ..peer("127.0.0.1:1", true) };
    let gateway = Peer { member: Some(Role::Gateway(GatewayId::new("gw-1"))), ..peer("127.0.0.1:1", true) };
    let part = format!("part/{}", "0".repeat(64));
    let of_points = [
        ("GET", "news?after=0.0"),
        ("GET", &part),
        ("POST", "status"),
        ("POST", "renew"),
        ("POST", "gateway/enrol"),
        ("POST", "gateway/renew"),
    ];
    let part = format!("management-point/{part}");
    let of_management_points = [
        ("GET", "management-point/news?after=0.0"),
        ("GET", &part),
        ("POST", "management-point/status"),
        ("POST", "management-point/renew"),
        ("POST", "client/register"),
        ("POST", "client/token"),
        ("POST", "client/exchange"),
        ("POST", "client/messages"),
        ("POST", "client/presence"),
        ("GET", "client/tasks?after=0"),
    ];

    for (own, other, routes) in [(&point, &management_point, &of_points[..]), (&management_point, &point, &of_management_points[..])] {
        for (method, path) in routes {
            let mut statuses = Vec::new();
            for who in [own, other, &gateway, &peer("127.0.0.1:1", true)] {
                statuses.push(send(&house, method, path, who.clone(), Body::empty()).await.as_u16());
            }
            assert!(statuses[0] != 401 && statuses[1..] == [401, 401, 401], "{method} {path}: {statuses:?}");
        }
    }
}

#[tokio::test]
async fn of_a_stranger_nothing_is_read_but_its_enrolment() {
    let house = House::new().await;
    let removed = Peer { member: Some(Role::ConnectionPoint(ConnectionPointId::new("gone"))), ..peer("127.0.0.1:1", true) };
    for (who, expected) in [(peer("127.0.0.1:1", true), 401), (removed, 403)] {
        for path in ["status", "renew", "gateway/enrol", "gateway/renew"] {
            let is_read = Arc::new(AtomicBool::new(false));

            let status = send(&house, "POST", path, who.clone(), Body::new(Endless(Arc::clone(&is_read)))).await;

            assert_eq!((status.as_u16(), is_read.load(Ordering::Relaxed)), (expected, false), "{path}");
        }
    }
    assert_eq!(send(&house, "POST", "enrol", peer("127.0.0.1:1", true), Body::from("{}")).await.as_u16(), 400, "read, and no request");
}

#[tokio::test]
async fn each_question_has_its_largest_body() {
    let house = House::new().await;
    let point = point(&house).await;
    for (method, path, who, largest) in [
        ("POST", "enrol", &peer("127.0.0.1:1", true), 64 << 10),
        ("POST", "renew", &point, 64 << 10),
        ("POST", "gateway/renew", &point, 64 << 10),
        ("POST", "gateway/enrol", &point, 64 << 10),
        ("POST", "status", &point, cmg_api::control::LARGEST_MESSAGE),
        ("GET", "news?after=0.0", &point, 0),
    ] {
        let most = send(&house, method, path, who.clone(), Body::from(vec![b' '; largest])).await;
        let more = send(&house, method, path, who.clone(), Body::from(vec![b' '; largest + 1])).await;
        let endless = send(&house, method, path, who.clone(), Body::new(Endless(Arc::default()))).await;

        assert_ne!(most, StatusCode::PAYLOAD_TOO_LARGE, "{path}");
        assert_eq!((more, endless), (StatusCode::PAYLOAD_TOO_LARGE, StatusCode::PAYLOAD_TOO_LARGE), "{path}");
    }
}

#[tokio::test]
async fn an_address_without_a_certificate_gets_a_few_connections() {
    let house = House::founded().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = control::router(Arc::clone(&house.site));
    let serving = tokio::spawn(Service { listener, tls: None, router, drain: Arc::new(Drain::default()) }.run_for_members());
    let mut connections = Vec::new();
    for _ in 0..64 {
        connections.push(TcpStream::connect(address).await.unwrap());
    }

    let mut one_more = TcpStream::connect(address).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(5), one_more.read(&mut [0; 16])).await;

    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    let last = connections.last_mut().unwrap();
    last.write_all(b"GET /control/v1/news?after=0.0 HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    last.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    serving.abort();
}

/// Of several addresses, since one has a few places only.
#[tokio::test]
async fn handshakes_that_do_not_go_on_keep_no_member_out() {
    let house = House::founded().await;
    let authority = Authority::root("Lab CA").unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = Some(Arc::new(ArcSwap::from(server_config(&authority.server(&["localhost"]).unwrap()))));
    let router = control::router(Arc::clone(&house.site));
    let serving = tokio::spawn(Service { listener, tls, router, drain: Arc::new(Drain::default()) }.run_for_members());
    let mut half_open = Vec::new();
    for place in 0..18 * 60 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.1.{}:0", 1 + place / 60).parse().unwrap()).unwrap();
        half_open.push(socket.connect(format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap());
    }

    let client = cmg_credentials::tls::server_client("roots", &[authority.certificate_der().to_vec()], None).unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connecting = TlsConnector::from(client).connect("localhost".try_into().unwrap(), tcp);
    let mut stream = tokio::time::timeout(Duration::from_secs(8), connecting).await.expect("before those time out").unwrap();

    stream.write_all(b"GET /control/v1/news?after=0.0 HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 401 "));
    serving.abort();
}

fn server_config(certificate: &Issued) -> Arc<ServerConfig> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::clone(cmg_credentials::tls::provider()));
    Arc::new(config.with_safe_default_protocol_versions().unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap())
}
