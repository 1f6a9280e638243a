//! Requests that are carried between real sockets. The service in front is a stand-in: it wants proofs as a gateway does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Mutex;

use cmg_api::control::GenerationId;
use cmg_api::policy::{ClientSettingsPolicy, InternetService, PolicyServer, ServiceKind, ServiceRoute};
use cmg_core::choice::Trouble;
use cmg_core::time::WallTime;
use cmg_credentials::dpop;
use http::{Method, StatusCode};
use http_body_util::{Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::disk::Disk;

const TOKEN: &str = "header.claims.signature";

/// A request as it came: the number of its connection, its method and target, the length of its body.
pub(crate) type Seen = (usize, String, usize);

/// A service, or a server: what it has seen.
#[derive(Clone)]
pub(crate) struct Far {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Whether it wants proofs, each connection being an instance of its own.
    demands: bool,
}

impl Far {
    pub(crate) async fn start(demands: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = Self { url: format!("http://{}", listener.local_addr().unwrap()), seen: Arc::default(), demands };
        let serving = far.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let far = serving.clone();
                let service = service_fn(move |request| far.clone().answer(number, request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        far
    }

    async fn answer(self, number: usize, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        if self.demands && !self.proves(number, &head) {
            let challenge = Response::builder().status(401).header("DPoP-Nonce", format!("n{number}"));
            return Ok(challenge.body(Full::new(Bytes::from("prove it"))).unwrap());
        }
        let length = body.collect().await.map_or(usize::MAX, |body| body.to_bytes().len());
        self.seen.lock().unwrap().push((number, format!("{} {}", head.method, head.uri), length));
        Ok(Response::new(Full::new(Bytes::from("well"))))
    }

    fn proves(&self, number: usize, head: &Parts) -> bool {
        let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let (url, nonce) = (format!("{}{}", self.url, head.uri.path()), format!("n{number}"));
        let asked = dpop::Request { method: head.method.as_str(), url: &url, access_token: Some(TOKEN), nonces: &[&nonce] };
        let now = WallTime(crate::clock::now().0);
        text("authorization") == Some(&format!("DPoP {TOKEN}"))
            && text("dpop").is_some_and(|proof| dpop::verify(proof, asked, now, 60).is_ok())
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) struct Near {
    pub(crate) carrier: Carrier,
    told: mpsc::Receiver<Told>,
    _dir: TempDir,
}

pub(crate) fn service(name: &str, url: &str) -> InternetService {
    let route = ServiceRoute { path: "/".to_owned(), url: format!("{url}/app"), credential: RouteCredential::Token };
    InternetService {
        name: name.to_owned(),
        kind: ServiceKind::Cmg,
        weight: 1,
        authorities: Vec::new(),
        management_points: vec![url.to_owned()],
        servers: BTreeMap::from([("app".to_owned(), vec![route])]),
    }
}

/// A device whose policy has these services, and a server at `inside`.
pub(crate) fn near(services: Vec<InternetService>, inside: &str) -> Near {
    let dir = TempDir::new().unwrap();
    let key = DeviceKey::load_or_make(&Disk::open(&dir.path().join("data")).unwrap()).unwrap();
    let (sender, told) = mpsc::channel(16);
    let first = FirstContact { url: "https://localhost".to_owned(), authorities: Vec::new() };
    let carrier = Carrier::new(key, None, Network::default(), &first, sender);
    let server = PolicyServer { name: "app".to_owned(), origins: vec![inside.to_owned()], authorities: Vec::new(), content: false };
    let policy = Policy {
        site_name: "lab".to_owned(),
        site: "LAB".to_owned(),
        generation: GenerationId { epoch: 1, number: 1 },
        made_at: 0,
        roots: Vec::new(),
        management_points: Vec::new(),
        services,
        servers: vec![server],
        boundary_groups: Vec::new(),
        client: ClientSettingsPolicy::default(),
        agents: BTreeMap::new(),
    };
    carrier.follow(Arc::new(policy));
    carrier.take_token(Token { text: TOKEN.to_owned(), by_key: true });
    Near { carrier, told, _dir: dir }
}

impl Near {
    async fn get(&self, origin: &str, path: &str) -> Result<StatusCode, CarryError> {
        let request = Request::get(path).body(Full::new(Bytes::new())).unwrap();
        self.status(origin, request).await
    }

    async fn status<B>(&self, origin: &str, request: Request<B>) -> Result<StatusCode, CarryError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let response = self.carrier.carry(&Origin::parse(origin).unwrap(), request).await?;
        let status = response.status();
        response.into_body().collect().await.unwrap();
        Ok(status)
    }
}

const INSIDE: &str = "http://app.corp.example";

#[tokio::test]
async fn a_challenge_is_answered_on_its_own_connection_and_once_for_all_its_requests() {
    let gateway = Far::start(true).await;
    let near = near(vec![service("one", &gateway.url)], INSIDE);
    near.carrier.take_way(Way::Service("one".to_owned()));

    assert_eq!(near.get(INSIDE, "/a?b=c").await.unwrap(), 200);
    assert_eq!(near.get(INSIDE, "/d").await.unwrap(), 200);

    assert_eq!(gateway.seen(), [(0, "GET /app/a?b=c".to_owned(), 0), (0, "GET /app/d".to_owned(), 0)]);
}

#[tokio::test]
async fn a_body_that_can_be_sent_once_goes_out_once() {
    let gateway = Far::start(true).await;
    let near = near(vec![service("one", &gateway.url)], INSIDE);
    near.carrier.take_way(Way::Service("one".to_owned()));
    let (sender, mut frames) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        for _ in 0..100 {
            sender.send(Bytes::from(vec![7; 4096])).await.unwrap();
        }
    });
    let frames =
        futures_util::stream::poll_fn(move |context| frames.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))));
    let body: body::Sent = StreamBody::new(frames).boxed_unsync();

    let status = near.status(INSIDE, Request::post("/upload").body(body).unwrap()).await;

    assert_eq!(status.unwrap(), 200);
    assert_eq!(gateway.seen(), [(0, "POST /app/upload".to_owned(), 409_600)]);
}

#[tokio::test]
async fn on_the_intranet_a_server_is_reached_straight_and_sees_no_credential() {
    let (gateway, server) = (Far::start(true).await, Far::start(false).await);
    let near = near(vec![service("one", &gateway.url)], &server.url);
    near.carrier.take_way(Way::Intranet("mp1".to_owned()));

    assert_eq!(near.get(&server.url, "/a").await.unwrap(), 200);

    assert_eq!((server.seen().len(), gateway.seen().len()), (1, 0));
}

#[tokio::test]
async fn what_nobody_has_seen_goes_by_the_next_way() {
    let gateway = Far::start(true).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let mut near = near(vec![service("dead", &dead), service("one", &gateway.url)], INSIDE);
    near.carrier.take_way(Way::Service("dead".to_owned()));
    let sending = tokio::spawn({
        let carrier = near.carrier.clone();
        let request = Request::builder().method(Method::POST).uri("/a").body(Full::new(Bytes::from("body"))).unwrap();
        async move { carrier.carry(&Origin::parse(INSIDE).unwrap(), request).await.map(|response| response.status()) }
    });

    // The agent's part: whoever refuses is left at once.
    let told = near.told.recv().await.unwrap();
    near.carrier.take_way(Way::Service("one".to_owned()));

    assert_eq!(sending.await.unwrap().unwrap(), 200);
    assert!(matches!(told.outcome, Outcome::Failed(Trouble::Refused, _)), "{told:?}");
    assert_eq!(gateway.seen(), [(0, "POST /app/a".to_owned(), 4)]);
}

#[tokio::test]
async fn a_server_that_the_policy_does_not_name_is_not_reached() {
    let gateway = Far::start(true).await;
    let near = near(vec![service("one", &gateway.url)], INSIDE);
    near.carrier.take_way(Way::Service("one".to_owned()));

    let refused = near.get("http://other.corp.example", "/").await;

    assert!(matches!(refused, Err(CarryError::Unknown(_))), "{refused:?}");
    assert!(gateway.seen().is_empty());
}
