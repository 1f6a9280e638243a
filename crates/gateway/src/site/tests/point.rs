//! A connection point of these tests: the real end of the tunnel, with answers that the test decides on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cmg_api::bytes::Sha256;
use cmg_api::control::{GatewayNews, GenerationId, Manifest, MemberStatus, RenewRequest, Signed};
use cmg_core::ids::{ConnectionPointId, GatewayId};
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::{describe_untrusted, role_of, tunnel_client};
use cmg_lab::{Profile, Role};
use cmg_tunnel::Incoming;
use cmg_tunnel::connector::{Connector, Route, Settings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::office::{Office, Snapshot};
use super::soon;

/// How long a question is held.
const HOLD: Duration = Duration::from_secs(1);

/// What a connection point has to offer.
#[derive(Clone, Default)]
pub(super) struct Offer {
    pub(super) news: GatewayNews,
    /// Parts that it gives away.
    pub(super) parts: std::collections::BTreeMap<Sha256, Vec<u8>>,
}

impl Offer {
    pub(super) fn of(office: &Office, snapshot: &Snapshot) -> Self {
        let manifest: Manifest = serde_json::from_str(&snapshot.signed.payload).unwrap();
        let freshness = Some(office.freshness(manifest.generation.number));
        Self { news: GatewayNews { freshness, manifest: Some(snapshot.signed.clone()) }, parts: snapshot.parts.clone() }
    }

    fn generation(&self) -> GenerationId {
        let manifest = self.news.manifest.as_ref().and_then(|signed| serde_json::from_str::<Manifest>(&signed.payload).ok());
        manifest.map(|manifest| manifest.generation).unwrap_or_default()
    }
}

pub(super) struct Point {
    pub(super) offer: watch::Sender<Offer>,
    pub(super) connector: Arc<Connector>,
    statuses: mpsc::UnboundedReceiver<MemberStatus>,
    pub(super) serves: watch::Sender<Vec<String>>,
    _tasks: JoinSet<()>,
}

impl Point {
    pub(super) fn start(office: &Arc<Office>, name: &str, gateway: SocketAddr) -> Self {
        Self::start_as(office, name, &office.point(name), gateway, || 7)
    }

    /// The same with this certificate, and sessions that are numbered from what `draw` says.
    pub(super) fn start_as(office: &Arc<Office>, name: &str, role: &RoleIdentity, gateway: SocketAddr, draw: fn() -> u64) -> Self {
        let (incoming, mut requests) = mpsc::unbounded_channel();
        let settings = Settings {
            me: ConnectionPointId::new(name),
            tls: tunnel_client(role.clone(), &office.roots()).unwrap(),
            role_of,
            intercepted_by: describe_untrusted,
            sessions: 1,
            lanes: 1,
        };
        let route = Route { host: gateway.ip().to_string(), port: gateway.port(), proxy: None };
        let (serves, served) = watch::channel(Vec::new());
        let connector = Connector::new(route, settings, incoming, served, draw);
        let (told, statuses) = mpsc::unbounded_channel();
        let offer = watch::Sender::new(Offer::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&connector).run());
        let (offers, office) = (offer.clone(), Arc::clone(office));
        tasks.spawn(async move {
            let mut answers = JoinSet::new();
            while let Some(incoming) = requests.recv().await {
                answers.spawn(answer(incoming, offers.subscribe(), told.clone(), Arc::clone(&office)));
            }
        });
        Self { offer, connector, statuses, serves, _tasks: tasks }
    }

    /// The next status for which `is_it` says so.
    pub(super) async fn status(&mut self, is_it: impl Fn(&MemberStatus) -> bool) -> MemberStatus {
        soon(async {
            loop {
                let status = self.statuses.recv().await.expect("the connection point runs");
                if is_it(&status) {
                    return status;
                }
            }
        })
        .await
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        self.connector.drain();
        self.connector.stop();
    }
}

async fn answer(incoming: Incoming, mut offers: watch::Receiver<Offer>, told: mpsc::UnboundedSender<MemberStatus>, office: Arc<Office>) {
    let Incoming { gateway, mut exchange, request, .. } = incoming;
    assert!(request.is_control() && gateway == GatewayId::new("gw-1"));
    let target = String::from_utf8(request.get().target.to_vec()).unwrap();
    let body = exchange.whole_body(1 << 20).await.unwrap_or_default();
    let (status, answer) = if let Some(query) = target.strip_prefix("/news?after=") {
        let after = GenerationId::parse(query.split('&').next().unwrap()).unwrap();
        let _ = tokio::time::timeout(HOLD, offers.wait_for(|offer| offer.generation() > after)).await;
        let offer = offers.borrow().clone();
        let manifest = offer.news.manifest.clone().filter(|_| offer.generation() > after);
        (200, serde_json::to_vec(&GatewayNews { manifest, ..offer.news }).unwrap())
    } else if let Some(digest) = target.strip_prefix("/part/") {
        match offers.borrow().parts.get(&digest.parse().unwrap()) {
            Some(bytes) => (200, bytes.clone()),
            None => (404, Vec::new()),
        }
    } else if target == "/status" {
        let signed: Signed = serde_json::from_slice(&body).unwrap();
        let _ = told.send(serde_json::from_str(&signed.payload).unwrap());
        (204, Vec::new())
    } else {
        let request: RenewRequest = serde_json::from_slice(&body).unwrap();
        (200, serde_json::to_vec(&office.certify(&request.csr, &Profile::role(Role::Gateway, "gw-1"))).unwrap())
    };
    let _ = exchange.answer_whole(status, &answer).await;
}
