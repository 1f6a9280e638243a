//! What exchanges hand to the task that owns their session's connection, and how a gateway numbers credentials.
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::exchange::Signal;
use crate::frame::{self, Kind};
use crate::lane::Lane;
use crate::queue::Frames;

/// Bytes of one direction of one exchange that may be under way without the receiver's leave, and how long a body may be without
/// moving to a lane. A receiver holds no more than this of an exchange whose reader is slow.
pub(crate) const WINDOW: u32 = 128 * 1024;

/// What the owner of a session's connection is asked to do.
pub(crate) enum Command {
    /// Begin an exchange: its frames so far, and where its events go.
    Open { exchange: u32, frames: Vec<u8>, events: mpsc::Sender<Signal> },
    /// Write whole frames.
    Write(Frames),
    /// Let the peer send so many more bytes.
    Grant { exchange: u32, bytes: u32 },
    /// The exchange is over here; tell the peer if it does not know.
    Close { exchange: u32, reset: bool, unread: Unread },
    /// A lane has come in for this exchange.
    Arrived { exchange: u32, lane: Box<Lane> },
    /// End the session after what is queued.
    Stop,
}

/// What an exchange that has ended has not looked at.
pub(crate) struct Unread {
    /// The lane that it was reading.
    pub(crate) lane: Option<Box<Lane>>,
    /// What the owner of the connection had told it.
    pub(crate) signals: Option<mpsc::Receiver<Signal>>,
}

impl Unread {
    /// The lane that the rest of its body comes on.
    pub(crate) fn lane(&mut self) -> Option<Box<Lane>> {
        let told = self.signals.as_mut().and_then(|signals| {
            std::iter::from_fn(|| signals.try_recv().ok())
                .find_map(|signal| if let Signal::Lane(lane) = signal { Some(lane) } else { None })
        });
        self.lane.take().or(told)
    }
}

/// One session, as seen by everybody but its owner.
pub(crate) struct Link {
    /// Names the session to its lanes.
    pub(crate) id: u64,
    /// Who is at the other end; at a connection point nobody asks.
    pub(crate) peer: Arc<str>,
    /// The certificate that the other end has shown, DER; empty: none.
    pub(crate) certificate: Vec<u8>,
    /// Heads and control: always next.
    urgent: mpsc::UnboundedSender<Command>,
    /// Parts of bodies: after everything urgent. Bounded by the credit of each exchange.
    bulk: mpsc::UnboundedSender<Frames>,
    next_exchange: AtomicU32,
    /// Exchanges under way.
    pub(crate) busy: AtomicU32,
    /// The peer or this end takes no new exchanges.
    pub(crate) draining: AtomicBool,
    /// Connections this end may send one body on. A few short pushes and pops: no lock is ever held across a wait.
    idle_lanes: Mutex<Vec<Lane>>,
    /// Connections the peer may send one body on.
    pub(crate) waiting_lanes: AtomicUsize,
    /// Lanes this end sends on, idle and busy.
    pub(crate) lanes_out: AtomicUsize,
    /// Lanes the peer sends on, idle and busy.
    pub(crate) lanes_in: AtomicUsize,
    /// Rings for every waiting lane when the session ends.
    pub(crate) over: Arc<Notify>,
    /// The session has ended.
    pub(crate) ended: AtomicBool,
    /// Rings when lanes were taken or lost; the connection point then dials more.
    pub(crate) lanes_changed: Arc<Notify>,
}

/// The receiving ends of a [`Link`], for the owner of the connection.
pub(crate) struct Queues {
    pub(crate) urgent: mpsc::UnboundedReceiver<Command>,
    pub(crate) bulk: mpsc::UnboundedReceiver<Frames>,
}

impl Link {
    pub(crate) fn new(id: u64, peer: Arc<str>, certificate: Vec<u8>, lanes_changed: Arc<Notify>) -> (Arc<Self>, Queues) {
        let (urgent, urgent_queue) = mpsc::unbounded_channel();
        let (bulk, bulk_queue) = mpsc::unbounded_channel();
        let link = Self {
            id,
            peer,
            certificate,
            urgent,
            bulk,
            next_exchange: AtomicU32::new(1),
            busy: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            idle_lanes: Mutex::default(),
            waiting_lanes: AtomicUsize::new(0),
            lanes_out: AtomicUsize::new(0),
            lanes_in: AtomicUsize::new(0),
            over: Arc::default(),
            ended: AtomicBool::new(false),
            lanes_changed,
        };
        (Arc::new(link), Queues { urgent: urgent_queue, bulk: bulk_queue })
    }

    pub(crate) fn next_exchange(&self) -> u32 {
        self.next_exchange.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a command over; gives it back when the session has ended.
    pub(crate) fn command(&self, command: Command) -> Result<(), Command> {
        self.urgent.send(command).map_err(|error| error.0)
    }

    /// Writes whole frames before all bulk.
    pub(crate) fn write(&self, frames: impl Into<Frames>) {
        let _ = self.command(Command::Write(frames.into()));
    }

    /// Writes whole frames after everything urgent.
    pub(crate) fn write_bulk(&self, frames: Frames) {
        let _ = self.bulk.send(frames);
    }

    /// Takes a connection to send one body on. Those that the peer has closed meanwhile are dropped.
    pub(crate) fn take_lane(&self) -> Option<Lane> {
        let lane = loop {
            let lane = self.lanes().pop();
            match lane {
                Some(lane) if !lane.is_usable() => {}
                other => break other,
            }
        };
        self.lanes_changed.notify_one();
        lane
    }

    /// Gives a connection back after a whole body.
    pub(crate) fn keep_lane(&self, lane: Lane) {
        self.lanes().push(lane);
    }

    /// How many connections stand ready to send on.
    pub(crate) fn idle_lanes(&self) -> usize {
        self.lanes().len()
    }

    /// Drops idle connections older than `age`, so that none outlives what firewalls on the way remember.
    pub(crate) fn drop_aged_lanes(&self, age: std::time::Duration) {
        self.lanes().retain(|lane| lane.age() < age);
    }

    /// The session has ended: nothing new, and no connection is kept for it.
    pub(crate) fn end(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.ended.store(true, Ordering::SeqCst);
        self.over.notify_waiters();
        self.lanes().clear();
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<Lane>> {
        self.idle_lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers of credentials. One that was given back is used again, so that they never run out: the session has been told to forget
/// it before it hears of the next that has it.
static NUMBERS: Mutex<Numbers> = Mutex::new(Numbers { used: 0, free: Vec::new() });

struct Numbers {
    /// All up to this one have been given out. 0 means no credential.
    used: u32,
    free: Vec<u32>,
}

impl Numbers {
    fn lock() -> MutexGuard<'static, Self> {
        NUMBERS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.used += 1;
            self.used
        })
    }
}

/// One client's certificate chain or token, at the gateway. Sent once per session and then named by its number; when it is dropped,
/// the connection points forget it.
pub struct Credentials {
    number: u32,
    payload: Bytes,
    told: Vec<Weak<Link>>,
}

const CHAIN: u8 = 1;
const TOKEN: u8 = 2;

impl Credentials {
    /// A certificate chain, DER, the client's own first.
    pub fn chain<'c>(certificates: impl Iterator<Item = &'c [u8]>) -> Self {
        let mut payload = vec![CHAIN];
        for certificate in certificates {
            payload.extend_from_slice(&(certificate.len() as u32).to_be_bytes());
            payload.extend_from_slice(certificate);
        }
        Self::numbered(payload)
    }

    /// A bearer token.
    pub fn token(token: &[u8]) -> Self {
        let mut payload = vec![TOKEN];
        payload.extend_from_slice(token);
        Self::numbered(payload)
    }

    fn numbered(payload: Vec<u8>) -> Self {
        Self { number: Numbers::lock().take(), payload: payload.into(), told: Vec::new() }
    }

    /// The number, after appending the credential to `frames` if this session has not been told it yet.
    pub(crate) fn tell(&mut self, link: &Arc<Link>, frames: &mut Vec<u8>) -> u32 {
        let known = self.told.iter().any(|told| std::ptr::eq(told.as_ptr(), Arc::as_ptr(link)));
        if !known {
            self.told.retain(|told| told.strong_count() > 0);
            self.told.push(Arc::downgrade(link));
            frame::push(frames, Kind::Credential, false, self.number, &self.payload);
        }
        self.number
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        for link in self.told.iter().filter_map(Weak::upgrade) {
            link.write(frame::header(Kind::Forget, false, self.number, 0).to_vec());
        }
        Numbers::lock().free.push(self.number);
    }
}

/// A credential as a connection point receives it: what the gateway claims, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimedCredential {
    /// A certificate chain, DER, the client's own first.
    Chain(Vec<Vec<u8>>),
    /// A bearer token.
    Token(Vec<u8>),
}

impl ClaimedCredential {
    /// Reads a credential; none: malformed.
    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        match payload.split_first()? {
            (&TOKEN, token) => Some(Self::Token(token.to_vec())),
            (&CHAIN, mut rest) => {
                let mut chain = Vec::new();
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let (certificate, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
                    chain.push(certificate.to_vec());
                    rest = after;
                }
                (rest.is_empty() && !chain.is_empty() && chain.len() <= 10).then_some(Self::Chain(chain))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(credentials: &mut Credentials, link: &Arc<Link>) -> usize {
        let mut frames = vec![];
        credentials.tell(link, &mut frames);
        frames.len()
    }

    #[test]
    fn a_session_is_told_a_credential_once_and_then_to_forget_it() {
        let (link, mut queues) = Link::new(1, Arc::from("test"), Vec::new(), Arc::default());
        let mut credentials = Credentials::chain([&b"leaf"[..]].into_iter());

        assert!(told(&mut credentials, &link) > 0);
        assert_eq!(told(&mut credentials, &link), 0);
        drop(credentials);

        assert!(matches!(queues.urgent.try_recv(), Ok(Command::Write(frames)) if frames.start[3] == Kind::Forget as u8));
    }

    #[test]
    fn numbers_are_used_again_and_none_is_nought() {
        let mut numbers = Numbers { used: 0, free: vec![] };
        let taken = [numbers.take(), numbers.take()];
        numbers.free.push(taken[0]);

        assert_eq!((taken, numbers.take(), numbers.take()), ([1, 2], 1, 3));
    }

    #[test]
    fn a_credential_reads_back() {
        let credentials = Credentials::chain([&b"leaf"[..], b"issuer"].into_iter());

        assert_eq!(
            ClaimedCredential::decode(&credentials.payload),
            Some(ClaimedCredential::Chain(vec![b"leaf".to_vec(), b"issuer".to_vec()]))
        );
        assert_eq!(ClaimedCredential::decode(&credentials.payload[..8]), None);
        assert_eq!(ClaimedCredential::decode(&[CHAIN]), None);
    }
}
