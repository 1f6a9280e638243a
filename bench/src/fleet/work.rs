//! What a client does through the service that it uses: register, renew, ask for the policy, send what it has, hold a request for
//! notifications. It asks one thing after the other, over one connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cmg_api::clients::{ClientToken, REGISTER, RegisterRequest, TOKEN};
use cmg_api::control::GenerationId;
use cmg_api::device::{Heartbeat, MESSAGES, Message, MessageKind, Messages, NOTIFICATIONS, Notifications, POLICY, TaskKind};
use cmg_core::backoff::Backoff;
use cmg_core::choice::Trouble;
use cmg_core::dice::within;
use cmg_lab::ProofKey;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, sleep_until};

use super::device::Told;
use super::dice::Seeded;
use super::wire::{Answer, Asking, Wire};
use super::worker::World;

/// The longest that an ordinary request may take.
const ASK_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than it is held a request for notifications may take.
const GRACE: Duration = Duration::from_secs(15);
/// A connection that breaks so soon after a request was closed before.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);
/// When something that was refused is asked for again.
const REFUSED_AGAIN: Duration = Duration::from_secs(30);
/// The first and the longest wait after a failure.
const FAILED_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Who a client is, and what it has. It stays when the service changes.
pub(super) struct Me {
    pub(super) number: usize,
    key: ProofKey,
    token: RefCell<Option<ClientToken>>,
    /// Nonces for proofs, by service.
    nonces: RefCell<BTreeMap<usize, String>>,
    policy: RefCell<Option<String>>,
    generation: Cell<GenerationId>,
    after: Cell<u64>,
    messages: Cell<u64>,
    due: RefCell<BTreeMap<Duty, Instant>>,
    dice: RefCell<Seeded>,
    /// Whether there is a network.
    pub(super) is_online: Cell<bool>,
    born: Instant,
}

/// What a client does, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Duty {
    Register,
    Renew,
    Policy,
    Heartbeat,
    Inventory,
    Hold,
}

impl Duty {
    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Renew => "renew",
            Self::Policy => "policy",
            Self::Heartbeat => "heartbeat",
            Self::Inventory => "inventory",
            Self::Hold => "notifications",
        }
    }
}

impl Me {
    pub(super) fn new(number: usize, key: ProofKey, seed: u64) -> Self {
        Self {
            number,
            key,
            token: RefCell::default(),
            nonces: RefCell::default(),
            policy: RefCell::default(),
            generation: Cell::default(),
            after: Cell::default(),
            messages: Cell::default(),
            due: RefCell::default(),
            dice: RefCell::new(Seeded(seed)),
            is_online: Cell::new(true),
            born: Instant::now(),
        }
    }

    pub(super) fn draw(&self) -> u64 {
        self.dice.borrow_mut().draw()
    }

    /// What is to be done next, and when.
    fn next(&self, world: &World) -> (Duty, Instant) {
        let now = Instant::now();
        let due = self.due.borrow();
        let at = |duty| due.get(&duty).copied().unwrap_or(now);
        let Some(renew_after) = self.token.borrow().as_ref().map(|token| token.renew_after) else {
            return (Duty::Register, at(Duty::Register));
        };
        let renew = now + Duration::from_secs(renew_after.saturating_sub(unix()));
        let pace = &world.plan.pace;
        let wanted = [
            Some((Duty::Renew, renew.max(at(Duty::Renew)))),
            Some((Duty::Policy, at(Duty::Policy))),
            (!pace.heartbeat_every.is_zero()).then(|| (Duty::Heartbeat, at(Duty::Heartbeat))),
            (!pace.inventory_every.is_zero()).then(|| (Duty::Inventory, at(Duty::Inventory))),
            (!pace.notification_wait.is_zero()).then(|| (Duty::Hold, at(Duty::Hold))),
        ];
        // Of what is due, the most urgent; otherwise the first that will be.
        let all = || wanted.iter().flatten().copied();
        all().find(|(_, at)| *at <= now).or_else(|| all().min_by_key(|(_, at)| *at)).unwrap_or((Duty::Policy, now))
    }

    fn put_off(&self, duty: Duty, wait: Duration) {
        self.due.borrow_mut().insert(duty, Instant::now() + wait);
    }
}

/// Works through one service until it is dropped. Each answer and each failure is told.
pub(super) async fn work(world: Rc<World>, me: Rc<Me>, service: usize, mut wire: Option<Wire>, tell: UnboundedSender<Told>) {
    let mut backoff = Backoff::new(FAILED_AGAIN.0, FAILED_AGAIN.1);
    loop {
        let (duty, at) = me.next(&world);
        sleep_until(at).await;
        let done = perform(&world, &me, service, &mut wire, duty).await;
        let failed = done.err();
        if tell.send(Told::Worked(service, failed.map_or(Ok(()), Err))).is_err() {
            return;
        }
        match failed {
            None => backoff.reset(),
            Some(trouble) => {
                wire = None;
                world.tally.borrow_mut().count(duty.name(), trouble_word(trouble));
                let wait = match trouble {
                    // The state machine knows how long, and says where to go if it is too long.
                    Trouble::Busy(rest) => rest + within(me.draw(), rest),
                    _ => backoff.wait(me.draw()),
                };
                sleep(wait).await;
            }
        }
    }
}

/// One word for counting.
pub(super) fn trouble_word(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Unresolved => "unresolved",
        Trouble::Refused => "refused",
        Trouble::Untrusted => "untrusted",
        Trouble::Portal => "portal",
        Trouble::Broken => "broken",
        Trouble::Busy(_) => "busy",
    }
}

async fn perform(world: &World, me: &Me, service: usize, wire: &mut Option<Wire>, duty: Duty) -> Result<(), Trouble> {
    let began = Instant::now();
    let _held = (duty == Duty::Hold).then(|| Held::new(world));
    let answer = ask(world, me, service, wire, duty).await?;
    drop(_held);
    world.tally.borrow_mut().count(duty.name(), answer.status);
    if let Some(trouble) = answer.trouble() {
        return Err(trouble);
    }
    if duty != Duty::Hold {
        world.tally.borrow_mut().took(duty.name(), began.elapsed());
    }
    settle(world, me, duty, &answer);
    Ok(())
}

/// Counts a held request while it lives.
struct Held<'w>(&'w World);

impl<'w> Held<'w> {
    fn new(world: &'w World) -> Self {
        world.tally.borrow_mut().held += 1;
        Self(world)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.tally.borrow_mut().held -= 1;
    }
}

/// Asks, once more if a nonce is wanted.
async fn ask(world: &World, me: &Me, service: usize, wire: &mut Option<Wire>, duty: Duty) -> Result<Answer, Trouble> {
    let answer = ask_once(world, me, service, wire, duty).await?;
    let nonce = answer.field("dpop-nonce").map(str::to_owned);
    let wants_nonce = answer.status == 401 && nonce.is_some();
    if let Some(nonce) = nonce {
        me.nonces.borrow_mut().insert(service, nonce);
    }
    if wants_nonce { ask_once(world, me, service, wire, duty).await } else { Ok(answer) }
}

async fn ask_once(world: &World, me: &Me, service: usize, wire: &mut Option<Wire>, duty: Duty) -> Result<Answer, Trouble> {
    let planned = &world.plan.services[service];
    let (method, path, query) = place(world, me, duty);
    let own = me.token.borrow().as_ref().map(|token| token.token.clone());
    // The bulk registration token belongs to no key, so its scheme is another.
    let (scheme, token) = own.map_or_else(|| ("Bearer", world.plan.bulk_token_of(me.number).to_owned()), |token| ("DPoP", token));
    let nonce = me.nonces.borrow().get(&service).cloned();
    let proof = me.key.proof(method, &format!("{}{path}", planned.url), &token, nonce.as_deref()).map_err(|_| Trouble::Broken)?;
    let mut fields =
        vec![format!("Authorization: {scheme} {token}"), format!("DPoP: {proof}"), "Content-Type: application/json".to_owned()];
    if let (Duty::Policy, Some(etag)) = (duty, me.policy.borrow().as_deref()) {
        fields.push(format!("If-None-Match: {etag}"));
    }
    let (host, base) = world.place_of(service);
    let body = body(me, duty);
    let held = if duty == Duty::Hold { world.plan.pace.notification_wait + GRACE } else { ASK_WITHIN };
    let path = format!("{base}{path}{query}");
    let asking = Asking { method, path: &path, host, fields, body: &body, within: held };
    if !me.is_online.get() {
        return Err(Trouble::Refused);
    }
    send(world, (service, me.number), wire, &asking).await
}

/// Sends over the connection that there is. One that the server has closed meanwhile says nothing: another is made, once.
async fn send(world: &World, (service, client): (usize, usize), wire: &mut Option<Wire>, asking: &Asking<'_>) -> Result<Answer, Trouble> {
    let began = Instant::now();
    if let Some(used) = wire {
        match used.ask(asking).await {
            Err(Trouble::Broken) if began.elapsed() < CLOSED_WITHIN => {}
            Err(trouble) => return Err(trouble),
            Ok(answer) => return Ok(keep(wire, answer)),
        }
    }
    let answer = wire.insert(world.connect(service, client).await?).ask(asking).await?;
    Ok(keep(wire, answer))
}

/// Keeps the connection, unless the server has said that it closes it.
fn keep(wire: &mut Option<Wire>, answer: Answer) -> Answer {
    if answer.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
        *wire = None;
    }
    answer
}

/// Method, path and query.
fn place(world: &World, me: &Me, duty: Duty) -> (&'static str, &'static str, String) {
    match duty {
        Duty::Register => ("POST", REGISTER, String::new()),
        Duty::Renew => ("POST", TOKEN, String::new()),
        Duty::Policy => ("GET", POLICY, String::new()),
        Duty::Heartbeat | Duty::Inventory => ("POST", MESSAGES, String::new()),
        Duty::Hold => {
            let (GenerationId { epoch, number }, wait) = (me.generation.get(), world.plan.pace.notification_wait.as_secs());
            ("GET", NOTIFICATIONS, format!("?after={}&policy={epoch}.{number}&wait={wait}", me.after.get()))
        }
    }
}

fn body(me: &Me, duty: Duty) -> Vec<u8> {
    let name = format!("PC-{}", me.number);
    match duty {
        Duty::Register => json(&RegisterRequest { name }),
        Duty::Renew | Duty::Policy | Duty::Hold => Vec::new(),
        Duty::Heartbeat => {
            let heartbeat = Heartbeat {
                name,
                client_version: env!("CARGO_PKG_VERSION").to_owned(),
                os: "Simulated 1".to_owned(),
                ..Heartbeat::default()
            };
            message(me, MessageKind::Heartbeat, serde_json::to_value(heartbeat).unwrap_or_default())
        }
        Duty::Inventory => message(me, MessageKind::Inventory, inventory(&name)),
    }
}

fn message(me: &Me, kind: MessageKind, body: serde_json::Value) -> Vec<u8> {
    // The same message keeps its id until it was kept.
    let id = format!("{}-{}", me.number, me.messages.get());
    json(&Messages { messages: vec![Message { id, kind, at: unix(), body, upload: None }] })
}

/// An inventory of some 8 KiB.
fn inventory(name: &str) -> serde_json::Value {
    let software: Vec<_> =
        (0..100).map(|number| serde_json::json!({ "name": format!("package-{number}"), "version": "1.2.3-4", "arch": "amd64" })).collect();
    serde_json::json!({ "name": name, "memory": 8 << 30, "processors": 4, "software": software })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// What an answer changes.
fn settle(world: &World, me: &Me, duty: Duty, answer: &Answer) {
    let pace = &world.plan.pace;
    // Each a little apart from all others, always.
    let jittered = |every: Duration| every - every / 10 + within(me.draw(), every / 5);
    let done = match (duty, answer.status) {
        (Duty::Register | Duty::Renew, 200 | 201) => registered(world, me, duty, answer),
        (Duty::Policy, 200 | 304) => {
            informed(world, me, answer);
            Some(jittered(pace.policy_every))
        }
        (Duty::Heartbeat, 200) => Some(jittered(pace.heartbeat_every)),
        (Duty::Inventory, 200) => Some(jittered(pace.inventory_every)),
        (Duty::Hold, 200) => notified(me, answer),
        (Duty::Hold, 204) => Some(Duration::ZERO),
        _ => None,
    };
    if matches!(duty, Duty::Heartbeat | Duty::Inventory) && done.is_some() {
        me.messages.set(me.messages.get() + 1);
    }
    // A token that does not count any more: registering again with the same key gives the same client another.
    if answer.status == 401 && duty != Duty::Register {
        *me.token.borrow_mut() = None;
    }
    me.put_off(duty, done.unwrap_or_else(|| jittered(REFUSED_AGAIN)));
}

fn registered(world: &World, me: &Me, duty: Duty, answer: &Answer) -> Option<Duration> {
    let token = serde_json::from_slice(&answer.body).ok()?;
    if me.token.replace(Some(token)).is_none() && duty == Duty::Register {
        let mut tally = world.tally.borrow_mut();
        tally.registered += 1;
        tally.took("first registration", me.born.elapsed());
    }
    Some(Duration::ZERO)
}

fn informed(world: &World, me: &Me, answer: &Answer) {
    if let Some(etag) = answer.field("etag") {
        let generation = etag.trim_matches('"').split_once('.');
        let parsed = generation.and_then(|(epoch, number)| Some(GenerationId { epoch: epoch.parse().ok()?, number: number.parse().ok()? }));
        me.generation.set(parsed.unwrap_or_default());
        if me.policy.replace(Some(etag.to_owned())).is_none() {
            world.tally.borrow_mut().took("first policy", me.born.elapsed());
        }
    }
}

fn notified(me: &Me, answer: &Answer) -> Option<Duration> {
    let told: Notifications = serde_json::from_slice(&answer.body).ok()?;
    me.after.set(told.after);
    if told.policy != me.generation.get() {
        me.put_off(Duty::Policy, Duration::ZERO);
    }
    for task in told.tasks {
        match task.kind {
            TaskKind::Ping => me.put_off(Duty::Heartbeat, Duration::ZERO),
            TaskKind::Policy => me.put_off(Duty::Policy, Duration::ZERO),
            TaskKind::Inventory => me.put_off(Duty::Inventory, Duration::ZERO),
            TaskKind::Locate => {}
        }
    }
    Some(Duration::ZERO)
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
