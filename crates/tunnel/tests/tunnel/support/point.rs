//! The connection point's end: a real connector, with answers that its requests' targets ask for.

use std::net::SocketAddr;
use std::sync::Arc;

use cmg_core::ids::ConnectionPointId;
use cmg_core::refusal::Refusal;
use cmg_credentials::tls::role_of;
use cmg_tunnel::connector::{Connector, Route, Settings};
use cmg_tunnel::{BodyLength, Event, Incoming, ResponseHead};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Site;
use super::talk::{pattern, send};

/// A connector and what answers its requests.
pub(crate) struct Point {
    pub(crate) connector: Arc<Connector>,
    pub(crate) serves: watch::Sender<Vec<String>>,
    tasks: [JoinHandle<()>; 2],
}

impl Point {
    /// One session with lanes enough.
    pub(crate) fn start(site: &Site, gate: SocketAddr) -> Self {
        Self::with(site, "point-1", gate, 1, 2)
    }

    pub(crate) fn with(site: &Site, name: &str, gate: SocketAddr, sessions: usize, lanes: usize) -> Self {
        let (incoming, requests) = mpsc::unbounded_channel();
        let (serves, served) = watch::channel(vec!["files".to_owned()]);
        let settings = Settings {
            me: ConnectionPointId::new(name),
            tls: site.point(name),
            role_of,
            intercepted_by: cmg_credentials::tls::describe_untrusted,
            sessions,
            lanes,
        };
        let route = Route { host: gate.ip().to_string(), port: gate.port(), proxy: None };
        let connector = Connector::new(route, settings, incoming, served, || 7);
        let tasks = [tokio::spawn(Arc::clone(&connector).run()), tokio::spawn(answer_all(requests))];
        Self { connector, serves, tasks }
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        self.connector.drain();
        self.connector.stop();
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn answer_all(mut requests: mpsc::UnboundedReceiver<Incoming>) {
    let mut tasks = JoinSet::new();
    while let Some(incoming) = requests.recv().await {
        tasks.spawn(answer(incoming));
        while tasks.try_join_next().is_some() {}
    }
}

/// Does what the target says: `/echo`, `/upgrade` (an echo that never ends by itself), `/bytes/N`, `/early/N` (without reading the
/// request), `/exactly/N` (once so many bytes have come, without a look at their end), `/count` (the body's length), `/hold`, `/drop`, `/refuse`, `/cut` (ends in the middle of a known length).
async fn answer(incoming: Incoming) {
    if incoming.request.is_control() {
        return answer_control(incoming).await;
    }
    let Incoming { mut exchange, request, .. } = incoming;
    let target = String::from_utf8(request.get().target.to_vec()).unwrap();
    let mut parts = target[1..].split('/');
    let (what, number) = (parts.next().unwrap(), parts.next().map_or(0, |number| number.parse().unwrap()));
    let head = |status, body| ResponseHead { status, reason: b"", upgrade: status == 101, body };
    match what {
        "echo" | "upgrade" => {
            exchange.respond(&head(if what == "echo" { 200 } else { 101 }, BodyLength::Unknown), |_| (), &[], false);
            if what == "upgrade" {
                exchange.stay();
            }
            while !exchange.is_received() {
                let Event::Data(bytes) = exchange.event().await else { break };
                if send(&mut exchange, &bytes).await.is_err() {
                    return;
                }
                exchange.consumed(bytes.len());
            }
            finish(&mut exchange).await;
        }
        "bytes" | "early" => {
            if what == "bytes" {
                drain(&mut exchange).await;
            }
            let body = pattern(number);
            let first = exchange.respond(&head(200, BodyLength::Exact(number as u64)), |_| (), &body, true);
            exchange.expect_to_send(Some((number - first) as u64));
            if first < number && send(&mut exchange, &body[first..]).await.is_ok() {
                finish(&mut exchange).await;
            }
        }
        "exactly" => {
            let mut count = 0;
            while count < number {
                let Event::Data(bytes) = exchange.event().await else { return };
                count += bytes.len();
                exchange.consumed(bytes.len());
            }
            exchange.respond(&head(204, BodyLength::None), |_| (), &[], true);
        }
        "count" => {
            let count = drain(&mut exchange).await.to_string();
            exchange.respond(&head(200, BodyLength::Exact(count.len() as u64)), |_| (), count.as_bytes(), true);
        }
        "cut" => {
            exchange.respond(&head(200, BodyLength::Exact(1_000)), |_| (), b"the beginning", false);
        }
        "refuse" => exchange.refuse(Refusal::ServerUnreachable),
        "hold" => while !matches!(exchange.event().await, Event::Reset | Event::Lost) {},
        _ => drop(exchange),
    }
}

/// Does what the target says: `/echo`, `/bytes/N`, `/who` (the gateway's name), `/early` (without reading the request), `/hold`, or
/// refuses.
async fn answer_control(incoming: Incoming) {
    let Incoming { gateway, mut exchange, request, .. } = incoming;
    let target = String::from_utf8(request.get().target.to_vec()).unwrap();
    let (what, number) = target[1..].split_once('/').unwrap_or((&target[1..], ""));
    let answered = match what {
        "echo" => match exchange.whole_body(1 << 20).await {
            Ok(body) => exchange.answer_whole(200, &body).await,
            Err(_) => exchange.answer_whole(413, b"").await,
        },
        "bytes" => exchange.answer_whole(200, &pattern(number.parse().unwrap())).await,
        "who" => exchange.answer_whole(200, gateway.as_str().as_bytes()).await,
        "early" => exchange.answer_whole(403, b"no").await,
        "hold" => return while !matches!(exchange.event().await, Event::Reset | Event::Lost) {},
        _ => return exchange.refuse(Refusal::ConnectorNotPublished),
    };
    // Who asked may have gone meanwhile, which is what some tests are about.
    let _ = answered;
}

async fn drain(exchange: &mut cmg_tunnel::Exchange) -> usize {
    let mut count = 0;
    while !exchange.is_received() {
        let Event::Data(bytes) = exchange.event().await else { break };
        exchange.consumed(bytes.len());
        count += bytes.len();
    }
    count
}

async fn finish(exchange: &mut cmg_tunnel::Exchange) {
    let mut none = Some(Vec::new());
    let _ = std::future::poll_fn(|cx| exchange.poll_finish(cx, &mut none)).await;
}
