//! The connection point's end: keeps as many connections to every gateway instance as it should have, and no more.
//!
//! A reconciler: on a ring or on time it compares what there is with what there should be and dials the difference. Behind one name
//! there may be many instances; a connection is used for whatever its instance still needs, or closed. There is no other way in
//! which connections are made, so recovery is the same code as start.
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use cmg_core::ids::{ConnectionPointId, GatewayId, Role};
use cmg_transport::connect::{DialError, Proxy, dial};
use cmg_transport::{ByteStream, TlsStream, set_tunnel_options};
use pki_types::{CertificateDer, ServerName};
use rustls::ClientConfig;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::claims::Claims;
use crate::driver::{Driver, Ended, Side, read_frame};
use crate::exchange::Incoming;
use crate::frame::{self, Kind};
use crate::greeting::{Greeting, Hello, Purpose, VERSION, encode_list};
use crate::lane::Lane;
use crate::outbox::{Command, Link};

/// Time for one connection: name, TCP, proxy, TLS, greeting.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// First wait after a failure; doubles to [`LONGEST_WAIT`], with full jitter.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// Longest wait: a gateway that comes back is found within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// Connections to instances that need none, for each instance there is, before the search rests.
const MISSES: usize = 2;

/// Lanes of one kind on one session, idle or busy, at most.
const MOST_LANES: usize = 64;

/// How long a gateway is given to hear that a session takes no new requests: what it has sent until then is carried out.
const HEARD: Duration = Duration::from_millis(500);

/// How often it is looked whether the last request of a session has come to its end.
const POLL: Duration = Duration::from_millis(20);

/// Instances of one service that are looked for. More come from a gateway that lies.
const MOST_INSTANCES: usize = 256;

/// Where a service is and how to get there.
#[derive(Clone)]
pub struct Route {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// A proxy on the way out.
    pub proxy: Option<Proxy>,
}

/// What a connection point needs to keep its tunnels.
#[derive(Clone)]
pub struct Settings {
    /// This connection point.
    pub me: ConnectionPointId,
    /// How TLS is spoken in the tunnel: role certificate, infrastructure authority.
    pub tls: Arc<ClientConfig>,
    /// Reads the role out of a verified chain.
    pub role_of: fn(&[CertificateDer<'_>]) -> Option<Role>,
    /// Who has issued the gateway's certificate, where that is a reason for the failure: something on the way ends TLS.
    pub intercepted_by: fn(&rustls::Error) -> Option<String>,
    /// Sessions with each instance.
    pub sessions: usize,
    /// Idle lanes each way on each session.
    pub lanes: usize,
}

/// The tunnels to one service.
pub struct Connector {
    plan: ArcSwap<Plan>,
    incoming: mpsc::UnboundedSender<Incoming>,
    serves: watch::Receiver<Vec<String>>,
    instances: Mutex<BTreeMap<String, Vec<Arc<Link>>>>,
    /// Those that keep tunnels to other addresses of the same service.
    others: Mutex<Vec<Weak<Connector>>>,
    ring: Arc<Notify>,
    draining: AtomicBool,
    /// Counts when certificates of gateways stop to count.
    era: AtomicU64,
    next_session: AtomicU64,
    draw: fn() -> u64,
}

/// How connections are made from now on.
struct Plan {
    route: Route,
    settings: Settings,
}

/// What a connection turned out to be good for.
enum Use {
    Session,
    Lane(Arc<Link>, Purpose),
    Nothing,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("TLS with the gateway failed")]
    Tls(#[source] std::io::Error),
    #[error("TLS is being intercepted on the way to the gateway, by \"{issuer}\": exempt the gateway's name from inspection")]
    Intercepted { issuer: String },
    #[error("the gateway's greeting did not come")]
    Greeting(#[source] std::io::Error),
    #[error("the gateway's certificate names no gateway, or another one than its greeting")]
    Role,
    #[error("the gateway speaks versions {oldest} to {newest} of the tunnel, this connection point {VERSION}: update one of them")]
    Version { oldest: u16, newest: u16 },
    #[error("no greeting in time")]
    Timeout,
}

impl Connector {
    /// Tunnels to the service at `route`. Requests come out of `incoming`; `serves` says which endpoints can be served at the moment;
    /// `draw` gives random numbers.
    pub fn new(
        route: Route,
        settings: Settings,
        incoming: mpsc::UnboundedSender<Incoming>,
        serves: watch::Receiver<Vec<String>>,
        draw: fn() -> u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            plan: ArcSwap::from_pointee(Plan { route, settings }),
            incoming,
            serves,
            instances: Mutex::default(),
            others: Mutex::default(),
            ring: Arc::default(),
            draining: AtomicBool::new(false),
            era: AtomicU64::new(0),
            next_session: AtomicU64::new(draw() | 1),
            draw,
        })
    }

    /// Makes connectors to the addresses of one service known to each other: an instance that one of them has reached is not
    /// looked for by the others, whose addresses may not lead to it. The last introduction counts.
    pub fn introduce(connectors: &[Arc<Self>]) {
        for (place, connector) in connectors.iter().enumerate() {
            let others = connectors.iter().enumerate().filter(|(other, _)| *other != place);
            *connector.others() = others.map(|(_, other)| Arc::downgrade(other)).collect();
            connector.ring.notify_one();
        }
    }

    /// Makes connections in another way from now on. Sessions that stand stay, but for those that are more than there should be.
    pub fn change(&self, route: Route, settings: Settings) {
        let wanted = settings.sessions;
        self.plan.store(Arc::new(Plan { route, settings }));
        for links in self.instances().values() {
            let open = links.iter().filter(|link| !link.draining.load(Ordering::Relaxed));
            for link in open.skip(wanted) {
                link.draining.store(true, Ordering::Relaxed);
                link.write(frame::header(Kind::Drain, false, 0, 0).to_vec());
                tokio::spawn(finish(Arc::clone(link)));
            }
        }
        self.ring.notify_one();
    }

    /// Keeps the tunnels until dropped.
    pub async fn run(self: Arc<Self>) {
        let mut fruitless = 0_u32;
        let mut misses = 0;
        loop {
            if !self.lacks_something() {
                (fruitless, misses) = (0, 0);
                self.rest().await;
                continue;
            }
            match self.connect().await {
                Ok(true) => {
                    (fruitless, misses) = (0, 0);
                    continue;
                }
                Ok(false) => misses += 1,
                Err(error) => {
                    misses = usize::MAX;
                    let plan = self.plan.load();
                    warn!(host = %plan.route.host, port = plan.route.port, error = %chain(&error), "Gateway not reached");
                }
            }
            if misses >= MISSES * self.instances().len() {
                misses = 0;
                fruitless += 1;
                tokio::time::sleep(self.wait(fruitless)).await;
            }
        }
    }

    /// Waits for something to change.
    async fn rest(&self) {
        let _ = timeout(Duration::from_secs(30), self.ring.notified()).await;
    }

    fn wait(&self, failures: u32) -> Duration {
        let ceiling = FIRST_WAIT.saturating_mul(1 << failures.min(8)).min(LONGEST_WAIT);
        ceiling.mul_f64((self.draw)() as f64 / u64::MAX as f64).max(Duration::from_millis(20))
    }

    fn instances(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<Arc<Link>>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Self>>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lacks_something(&self) -> bool {
        if self.draining.load(Ordering::Relaxed) {
            return false;
        }
        let (unreached, wanting) = {
            let instances = self.instances();
            let wanting = instances.values().any(|links| !links.is_empty() && !matches!(self.need(links), Use::Nothing));
            (unreached(&instances), wanting || instances.is_empty())
        };
        wanting || unreached.iter().any(|name| !self.is_reached_elsewhere(name))
    }

    /// Whether another connector has a session with the instance. Not to be asked while the own instances are locked.
    fn is_reached_elsewhere(&self, name: &str) -> bool {
        let others: Vec<_> = self.others().iter().filter_map(Weak::upgrade).collect();
        others.iter().any(|other| other.instances().get(name).is_some_and(|links| !links.is_empty()))
    }

    /// What an instance with these sessions needs next: sessions first, then lanes.
    fn need(&self, links: &[Arc<Link>]) -> Use {
        let Settings { sessions, lanes, .. } = self.plan.load().settings;
        let open = links.iter().filter(|link| !link.draining.load(Ordering::Relaxed));
        if open.clone().count() < sessions {
            return Use::Session;
        }
        for link in open {
            if link.idle_lanes() < lanes && link.lanes_out.load(Ordering::Relaxed) < MOST_LANES {
                return Use::Lane(Arc::clone(link), Purpose::Down);
            }
            if link.waiting_lanes.load(Ordering::Relaxed) < lanes && link.lanes_in.load(Ordering::Relaxed) < MOST_LANES {
                return Use::Lane(Arc::clone(link), Purpose::Up);
            }
        }
        Use::Nothing
    }

    /// Makes one connection and puts it to use; false: its instance needed none.
    async fn connect(self: &Arc<Self>) -> Result<bool, ConnectError> {
        let (era, plan) = (self.era.load(Ordering::SeqCst), self.plan.load_full());
        let greeted = timeout(DIAL_TIME, greeted(&plan)).await;
        let (mut stream, received, greeting) = greeted.unwrap_or(Err(ConnectError::Timeout))?;
        let usage = {
            let mut instances = self.instances();
            for name in &greeting.instances {
                if instances.len() < MOST_INSTANCES {
                    instances.entry(name.clone()).or_default();
                }
            }
            self.need(instances.entry(greeting.instance.clone()).or_default())
        };
        let (purpose, session) = match &usage {
            Use::Session => (Purpose::Session, self.next_session.fetch_add(1, Ordering::Relaxed)),
            Use::Lane(link, purpose) => (*purpose, link.id),
            Use::Nothing => return Ok(false),
        };
        let mut frames = Vec::new();
        frame::push(&mut frames, Kind::Hello, false, 0, &Hello { version: VERSION, purpose, session }.encode());
        stream.write_all(&frames).await.map_err(ConnectError::Greeting)?;
        match usage {
            Use::Session => self.start_session(stream, received, greeting.instance, session, era),
            Use::Lane(link, Purpose::Down) => link.keep_lane(Lane::outward(stream, &link)),
            Use::Lane(link, _) => Lane::wait_inward(stream, received, &link),
            Use::Nothing => {}
        }
        Ok(true)
    }

    /// Keeps a session whose handshake began in `era`.
    fn start_session(self: &Arc<Self>, stream: ByteStream, received: BytesMut, instance: String, id: u64, era: u64) {
        let (link, queues) = Link::new(id, Arc::default(), stream.peer_certificate().to_vec(), Arc::clone(&self.ring));
        {
            let mut instances = self.instances();
            // Only now: a session that is in the list is ended with the others when its gateway's certificate counts no more, or when
            // no sessions are wanted any more.
            if era != self.era.load(Ordering::SeqCst) || self.draining.load(Ordering::Relaxed) {
                return;
            }
            instances.entry(instance.clone()).or_default().push(Arc::clone(&link));
        }
        let gateway = GatewayId::new(&instance);
        let side = Side::ConnectionPoint { incoming: self.incoming.clone(), claims: Claims::default(), gateway };
        let driver = Driver::new(stream, received, Arc::clone(&link), queues, side);
        let connector = Arc::clone(self);
        tokio::spawn(async move {
            info!(gateway = instance, session = id, "Connected to gateway");
            let ended = tokio::select! {
                ended = driver.run() => ended,
                () = connector.announce(&link) => Ended::Closed,
            };
            connector.forget(&instance, &link);
            match ended {
                Ended::Closed => info!(gateway = instance, session = id, "Gateway closed the session"),
                ended => warn!(gateway = instance, session = id, reason = %ended, "Gateway lost"),
            }
        });
    }

    /// Tells the gateway what can be served, now and after every change.
    async fn announce(&self, link: &Link) {
        let mut serves = self.serves.clone();
        serves.mark_changed();
        while serves.changed().await.is_ok() {
            let list = encode_list(serves.borrow_and_update().iter().map(String::as_str));
            let mut frames = Vec::new();
            frame::push(&mut frames, Kind::Serves, false, 0, &list);
            link.write(frames);
        }
    }

    fn forget(&self, instance: &str, link: &Arc<Link>) {
        let mut instances = self.instances();
        if let Some(links) = instances.get_mut(instance) {
            links.retain(|other| !Arc::ptr_eq(other, link));
        }
        // An instance that nobody announces any more must not be looked for for ever: it is announced again when it is met.
        instances.retain(|_, links| !links.is_empty());
        debug!(instance, "Session forgotten");
        self.ring.notify_one();
    }

    /// Instances without a session, by name; the address itself where none was reached at all.
    pub fn lacking(&self) -> Vec<String> {
        let unreached = {
            let instances = self.instances();
            if instances.is_empty() {
                let plan = self.plan.load();
                return vec![format!("{}:{}", plan.route.host, plan.route.port)];
            }
            unreached(&instances)
        };
        unreached.into_iter().filter(|name| !self.is_reached_elsewhere(name)).collect()
    }

    /// How many sessions stand, by instance.
    pub fn live(&self) -> BTreeMap<String, usize> {
        self.instances().iter().map(|(name, links)| (name.clone(), links.len())).collect()
    }

    /// Exchanges under way on all sessions.
    pub fn busy(&self) -> u32 {
        self.instances().values().flatten().map(|link| link.busy.load(Ordering::Relaxed)).sum()
    }

    /// Takes no new requests, here and at the gateways.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        for link in self.instances().values().flatten() {
            link.write(frame::header(Kind::Drain, false, 0, 0).to_vec());
        }
    }

    /// Takes no new requests, lets those under way come to their ends within `longest`, and ends every session.
    pub async fn retire(&self, longest: Duration) {
        self.drain();
        let idle = async {
            tokio::time::sleep(HEARD).await;
            while self.busy() > 0 {
                tokio::time::sleep(POLL).await;
            }
        };
        let _ = timeout(longest, idle).await;
        self.stop();
    }

    /// Certificates of gateways (DER) count no more: ends the sessions with them. Those that are about to begin are dialled again, as
    /// [`Connector::change`] was told before.
    pub fn dismiss(&self, is_out: impl Fn(&[u8]) -> bool) {
        self.era.fetch_add(1, Ordering::SeqCst);
        for link in self.instances().values().flatten().filter(|link| is_out(&link.certificate)) {
            let _ = link.command(Command::Stop);
        }
    }

    /// Ends every session after what is queued.
    pub fn stop(&self) {
        for link in self.instances().values().flatten() {
            let _ = link.command(Command::Stop);
        }
    }
}

/// Dials, and hears who is there.
async fn greeted(plan: &Plan) -> Result<(ByteStream, BytesMut, Greeting), ConnectError> {
    let Plan { route, settings } = plan;
    let tcp = dial(&route.host, route.port, route.proxy.as_ref(), DIAL_TIME).await?;
    set_tunnel_options(&tcp).map_err(ConnectError::Tls)?;
    let name = ServerName::try_from(route.host.clone()).map_err(|error| ConnectError::Tls(std::io::Error::other(error)))?;
    let tls = TlsStream::connect(tcp, name, Arc::clone(&settings.tls)).await.map_err(|error| tls_error(error, settings))?;
    let role = tls.peer_certificates().and_then(|chain| (settings.role_of)(chain));
    let mut stream = ByteStream::Tls(Box::new(tls));
    let mut received = BytesMut::new();
    let frame = read_frame(&mut stream, &mut received).await.map_err(ConnectError::Greeting)?;
    let greeting = Greeting::decode(&frame.payload)
        .filter(|_| frame.kind == Kind::Greeting)
        .ok_or_else(|| ConnectError::Greeting(std::io::Error::other("malformed greeting")))?;
    if role != Some(Role::Gateway(GatewayId::new(&greeting.instance))) {
        return Err(ConnectError::Role);
    }
    if !(greeting.oldest..=greeting.newest).contains(&VERSION) {
        return Err(ConnectError::Version { oldest: greeting.oldest, newest: greeting.newest });
    }
    Ok((stream, received, greeting))
}

/// Lets the requests of one session come to their ends, and ends it.
async fn finish(link: Arc<Link>) {
    tokio::time::sleep(HEARD).await;
    while link.busy.load(Ordering::Relaxed) > 0 && !link.ended.load(Ordering::Relaxed) {
        tokio::time::sleep(POLL).await;
    }
    let _ = link.command(Command::Stop);
}

fn tls_error(error: std::io::Error, settings: &Settings) -> ConnectError {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls.and_then(settings.intercepted_by) {
        Some(issuer) => ConnectError::Intercepted { issuer },
        None => ConnectError::Tls(error),
    }
}

/// Instances that are known by name only.
fn unreached(instances: &BTreeMap<String, Vec<Arc<Link>>>) -> Vec<String> {
    instances.iter().filter(|(_, links)| links.is_empty()).map(|(name, _)| name.clone()).collect()
}

/// An error with everything that caused it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
