//! What gateways ask this connection point itself: their configuration, and what they want the site to know.
//!
//! A gateway gets the manifest and the parts of the very instance that its certificate names, and nothing of any other. What it says
//! is passed on by its own name. Everything is bounded: bodies, questions at a time, parts in memory.
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cmg_api::bytes::Sha256;
use cmg_api::control::{GenerationId, LARGEST_MESSAGE, RenewRequest};
use cmg_enrolled::Parts;
use cmg_process::log::chain;
use cmg_process::shutdown::Drain;
use cmg_tunnel::Incoming;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::board::Board;
use super::said::Said;
use cmg_site_client::Site;

/// Longest time that a gateway's question is held.
const LONGEST_HOLD: Duration = Duration::from_secs(30);

/// Longest time for a body to come in, or to go out.
const BODY_TIME: Duration = Duration::from_secs(300);

/// The largest status of a gateway: a few hundred findings, with its certificate and signature. A report to the site holds those of several.
pub(crate) const LARGEST_STATUS: usize = 256 * 1024;

/// Questions of one gateway instance at a time: more come from one that lies.
const MOST_QUESTIONS: usize = 64;

/// Gateway instances whose state is kept. More at a time come from gateways that lie; who asks nothing makes room.
const MOST_GATEWAYS: usize = 256;

/// Parts in memory at a time, in MiB together, each begun one counted.
const MOST_PARTS: usize = 512;

/// Parts that one gateway instance is sent at a time: one that takes none must not stop the others.
const MOST_PARTS_OF_ONE: usize = 3;

/// What is told to gateways, and what they tell.
pub(crate) struct Relay {
    pub(crate) board: watch::Sender<Board>,
    said: Mutex<Said>,
    parts: Parts,
    site: Arc<Site>,
    drain: Drain,
    callers: Mutex<BTreeMap<String, Caller>>,
    part_places: Semaphore,
}

/// A gateway instance that has asked.
struct Caller {
    questions: usize,
    /// Room for parts on their way.
    parts: Arc<Semaphore>,
    /// When what the site has said was said, of which the instance was told last.
    told: Option<u64>,
}

impl Default for Caller {
    fn default() -> Self {
        Self { questions: 0, parts: Arc::new(Semaphore::new(MOST_PARTS_OF_ONE)), told: None }
    }
}

/// An answer: a status and a body.
struct Answer(u16, Vec<u8>);

impl Answer {
    fn json(message: &impl Serialize) -> Self {
        Self(200, serde_json::to_vec(message).expect("messages have text keys only"))
    }

    fn empty(status: u16) -> Self {
        Self(status, Vec::new())
    }
}

impl Relay {
    /// Nothing to tell yet.
    pub(crate) fn new(parts: Parts, site: Arc<Site>, drain: Drain) -> Self {
        Self {
            board: watch::Sender::default(),
            said: Mutex::default(),
            parts,
            site,
            drain,
            callers: Mutex::default(),
            part_places: Semaphore::new(MOST_PARTS),
        }
    }

    /// Answers one question of a gateway.
    pub(crate) async fn answer(&self, incoming: Incoming) {
        let Incoming { gateway, mut exchange, request, .. } = incoming;
        let name = gateway.as_str();
        let head = request.get();
        let target = str::from_utf8(head.target).unwrap_or_default();
        let Some(_place) = Place::take(&self.callers, name) else {
            return respond(exchange, Answer::empty(429)).await;
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let answer = match (head.method, path) {
            (b"GET", "/news") => self.news(name, query).await,
            (b"GET", _) if path.starts_with("/part/") => return self.part(name, &path[6..], exchange).await,
            (b"POST", "/status") => match body(&mut exchange, LARGEST_STATUS).await {
                Ok(body) => self.status(name, &body),
                Err(answer) => answer,
            },
            (b"POST", "/renew") => match body(&mut exchange, LARGEST_MESSAGE).await {
                Ok(body) => self.renew(name, &body).await,
                Err(answer) => answer,
            },
            (_, "/news" | "/status" | "/renew") => Answer::empty(405),
            _ if path.starts_with("/part/") => Answer::empty(405),
            _ => Answer::empty(404),
        };
        respond(exchange, answer).await;
    }

    /// Answers as soon as there is something that the instance has not been told, or when its time is over.
    async fn news(&self, name: &str, query: &str) -> Answer {
        let Some((after, wait)) = asked(query) else { return Answer::empty(400) };
        let until = Instant::now() + wait;
        let mut board = self.board.subscribe();
        let was_known = board.borrow().knows(name);
        loop {
            let (news, said_at, is_known) = {
                let board = board.borrow_and_update();
                (board.news(name, after), board.said_at(), board.knows(name))
            };
            let is_told = self.callers().get(name).is_some_and(|caller| caller.told == said_at);
            // Who is not served any more ends its session, and must not be held up by its own question.
            let is_left = was_known && !is_known;
            if news.manifest.is_none() && is_told && !is_left && !self.drain.has_begun() {
                let waiting = async {
                    tokio::select! {
                        changed = board.changed() => changed.is_ok(),
                        () = self.drain.draining() => true,
                    }
                };
                if timeout_at(until, waiting).await.unwrap_or(false) {
                    continue;
                }
            }
            self.callers().entry(name.to_owned()).or_default().told = said_at;
            return Answer::json(&news);
        }
    }

    async fn part(&self, name: &str, digest: &str, exchange: cmg_tunnel::Exchange) {
        let digest = digest.parse::<Sha256>().ok();
        let found = digest.and_then(|digest| Some((digest, self.board.borrow().size_of_part(name, digest)?)));
        let Some((digest, size)) = found else {
            return respond(exchange, Answer::empty(404)).await;
        };
        let own = Arc::clone(&self.callers().entry(name.to_owned()).or_default().parts);
        let Ok(_turn) = own.acquire().await else { return };
        let weight = u32::try_from(size >> 20).unwrap_or(u32::MAX).saturating_add(1).min(MOST_PARTS as u32);
        let Ok(_place) = self.part_places.acquire_many(weight).await else { return };
        let parts = self.parts.clone();
        let read = tokio::task::spawn_blocking(move || parts.read(&digest)).await;
        match read {
            Ok(Ok(bytes)) => respond(exchange, Answer(200, bytes)).await,
            Ok(Err(error)) => {
                warn!(part = %digest, error = %chain(&error), "A part for a gateway cannot be read");
                respond(exchange, Answer::empty(404)).await;
            }
            Err(_) => {}
        }
    }

    fn status(&self, name: &str, body: &[u8]) -> Answer {
        let Ok(status) = serde_json::from_slice(body) else { return Answer::empty(400) };
        self.said().keep(name, status, Instant::now());
        Answer::empty(204)
    }

    /// What gateways have said about themselves.
    pub(crate) fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self, name: &str, body: &[u8]) -> Answer {
        let Ok(request) = serde_json::from_slice::<RenewRequest>(body) else { return Answer::empty(400) };
        match self.site.member().client.renew_gateway(&request).await {
            Ok(enrolled) => {
                info!(gateway = name, "A gateway's certificate was renewed");
                Answer::json(&enrolled)
            }
            Err(error) => {
                warn!(gateway = name, error = %chain(&error), "A gateway's certificate was not renewed");
                Answer::empty(error.status().unwrap_or(503))
            }
        }
    }

    fn callers(&self) -> MutexGuard<'_, BTreeMap<String, Caller>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question's place among those of its gateway, given up on drop.
struct Place<'r> {
    callers: &'r Mutex<BTreeMap<String, Caller>>,
    name: String,
}

impl<'r> Place<'r> {
    fn take(callers: &'r Mutex<BTreeMap<String, Caller>>, name: &str) -> Option<Self> {
        let mut all = callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(name) && all.len() >= MOST_GATEWAYS {
            // One that comes again is told once more what the site has said.
            all.retain(|_, caller| caller.questions > 0);
            if all.len() >= MOST_GATEWAYS {
                return None;
            }
        }
        let caller = all.entry(name.to_owned()).or_default();
        (caller.questions < MOST_QUESTIONS).then(|| {
            caller.questions += 1;
            Self { callers, name: name.to_owned() }
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut all = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = all.get_mut(&self.name) {
            caller.questions -= 1;
        }
    }
}

async fn body(exchange: &mut cmg_tunnel::Exchange, limit: usize) -> Result<Vec<u8>, Answer> {
    match timeout(BODY_TIME, exchange.whole_body(limit)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(cmg_tunnel::BodyError::TooLong)) => Err(Answer::empty(413)),
        Ok(Err(cmg_tunnel::BodyError::Lost)) | Err(_) => Err(Answer::empty(408)),
    }
}

async fn respond(exchange: cmg_tunnel::Exchange, Answer(status, body): Answer) {
    if !matches!(timeout(BODY_TIME, exchange.answer_whole(status, &body)).await, Ok(Ok(()))) {
        debug!(status, "A gateway has not taken its answer");
    }
}

/// What the instance has, and how long it wants to wait.
fn asked(query: &str) -> Option<(GenerationId, Duration)> {
    let (mut after, mut wait) = (GenerationId::default(), Duration::ZERO);
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "after" => after = GenerationId::parse(value)?,
            "wait" => wait = Duration::from_secs(value.parse().ok()?).min(LONGEST_HOLD),
            _ => {}
        }
    }
    Some((after, wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_that_ask_nothing_make_room_for_others_and_those_that_ask_do_not() {
        let callers = Mutex::default();
        for number in 0..MOST_GATEWAYS {
            assert!(Place::take(&callers, &format!("former-{number}")).is_some());
        }

        let places: Vec<_> = (0..MOST_GATEWAYS).map(|number| Place::take(&callers, &format!("gw-{number}")).unwrap()).collect();

        assert!(Place::take(&callers, "one-more").is_none());
        assert_eq!(callers.lock().unwrap().len(), MOST_GATEWAYS);
        drop(places);
        assert!(Place::take(&callers, "one-more").is_some());
    }

    #[test]
    fn a_question_says_what_is_known_and_how_long_it_waits() {
        let generation = GenerationId { epoch: 2, number: 7 };

        assert_eq!(asked("after=2.7&wait=20"), Some((generation, Duration::from_secs(20))));
        assert_eq!(asked("wait=9999&after=2.7"), Some((generation, LONGEST_HOLD)));
        assert_eq!(asked(""), Some((GenerationId::default(), Duration::ZERO)));
        assert_eq!(asked("after=x"), None);
        assert_eq!(asked("wait=-1"), None);
    }
}
