//! What a connection point does for its gateways.
use std::collections::BTreeMap;

use cmg_api::bytes::Base64;
use cmg_api::control::{Enrolled, GatewayNews, GenerationId, MemberStatus, Signed};
use cmg_authority::MemberKind;
use cmg_enrolled::{Applicant, DataFolder, Renewal};
use tempfile::TempDir;

use crate::fake_gateway::FakeGateway;
use crate::fake_site::{FakeSite, sha256};
use crate::following::{CP, document};
use crate::point::Point;
use crate::{now, until};

const ONE: &str = "[service]\ninstances = [\"gw-1\"]\n";
const TWO: &str = "[service]\ninstances = [\"gw-2\"]\n";

/// A site with two gateways and a connection point that has everything for them.
struct Scene {
    site: FakeSite,
    one: FakeGateway,
    two: FakeGateway,
    point: Point,
}

impl Scene {
    async fn new() -> Self {
        let site = FakeSite::start().await;
        let (one, two) = (FakeGateway::start(&site.keys, "gw-1").await, FakeGateway::start(&site.keys, "gw-2").await);
        site.publish(&[(CP, &document(&[("gw-1", &one), ("gw-2", &two)])), ("gateway/gw-1", ONE), ("gateway/gw-2", TWO)]);
        let point = Point::start(&site);
        one.has(1).await;
        two.has(1).await;
        let scene = Self { site, one, two, point };
        for gateway in [&scene.one, &scene.two] {
            until(async || news(gateway, "0.0", 0).await.manifest.is_some()).await;
        }
        scene
    }
}

async fn news(gateway: &FakeGateway, after: &str, wait: u32) -> GatewayNews {
    let answer = gateway.ask("GET", &format!("/news?after={after}&wait={wait}"), b"").await;
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&answer.body).unwrap()
}

fn status(number: u64) -> MemberStatus {
    MemberStatus {
        applied: GenerationId { epoch: 1, number },
        applied_at: 1,
        refused: None,
        version: "1".to_owned(),
        certificate_ends: 2,
        findings: vec![],
        tunnels: BTreeMap::new(),
        wanted_keys: Vec::new(),
        said_at: 0,
    }
}

#[tokio::test]
async fn a_gateway_is_given_its_own_and_nothing_of_another() {
    let scene = Scene::new().await;

    let signed = news(&scene.one, "0.0", 0).await.manifest.unwrap();
    assert_eq!(Some(&signed), scene.site.look(|table| table.news.manifests.get("gateway/gw-1").cloned()).as_ref());
    let (own, others) = (sha256(ONE.as_bytes()), sha256(TWO.as_bytes()));
    let answer = scene.one.ask("GET", &format!("/part/{own}"), b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, ONE.as_bytes()));

    let points_own = scene.site.look(|table| table.parts.keys().copied().find(|part| *part != own && *part != others)).unwrap();
    for part in [others, points_own] {
        assert_eq!(scene.one.ask("GET", &format!("/part/{part}"), b"").await.status, 404);
    }
}

#[tokio::test]
async fn what_nobody_may_ask_is_refused() {
    let scene = Scene::new().await;
    let too_long = vec![b' '; 300_000];

    for (method, target, body, status) in [
        ("GET", "/", &b""[..], 404),
        ("GET", "/part/../../role.key", b"", 404),
        ("POST", "/news", b"{}", 405),
        ("POST", "/part/x", b"{}", 405),
        ("GET", "/status", b"", 405),
        ("GET", "/renew", b"", 405),
        ("GET", "/news?after=x", b"", 400),
        ("POST", "/status", b"{}", 400),
        ("POST", "/renew", b"{}", 400),
        ("POST", "/status", &too_long, 413),
    ] {
        assert_eq!(scene.one.ask(method, target, body).await.status, status, "{method} {target}");
    }
    assert!(scene.point.get("/metrics").await.contains("requests_total{outcome=\"refused\"} 0\n"));
}

#[tokio::test]
async fn a_gateway_hears_of_a_change_while_it_waits() {
    let scene = Scene::new().await;
    let known = news(&scene.one, "1.1", 0).await;
    assert_eq!(known.manifest, None);

    let change = async { scene.site.publish(&[("gateway/gw-1", "[limits]\n")]) };
    let (waited, generation) = tokio::join!(until(async || news(&scene.one, "1.1", 20).await.manifest.is_some()), change);

    let () = waited;
    let read: cmg_api::control::Manifest = serde_json::from_str(&news(&scene.one, "1.1", 0).await.manifest.unwrap().payload).unwrap();
    assert_eq!(read.generation, generation);
}

#[tokio::test]
async fn a_gateway_hears_what_the_site_says_about_the_newest_and_nothing_older() {
    let scene = Scene::new().await;
    news(&scene.one, "1.1", 0).await;

    let waiting = news(&scene.one, "1.1", 30);
    let said = async { scene.site.say_newest(now().0 + 1) };
    let (heard, said) = tokio::join!(waiting, said);
    scene.site.say_newest(now().0 - 1_000);
    let asked = scene.site.look(|table| table.asked.len());
    until(async || scene.site.look(|table| table.asked[asked..].contains(&"GET news".to_owned()))).await;

    assert_eq!((heard.freshness, heard.manifest), (Some(said.clone()), None));
    assert_eq!(news(&scene.one, "1.1", 0).await.freshness, Some(said));
}

#[tokio::test]
async fn questions_that_are_held_are_answered_before_the_end() {
    let mut scene = Scene::new().await;
    news(&scene.one, "1.1", 0).await;

    let (heard, ()) = tokio::join!(news(&scene.one, "1.1", 30), async { scene.point.end().await });

    assert_eq!(heard.manifest, None);
}

#[tokio::test]
async fn a_gateways_state_is_passed_on_under_its_own_name() {
    let scene = Scene::new().await;

    for number in [3, 4] {
        let payload = serde_json::to_string(&status(number)).unwrap();
        let signed = Signed { payload, chain: vec![], signature: Base64::default() };
        let body = serde_json::to_vec(&signed).unwrap();
        assert_eq!(scene.one.ask("POST", "/status", &body).await.status, 204);
        until(async || scene.site.applied("gateway/gw-1") == Some(GenerationId { epoch: 1, number })).await;
    }

    assert_eq!(scene.site.applied("gateway/gw-2"), None);
}

#[tokio::test]
async fn a_gateways_renewal_is_passed_on_and_the_answer_back() {
    let scene = Scene::new().await;
    let folder = TempDir::new().unwrap();
    let folder = DataFolder::open(&folder.path().join("data")).unwrap();
    let applicant = Applicant::new(&scene.site.code(MemberKind::Gateway, "gw-1")).unwrap();
    let request = applicant.request(&[0; 32]).unwrap();
    let key = cmg_authority::PublicKey::from_csr(&request.csr.0).unwrap();
    let chain = scene.site.keys.issuer.member(applicant.role(), &key, now()).unwrap().chain;
    let enrolled = Enrolled { chain: chain.into_iter().map(Base64).collect(), authorities: vec![Base64(scene.site.keys.root())] };
    let identity = applicant.accept(&enrolled, &folder, now()).unwrap();
    let renewal = Renewal::new(&identity).unwrap();

    let answer = scene.one.ask("POST", "/renew", &serde_json::to_vec(&renewal.request).unwrap()).await;

    assert_eq!(answer.status, 200);
    let renewed = renewal.accept(&serde_json::from_slice(&answer.body).unwrap(), &identity, &folder, now()).unwrap();
    assert_eq!(renewed.member(), "gateway/gw-1");
    let mut foreign = Renewal::new(&identity).unwrap().request;
    foreign.signature = Base64(vec![0; 70]);
    assert_eq!(scene.one.ask("POST", "/renew", &serde_json::to_vec(&foreign).unwrap()).await.status, 403);
}

#[tokio::test]
async fn gateways_are_served_after_a_restart_while_the_site_is_away() {
    let mut scene = Scene::new().await;
    until(async || scene.site.applied(CP).is_some_and(|applied| applied.number == 1)).await;
    scene.site.go_away().await;

    scene.point.start_again();
    scene.two.has(0).await;
    scene.two.has(1).await;

    assert!(news(&scene.two, "0.0", 0).await.manifest.is_some());
    let answer = scene.two.ask("GET", &format!("/part/{}", sha256(TWO.as_bytes())), b"").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, TWO.as_bytes()));
    scene.point.is_ready_or_says("200").await;
}
