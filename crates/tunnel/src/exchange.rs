//! One request and its answer, as both ends of the tunnel see it.
//!
//! An exchange has two directions. Each begins on the session's connection, under a window of [`WINDOW`] bytes that the receiver
//! widens as it passes bytes on. A direction that turns out to be bulk moves to a lane when one stands ready, at any byte. Nobody
//! but this file knows which way a byte came.
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use cmg_core::ids::GatewayId;
use cmg_core::refusal::Refusal;
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::frame::{self, Kind};
use crate::head::{self, Fields, RequestFrame, ResponseFrame, ResponseHead};
use crate::lane::{self, Arrival, Lane};
use crate::outbox::{ClaimedCredential, Command, Link, Unread, WINDOW};
use crate::queue::{self, Frames};

/// What each DATA frame costs besides its bytes, so that a flood of tiny frames is bounded by the window too.
pub(crate) const FRAME_COST: u32 = 64;

/// Bytes of a body that travel beside heads. What is longer waits its turn behind them.
const SMALL: u64 = 16 * 1024;

/// How many bytes go with a head, of those that are at hand of its body: all or none, so that a body that has to wait waits in one
/// piece.
pub(crate) fn beside_head(at_hand: usize) -> usize {
    if at_hand as u64 <= SMALL { at_hand } else { 0 }
}

/// How long a lane is waited for that the peer says it sends on. Both leave at the same time, and a session that is silent for as long
/// is dead: a lane that has not come by then never comes.
const LANE_WAIT: Duration = Duration::from_secs(10);

const _: () = assert!(SMALL as usize + FRAME_COST as usize <= WINDOW as usize && SMALL as usize <= frame::DATA_LIMIT);

/// What the owner of the connection tells an exchange.
pub(crate) enum Signal {
    Event(Event),
    /// A further part of a DATA frame.
    More(Bytes),
    Credit(u32),
    Moved,
    Lane(Box<Lane>),
    /// The peer has closed the session in an orderly way.
    Closed,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A 1xx head.
    Interim(ResponseFrame),
    /// The head of the answer.
    Response(ResponseFrame),
    /// A part of the body. Tell [`Exchange::consumed`] when it has been passed on.
    Data(Bytes),
    /// The body is whole.
    End,
    /// The body is whole, and these fields follow; read them with [`trailer_fields`].
    Trailers(Bytes),
    /// There will be no answer.
    Refused(Refusal),
    /// The peer ended the exchange.
    Reset,
    /// The tunnel ended.
    Lost,
    /// The tunnel ended before any byte of the request left this machine.
    NotSent,
}

/// The fields of [`Event::Trailers`]; none: malformed.
pub fn trailer_fields(payload: &[u8]) -> Option<impl Iterator<Item = (&[u8], &[u8])>> {
    head::decode_fields(payload).ok()
}

/// The session and the connection point that a try went through.
#[derive(Clone, Debug)]
pub struct Way {
    pub(crate) session: u64,
    pub(crate) peer: Arc<str>,
}

/// Nothing more can be sent: the tunnel or the peer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// A request that a connection point is asked to carry out.
pub struct Incoming {
    /// The gateway instance that asks, as its certificate and its greeting proved.
    pub gateway: GatewayId,
    /// The exchange; dropping it unanswered resets it.
    pub exchange: Exchange,
    /// The request's head.
    pub request: RequestFrame,
    /// Who the gateway says is asking; none: nobody.
    pub credential: Option<Arc<Claim>>,
}

/// A credential that a gateway claims, with room for what its verification found.
pub struct Claim {
    /// What was claimed.
    pub credential: ClaimedCredential,
    /// What the verifier wants to remember about it.
    pub memo: std::sync::Mutex<Option<Arc<dyn std::any::Any + Send + Sync>>>,
}

/// One end of an exchange. Dropping it ends the exchange.
pub struct Exchange {
    number: u32,
    link: Arc<Link>,
    /// Taken away at the end only.
    signals: Option<mpsc::Receiver<Signal>>,
    held: VecDeque<Event>,
    /// This end answers: the exchange is over for the peer once it has the answer, whatever of the request is still to come.
    pub(crate) answers: bool,
    outward: Outward,
    inward: Inward,
}

struct Outward {
    credit: u32,
    sent: u64,
    left: Option<u64>,
    may_move: bool,
    lane: Option<Lane>,
    /// Its lane has broken.
    broken: bool,
    ended: bool,
}

struct Inward {
    moved: bool,
    lane: Option<Box<Lane>>,
    /// The peer closed the session when it had sent all of this direction on the lane.
    outlives: bool,
    /// Runs while the lane is waited for.
    late: Option<Pin<Box<Sleep>>>,
    owed: u32,
    /// Parts of frames whose cost another part bears.
    continued: u32,
    ended: bool,
}

impl Exchange {
    /// An exchange that begins. `inward_ended`: nothing will come in; `outward_ended`: nothing will go out.
    pub(crate) fn new(number: u32, link: Arc<Link>, signals: mpsc::Receiver<Signal>, inward_ended: bool, outward_ended: bool) -> Self {
        link.busy.fetch_add(1, Ordering::Relaxed);
        Self {
            number,
            link,
            signals: Some(signals),
            held: VecDeque::new(),
            answers: false,
            outward: Outward { credit: WINDOW, sent: 0, left: None, may_move: true, lane: None, broken: false, ended: outward_ended },
            inward: Inward { moved: false, lane: None, outlives: false, late: None, owed: 0, continued: 0, ended: inward_ended },
        }
    }

    /// Which way it went, so that a second try can go another.
    pub fn way(&self) -> Way {
        Way { session: self.link.id, peer: Arc::clone(&self.link.peer) }
    }

    /// Counts the first bytes of a body, which left with the head.
    pub(crate) fn has_sent(&mut self, length: usize) {
        if length > 0 {
            self.outward.credit -= length as u32 + FRAME_COST;
            self.outward.count(length);
        }
    }

    /// Says how many bytes the outward body has, where known. Tells bulk apart from the beginning.
    pub fn expect_to_send(&mut self, length: Option<u64>) {
        self.outward.left = length;
    }

    /// Keeps both directions on the session's connection: for upgraded protocols, which live long and send little.
    pub fn stay(&mut self) {
        self.outward.may_move = false;
    }

    /// Whether nothing more will come in.
    pub fn is_received(&self) -> bool {
        self.inward.ended && self.held.is_empty()
    }

    /// Whether nothing more will go out.
    pub fn is_sent(&self) -> bool {
        self.outward.ended
    }

    /// Takes in what the connection's owner has said. Wakes the task when more comes.
    fn pump(&mut self, cx: &mut Context<'_>) {
        while let Some(Poll::Ready(signal)) = self.signals.as_mut().map(|signals| signals.poll_recv(cx)) {
            match signal {
                // Never more than a window: a peer that grants more would have this end's memory filled.
                Some(Signal::Credit(bytes)) => self.outward.credit = self.outward.credit.saturating_add(bytes).min(WINDOW),
                Some(Signal::Moved) => self.inward.moved = true,
                Some(Signal::Lane(lane)) => self.inward.lane = Some(lane),
                Some(Signal::Closed) => self.inward.outlives = self.inward.moved && self.inward.lane.is_some(),
                Some(Signal::Event(event)) => self.held.push_back(event),
                Some(Signal::More(bytes)) => {
                    self.inward.continued += 1;
                    self.held.push_back(Event::Data(bytes));
                }
                None => {
                    if !self.inward.ended && !self.inward.outlives && !matches!(self.held.back(), Some(Event::Lost)) {
                        self.held.push_back(Event::Lost);
                    }
                    return;
                }
            }
        }
    }

    /// What happened next. Pending wakes the task for new events and for new credit.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.pump(cx);
        if let Some(event) = self.held.pop_front() {
            if matches!(event, Event::End | Event::Trailers(_) | Event::Refused(_)) {
                self.inward.ended = true;
            }
            return Poll::Ready(event);
        }
        match &mut self.inward.lane {
            Some(lane) if self.inward.moved && !self.inward.ended => {
                let arrival = ready!(lane.poll_receive(cx));
                Poll::Ready(self.take_arrival(arrival))
            }
            None if self.inward.moved && !self.inward.ended => {
                ready!(self.inward.late.get_or_insert_with(|| Box::pin(sleep(LANE_WAIT))).as_mut().poll(cx));
                Poll::Ready(Event::Reset)
            }
            _ => Poll::Pending,
        }
    }

    fn take_arrival(&mut self, arrival: std::io::Result<Arrival>) -> Event {
        let event = match arrival {
            Ok(Arrival::Data(bytes)) => return Event::Data(bytes),
            Ok(Arrival::End) => Event::End,
            Ok(Arrival::Trailers(payload)) => Event::Trailers(payload),
            Err(_) => {
                self.inward.lane = None;
                return Event::Reset;
            }
        };
        self.inward.ended = true;
        if let Some(lane) = self.inward.lane.take() {
            lane::wait(*lane, &self.link);
        }
        event
    }

    /// What happened next.
    pub async fn event(&mut self) -> Event {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// A DATA event of `length` bytes has been passed on: the peer may send more.
    pub fn consumed(&mut self, length: usize) {
        if self.inward.ended || self.inward.moved {
            return;
        }
        let cost = if self.inward.continued > 0 { 0 } else { FRAME_COST };
        self.inward.continued = self.inward.continued.saturating_sub(1);
        self.inward.owed = self.inward.owed.saturating_add(length as u32 + cost);
        if self.inward.owed >= WINDOW / 2 {
            let bytes = std::mem::take(&mut self.inward.owed);
            let _ = self.link.command(Command::Grant { exchange: self.number, bytes });
        }
    }

    /// Sends a part of the first `length` bytes of `data` and takes them off; gives how many. With `last`, the direction ends when all
    /// were taken. Pending wakes the task when the peer grants more.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &mut BytesMut, length: usize, last: bool) -> Poll<Result<usize, Gone>> {
        self.pump(cx);
        if self.outward.broken {
            return Poll::Ready(Err(Gone));
        }
        if self.outward.lane.is_none() && self.is_bulk(length) {
            self.move_to_lane();
        }
        if let Some(lane) = &mut self.outward.lane {
            let taken = ready!(lane.poll_send(cx, &data[..length])).map_err(|_| self.broken())?;
            data.advance(taken);
            self.outward.count(taken);
            return Poll::Ready(Ok(taken));
        }
        let taken = (self.outward.credit.saturating_sub(FRAME_COST) as usize).min(frame::DATA_LIMIT).min(length);
        if taken == 0 && length > 0 {
            return if self.link_is_gone() { Poll::Ready(Err(Gone)) } else { Poll::Pending };
        }
        let ends = last && taken == length;
        let start = frame::header(Kind::Data, ends, self.number, taken).to_vec();
        let body = if taken < queue::LARGE { Bytes::copy_from_slice(&data[..taken]) } else { data.split_to(taken).freeze() };
        if taken < queue::LARGE {
            data.advance(taken);
        }
        self.outward.credit -= taken as u32 + FRAME_COST.min(self.outward.credit);
        self.outward.count(taken);
        self.outward.ended = ends;
        self.write_body(Frames { start, body });
        Poll::Ready(Ok(taken))
    }

    /// Whether the rest of the outward body should travel on a lane of its own.
    fn is_bulk(&self, at_hand: usize) -> bool {
        let out_of_credit = (self.outward.credit as usize) < at_hand.min(frame::DATA_LIMIT) + FRAME_COST as usize;
        let known_long = self.outward.left.is_some_and(|left| left > u64::from(WINDOW));
        self.outward.may_move && !self.outward.ended && (known_long || out_of_credit)
    }

    fn move_to_lane(&mut self) {
        let Some(mut lane) = self.link.take_lane() else { return };
        lane.begin(self.number, self.outward.left);
        let moved = frame::header(Kind::Moved, false, self.number, 0).to_vec();
        self.write_body(moved);
        self.outward.lane = Some(lane);
    }

    /// Writes frames of a body, in order: beside heads while the body is small, behind them afterwards.
    fn write_body(&mut self, frames: impl Into<Frames>) {
        if self.outward.sent <= SMALL {
            self.link.write(frames);
        } else {
            self.link.write_bulk(frames.into());
        }
    }

    fn link_is_gone(&self) -> bool {
        self.held.iter().any(|event| matches!(event, Event::Lost | Event::NotSent | Event::Reset))
    }

    /// Hands what was sent on a lane to the socket; to be polled before the task rests.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        match &mut self.outward.lane {
            Some(lane) => lane.poll_flush(cx).map_err(|_| self.broken()),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends the outward direction, with trailers where there are any (as [`trailers`] writes them). Poll it with the same argument until ready.
    pub fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &mut Option<Vec<u8>>) -> Poll<Result<(), Gone>> {
        if self.outward.ended {
            return Poll::Ready(Ok(()));
        }
        if self.outward.broken {
            return Poll::Ready(Err(Gone));
        }
        if let Some(lane) = &mut self.outward.lane {
            ready!(lane.poll_finish(cx, trailers)).map_err(|_| self.broken())?;
            if let Some(lane) = self.outward.lane.take() {
                self.link.keep_lane(lane);
            }
        } else {
            let trailers = trailers.take().unwrap_or_default();
            let kind = if trailers.is_empty() { Kind::Data } else { Kind::Trailers };
            let mut frame = Vec::new();
            frame::push(&mut frame, kind, true, self.number, &trailers);
            self.write_body(frame);
        }
        self.outward.ended = true;
        Poll::Ready(Ok(()))
    }

    /// The lane has broken in the middle of a body. The peer is told: where the lane never reached it, nothing else would.
    fn broken(&mut self) -> Gone {
        self.outward.lane = None;
        self.outward.broken = true;
        self.link.write(frame::header(Kind::Reset, true, self.number, 0).to_vec());
        Gone
    }

    /// Answers with a 1xx head.
    pub fn interim(&mut self, head: &ResponseHead<'_>, fields: impl FnOnce(&mut Fields<'_>)) {
        let mut frames = Vec::new();
        frame::push_with(&mut frames, Kind::Interim, false, self.number, |out| head.encode(out, fields));
        self.link.write(frames);
    }

    /// Answers with a head and what is at hand of the body, which may be all of it. Gives how many bytes went along: none of what
    /// is too much to go beside heads.
    pub fn respond(&mut self, head: &ResponseHead<'_>, fields: impl FnOnce(&mut Fields<'_>), body: &[u8], whole: bool) -> usize {
        let taken = beside_head(body.len());
        let mut frames = Vec::with_capacity(256 + taken);
        let nothing_follows = whole && body.is_empty();
        frame::push_with(&mut frames, Kind::Response, nothing_follows, self.number, |out| head.encode(out, fields));
        if taken > 0 {
            frame::push(&mut frames, Kind::Data, whole, self.number, &body[..taken]);
            self.has_sent(taken);
            self.outward.ended = whole;
        }
        self.outward.ended |= nothing_follows;
        self.link.write(frames);
        taken
    }

    /// Answers with a reason why there is no answer.
    pub fn refuse(mut self, refusal: Refusal) {
        let mut frames = Vec::new();
        frame::push(&mut frames, Kind::Refuse, true, self.number, &refusal.code().to_be_bytes());
        self.outward.ended = true;
        self.inward.ended = true;
        self.link.write(frames);
    }
}

/// Writes trailers for [`Exchange::poll_finish`].
pub fn trailers(fields: impl FnOnce(&mut Fields<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    head::encode_fields(&mut out, fields);
    out
}

impl Outward {
    fn count(&mut self, taken: usize) {
        self.sent += taken as u64;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(taken as u64);
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.link.busy.fetch_sub(1, Ordering::Relaxed);
        // A reset must not overtake the end of a whole answer, which may be waiting in the queue for bulk or on a lane.
        let reset = !(self.outward.ended && (self.answers || self.inward.ended));
        let unread = Unread { lane: self.inward.lane.take(), signals: self.signals.take() };
        let _ = self.link.command(Command::Close { exchange: self.number, reset, unread });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::slot::{self, Slot};

    #[tokio::test(start_paused = true)]
    async fn a_lane_that_never_comes_ends_its_exchange() {
        let (link, _queues) = Link::new(1, Arc::from("test"), Vec::new(), Arc::default());
        let (told, signals) = slot::signals();
        let mut exchange = Exchange::new(1, link, signals, false, false);
        let began = Instant::now();

        let mut slot = Slot::new(told, false);
        assert!(slot.moved().is_ok());
        let event = exchange.event().await;

        assert!(matches!(event, Event::Reset), "{event:?}");
        assert_eq!(began.elapsed(), LANE_WAIT);
    }
}
