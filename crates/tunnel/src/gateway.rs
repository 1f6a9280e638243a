//! The gateway's end: takes tunnel connections in, knows who is live, opens exchanges.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::BytesMut;
use cmg_core::ids::{ConnectionPointId, GatewayId};
use cmg_core::permit::Permit;
use cmg_core::refusal::Refusal;
use cmg_core::selection::{self, Candidate};
use cmg_transport::ByteStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use crate::ask::{Answer, AskError, Question};
use crate::driver::{Driver, Ended, Side, read_frame};
use crate::exchange::{self, Exchange, Way};
use crate::frame::{self, Kind};
use crate::greeting::{Greeting, Hello, Purpose, VERSION};
use crate::head::{Fields, RequestHead};
use crate::lane::Lane;
use crate::outbox::{Command, Credentials, Link};
use crate::slot;

/// Exchanges one session carries before others are preferred to it, and refused after all are full.
const CAPACITY: u32 = 8_192;

/// Lanes that one session may have here, both ways. Connection points dial fewer.
const LANES_LIMIT: usize = 160;

/// Sessions that one connection point may have here. A restarted one comes before the old one's sessions are found dead.
const SESSIONS_LIMIT: usize = 64;

/// Longest time from a finished handshake to a hello.
const OPENING: Duration = Duration::from_secs(10);

/// How long a lane waits for its session, whose hello was sent before its own.
const LANE_WAIT: Duration = Duration::from_secs(2);

/// Idle lanes older than this are not used: firewalls on the way may have forgotten them.
const LANE_AGE: Duration = Duration::from_secs(600);

/// One session of a connection point.
struct Session {
    link: Arc<Link>,
    connection_point: ConnectionPointId,
}

/// Sessions that serve an endpoint.
#[derive(Default)]
struct Route {
    /// Those that are chosen from.
    preferred: Vec<Arc<Session>>,
    /// Those of connection points to avoid, for when no other can.
    avoided: Vec<Arc<Session>>,
}

type Routes = BTreeMap<String, Route>;

/// Who is live. One per gateway.
pub struct Hub {
    instance: GatewayId,
    instances: ArcSwap<Vec<String>>,
    sessions: Mutex<Vec<(Arc<Session>, Vec<String>)>>,
    routes: ArcSwap<Routes>,
    avoided: Mutex<BTreeSet<ConnectionPointId>>,
    draining: AtomicBool,
    era: AtomicU64,
    /// Tells that sessions have come or gone.
    changed: watch::Sender<()>,
}

/// What a caller says about a request it wants carried.
pub struct Opening<'a> {
    /// The head; its credential number is filled in here.
    pub head: RequestHead<'a>,
    /// The client's credential.
    pub credentials: Option<&'a mut Credentials>,
    /// The first bytes of the body.
    pub body: &'a [u8],
    /// Whether `body` is all of it.
    pub whole: bool,
    /// Ways on which this request has failed already.
    pub avoid: &'a [Way],
}

impl Hub {
    /// A hub without sessions. `instances`: every instance behind the service's name, as the configuration lists them.
    pub fn new(instance: GatewayId, instances: Vec<String>) -> Self {
        Self {
            instance,
            instances: ArcSwap::from_pointee(instances),
            sessions: Mutex::default(),
            routes: ArcSwap::default(),
            avoided: Mutex::default(),
            draining: AtomicBool::new(false),
            era: AtomicU64::new(0),
            changed: watch::Sender::new(()),
        }
    }

    /// Serves one tunnel connection of `connection_point`, as its certificate names it, until the connection ends. `era`: what
    /// [`Hub::era`] said before it was decided which certificates count.
    pub async fn serve(&self, mut stream: ByteStream, connection_point: ConnectionPointId, era: u64) {
        let mut received = BytesMut::new();
        let hello = match timeout(OPENING, self.open_connection(&mut stream, &mut received)).await {
            Ok(Ok(hello)) => hello,
            // Behind one name a connection point meets instances that it needs nothing of.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return debug!(%connection_point, "Tunnel connection not needed");
            }
            Ok(Err(error)) => return warn!(%connection_point, %error, "Tunnel connection refused"),
            Err(_) => return warn!(%connection_point, "Tunnel connection refused: no hello in time"),
        };
        match hello.purpose {
            Purpose::Session => self.serve_session(stream, received, connection_point, hello.session, era).await,
            _ if era != self.era() => {}
            Purpose::Up | Purpose::Down => self.take_lane(stream, received, &connection_point, hello).await,
        }
    }

    async fn open_connection(&self, stream: &mut ByteStream, received: &mut BytesMut) -> std::io::Result<Hello> {
        let greeting =
            Greeting { oldest: VERSION, newest: VERSION, instance: self.instance.to_string(), instances: self.instances.load().to_vec() };
        let mut frames = Vec::new();
        frame::push(&mut frames, Kind::Greeting, false, 0, &greeting.encode());
        stream.write_all(&frames).await?;
        let frame = read_frame(stream, received).await?;
        let hello =
            Hello::decode(&frame.payload).filter(|_| frame.kind == Kind::Hello).ok_or_else(|| std::io::Error::other("malformed hello"))?;
        if hello.version != VERSION {
            return Err(std::io::Error::other(format!("version {} is not spoken here", hello.version)));
        }
        Ok(hello)
    }

    async fn serve_session(&self, stream: ByteStream, received: BytesMut, connection_point: ConnectionPointId, id: u64, era: u64) {
        if self.sessions_of(&connection_point) >= SESSIONS_LIMIT {
            return warn!(%connection_point, "Session refused: the connection point has enough of them");
        }
        let (link, queues) = Link::new(id, connection_point.as_str().into(), stream.peer_certificate().to_vec(), Arc::default());
        let (serves, mut served) = mpsc::unbounded_channel();
        let session = Arc::new(Session { link: Arc::clone(&link), connection_point: connection_point.clone() });
        let entry = Entry::new(self, session);
        // Only now: a session that is in the list is ended with the others.
        if era != self.era() {
            return;
        }
        if self.draining.load(Ordering::Relaxed) {
            link.write(frame::header(Kind::Drain, false, 0, 0).to_vec());
        }
        info!(%connection_point, session = id, "Connection point connected");
        let run = Driver::new(stream, received, link, queues, Side::Gateway { serves }).run();
        let mut run = std::pin::pin!(run);
        let mut aging = tokio::time::interval(LANE_AGE / 10);
        let ended = loop {
            tokio::select! {
                biased;
                Some(list) = served.recv() => entry.serves(list),
                _ = aging.tick() => entry.session.link.drop_aged_lanes(LANE_AGE),
                ended = &mut run => break ended,
            }
        };
        drop(entry);
        match ended {
            Ended::Closed => info!(%connection_point, session = id, "Connection point disconnected"),
            ended => warn!(%connection_point, session = id, reason = %ended, "Connection point lost"),
        }
    }

    /// Gives a lane to the session it was dialled for, which must be one of the same connection point.
    async fn take_lane(&self, stream: ByteStream, received: BytesMut, connection_point: &ConnectionPointId, hello: Hello) {
        // It is another connection than its session's, and may have been quicker.
        let known = timeout(LANE_WAIT, self.session_of(connection_point, hello.session)).await;
        let Ok(link) = known else { return warn!(%connection_point, "Lane for an unknown session refused") };
        let lanes = link.lanes_in.load(Ordering::Relaxed) + link.lanes_out.load(Ordering::Relaxed);
        if lanes >= LANES_LIMIT {
            return warn!(%connection_point, lanes, "Lane refused: the session has enough of them");
        }
        match hello.purpose {
            Purpose::Up => link.keep_lane(Lane::outward(stream, &link)),
            // What it carries may have come together with its hello.
            _ => Lane::wait_inward(stream, received, &link),
        }
    }

    /// The session of that number, as soon as there is one.
    async fn session_of(&self, connection_point: &ConnectionPointId, id: u64) -> Arc<Link> {
        let mut changes = self.changes();
        loop {
            let is_it = |session: &Session| session.link.id == id && session.connection_point == *connection_point;
            let found = self.sessions().iter().find(|(session, _)| is_it(session)).map(|(session, _)| Arc::clone(&session.link));
            if let Some(link) = found {
                return link;
            }
            // The hub holds the sender.
            let _ = changes.changed().await;
        }
    }

    /// Opens an exchange for a permitted request with a connection point that serves its endpoint.
    pub fn open(
        &self,
        permit: &Permit<'_>,
        mut opening: Opening<'_>,
        fields: impl FnOnce(&mut Fields<'_>),
        draw: u64,
    ) -> Result<Exchange, Refusal> {
        let routes = self.routes.load();
        let route = routes.get(permit.endpoint().id.as_str()).ok_or(Refusal::NoConnectionPoint)?;
        let link = route.choose(opening.avoid, draw)?;
        let mut frames = Vec::with_capacity(512 + opening.body.len());
        opening.head.credential = opening.credentials.as_mut().map_or(0, |credentials| credentials.tell(link, &mut frames));
        let number = link.next_exchange();
        // What an upgraded connection says comes in the same direction, so that direction does not end with the head.
        let whole = opening.whole && !opening.head.upgrade;
        let no_body = whole && opening.body.is_empty();
        frame::push_with(&mut frames, Kind::Request, no_body, number, |out| opening.head.encode(out, fields));
        if !opening.body.is_empty() {
            frame::push(&mut frames, Kind::Data, whole, number, opening.body);
        }
        let (events, signals) = slot::signals();
        let mut exchange = Exchange::new(number, Arc::clone(link), signals, false, whole);
        exchange.has_sent(opening.body.len());
        link.command(Command::Open { exchange: number, frames, events }).map_err(|_| Refusal::NoConnectionPoint)?;
        Ok(exchange)
    }

    /// Asks a connection point itself, on a session of that one only. Nobody's permit is needed, and no client is behind it.
    pub async fn ask(&self, connection_point: &ConnectionPointId, question: Question<'_>) -> Result<Answer, AskError> {
        let link = self.least_busy(connection_point).ok_or(AskError::NotConnected)?;
        question.put(&link).await
    }

    fn least_busy(&self, connection_point: &ConnectionPointId) -> Option<Arc<Link>> {
        let sessions = self.sessions();
        let links = sessions.iter().filter(|(session, _)| session.connection_point == *connection_point).map(|(session, _)| &session.link);
        links.min_by_key(|link| (link.draining.load(Ordering::Relaxed), link.busy.load(Ordering::Relaxed))).map(Arc::clone)
    }

    /// The connection points that are connected, and how many sessions each has.
    pub fn connection_points(&self) -> BTreeMap<ConnectionPointId, u32> {
        let mut points = BTreeMap::new();
        for (session, _) in self.sessions().iter() {
            *points.entry(session.connection_point.clone()).or_default() += 1;
        }
        points
    }

    /// Changes whenever a session has come or gone.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Names every instance behind the service's name from now on.
    pub fn announce(&self, instances: Vec<String>) {
        self.instances.store(Arc::new(instances));
    }

    /// How many bytes of a body go with [`Hub::open`], of those that are at hand: all, or none of what is too much to go beside heads.
    pub fn first_bytes(at_hand: usize) -> usize {
        exchange::beside_head(at_hand)
    }

    /// How many connection points are connected, and how many sessions they have.
    pub fn live(&self) -> (usize, usize) {
        let sessions = self.sessions();
        let points: BTreeSet<_> = sessions.iter().map(|(session, _)| &session.connection_point).collect();
        (points.len(), sessions.len())
    }

    /// Idle lanes of all sessions: those that this end sends on, those that it receives on.
    pub fn lanes(&self) -> (usize, usize) {
        let sessions = self.sessions();
        let links = sessions.iter().map(|(session, _)| &session.link);
        links.fold((0, 0), |(out, waiting), link| (out + link.idle_lanes(), waiting + link.waiting_lanes.load(Ordering::Relaxed)))
    }

    /// Whether a connection point serves anything.
    pub fn is_ready(&self) -> bool {
        !self.routes.load().is_empty()
    }

    /// Asks every connection point for no new sessions; those that stand carry what is under way.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        for (session, _) in self.sessions().iter() {
            session.link.write(frame::header(Kind::Drain, false, 0, 0).to_vec());
        }
    }

    /// Changes when certificates that counted do so no more.
    pub fn era(&self) -> u64 {
        self.era.load(Ordering::SeqCst)
    }

    /// Certificates that counted do so no more: ends every session, and those that are about to begin.
    pub fn distrust(&self) {
        self.era.fetch_add(1, Ordering::SeqCst);
        self.stop();
    }

    /// Some connection points, or some of their certificates (DER), count no more: ends their sessions. Those of anybody that are
    /// about to begin are dialled again.
    pub fn dismiss(&self, is_out: impl Fn(&ConnectionPointId, &[u8]) -> bool) {
        self.era.fetch_add(1, Ordering::SeqCst);
        for (session, _) in self.sessions().iter().filter(|(session, _)| is_out(&session.connection_point, &session.link.certificate)) {
            let _ = session.link.command(Command::Stop);
        }
    }

    /// From now on these connection points carry a request only where no other can. Says whether that is a change.
    pub fn avoid(&self, connection_points: BTreeSet<ConnectionPointId>) -> bool {
        let sessions = self.sessions();
        {
            let mut avoided = self.avoided.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if *avoided == connection_points {
                return false;
            }
            *avoided = connection_points;
        }
        self.reroute(&sessions);
        true
    }

    /// The connection points that carry a request only where no other can.
    pub fn avoided(&self) -> BTreeSet<ConnectionPointId> {
        self.avoided.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Ends every session.
    pub fn stop(&self) {
        for (session, _) in self.sessions().iter() {
            let _ = session.link.command(Command::Stop);
        }
    }

    fn sessions_of(&self, connection_point: &ConnectionPointId) -> usize {
        self.sessions().iter().filter(|(session, _)| session.connection_point == *connection_point).count()
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Session>, Vec<String>)>> {
        self.sessions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the routes anew from the sessions there are.
    fn reroute(&self, sessions: &[(Arc<Session>, Vec<String>)]) {
        let avoided = self.avoided.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut routes = Routes::new();
        for (session, endpoints) in sessions {
            for endpoint in endpoints {
                let route = routes.entry(endpoint.clone()).or_default();
                let list = if avoided.contains(&session.connection_point) { &mut route.avoided } else { &mut route.preferred };
                list.push(Arc::clone(session));
            }
        }
        self.routes.store(Arc::new(routes));
    }
}

impl Route {
    fn choose(&self, avoid: &[Way], draw: u64) -> Result<&Arc<Link>, Refusal> {
        match choose(&self.preferred, avoid, draw) {
            Err(refused) if !self.avoided.is_empty() => choose(&self.avoided, avoid, draw).map_err(|_| refused),
            chosen => chosen,
        }
    }
}

/// Picks a session. After a failed try another connection point comes first: one that has died takes all its sessions along, though
/// not in one moment. Where there is no other, another session of the same one will do.
fn choose<'s>(sessions: &'s [Arc<Session>], avoid: &[Way], draw: u64) -> Result<&'s Arc<Link>, Refusal> {
    let candidate = |place: usize, may: fn(&Link, &Way) -> bool| {
        let link = &sessions[place].link;
        let out = link.draining.load(Ordering::Relaxed) || !avoid.iter().all(|way| may(link, way));
        Candidate { busy: link.busy.load(Ordering::Relaxed), capacity: if out { 0 } else { CAPACITY } }
    };
    let of_others = |place| candidate(place, |link, way| link.peer != way.peer);
    let others = |place| candidate(place, |link, way| link.id != way.session);
    let first = if avoid.is_empty() { None } else { selection::pick(sessions.len(), of_others, draw) };
    match first.or_else(|| selection::pick(sessions.len(), others, draw)) {
        Some(place) => Ok(&sessions[place].link),
        None if (0..sessions.len()).any(|place| others(place).capacity > 0) => Err(Refusal::Overloaded),
        None => Err(Refusal::NoConnectionPoint),
    }
}

/// A session's place in the hub, given up on drop.
struct Entry<'h> {
    hub: &'h Hub,
    session: Arc<Session>,
}

impl<'h> Entry<'h> {
    fn new(hub: &'h Hub, session: Arc<Session>) -> Self {
        hub.sessions().push((Arc::clone(&session), Vec::new()));
        hub.changed.send_replace(());
        Self { hub, session }
    }

    fn serves(&self, endpoints: Vec<String>) {
        let mut sessions = self.hub.sessions();
        if let Some(entry) = sessions.iter_mut().find(|(session, _)| Arc::ptr_eq(session, &self.session)) {
            entry.1 = endpoints;
        }
        self.hub.reroute(&sessions);
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut sessions = self.hub.sessions();
        sessions.retain(|(session, _)| !Arc::ptr_eq(session, &self.session));
        self.hub.reroute(&sessions);
        self.hub.changed.send_replace(());
    }
}
