//! Carries the bodies of one exchange between a client and the tunnel, both ways at the same time.
//!
//! One `poll` looks at both directions; nothing is handed to another task. Small answers leave in one write with their head. A
//! client that reads slowly is not read for, and holds up nobody else.
use std::io::IoSlice;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use cmg_core::endpoint::Endpoint;
use cmg_core::refusal::Refusal;
use cmg_http1::{Decoder, Framing as BodyFraming, Piece, RequestHead};
use cmg_tunnel::{BodyLength, Event, Exchange, Gone, trailer_fields, trailers};
use tokio::time::{Sleep, sleep_until};

use crate::answer::{self, Framing, Setting};
use crate::connection::{After, Client};
use crate::deadlines::{Deadlines, Ring};
use crate::request::FirstBody;
use crate::standing::Standing;

/// Bytes of an answer gathered before they are written.
const GATHER: usize = 32 * 1024;

/// Bytes of a body taken from a client ahead of the tunnel.
const AHEAD: usize = 64 * 1024;

/// Bytes moved each way before other tasks get their turn: a bulk transfer must not stand in front of a small request.
const TURN: usize = 32 * 1024;

/// A request that got an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) after: After,
    pub(crate) status: u16,
    pub(crate) refusal: Option<Refusal>,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes of the answer's body.
    pub(crate) sent: u64,
}

/// A request that got no answer from inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    pub(crate) stage: Stage,
    pub(crate) received: u64,
}

/// How far a failed request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Refused, here or inside.
    Refused,
    /// Provably nobody has acted on it.
    NotSent,
    /// Sent; no byte of an answer came.
    Unanswered,
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, stage: Stage::Refused, received: 0 }
    }
}

/// How a relay ends before both directions do.
enum Break {
    /// No answer has begun.
    Failed(Refusal, Stage),
    /// The answer broke off, or the client is gone.
    Cut(Option<Refusal>),
}

/// Both bodies of one exchange.
pub(crate) struct Relay<'a> {
    client: &'a mut Client,
    exchange: Exchange,
    endpoint: &'a Endpoint,
    setting: Setting,
    asks_upgrade: bool,
    up: Up,
    down: Down,
    deadlines: Deadlines,
    standing: Standing<'a>,
}

/// From the client.
struct Up {
    decoder: Decoder,
    /// The client holds its body back until the server invites it.
    uninvited: bool,
    /// Bytes of the body at the front of the client's input, and bytes of framing behind them.
    ready: usize,
    framing: usize,
    trailers: Option<Vec<u8>>,
    ending: bool,
    done: bool,
    /// The client of an upgraded connection has closed it.
    closed: bool,
    received: u64,
}

/// To the client.
struct Down {
    out: Vec<u8>,
    written: usize,
    body: Bytes,
    /// Bytes of `body` when it came, to tell the sender once it is gone.
    body_length: usize,
    behind_body: &'static [u8],
    framing: Option<Framing>,
    /// Bytes of the body that are still to come, where the head has told the client how many there are.
    left: Option<u64>,
    status: u16,
    keep_alive: bool,
    ended: bool,
    done: bool,
    sent: u64,
    has_written: bool,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(
        client: &'a mut Client,
        mut exchange: Exchange,
        endpoint: &'a Endpoint,
        head: &RequestHead,
        setting: Setting,
        body: &FirstBody,
        standing: Standing<'a>,
    ) -> Self {
        let rest = match head.framing {
            BodyFraming::Length(length) => BodyFraming::Length(length - body.bytes.len() as u64),
            other => other,
        };
        if let BodyFraming::Length(rest) = rest {
            exchange.expect_to_send(Some(rest));
        }
        let up = Up {
            decoder: Decoder::new(rest),
            uninvited: head.expect_continue && body.bytes.is_empty(),
            ready: 0,
            framing: 0,
            trailers: None,
            ending: false,
            done: body.whole,
            closed: false,
            received: body.bytes.len() as u64,
        };
        let down = Down {
            out: Vec::new(),
            written: 0,
            body: Bytes::new(),
            body_length: 0,
            behind_body: b"",
            framing: None,
            left: None,
            status: 0,
            keep_alive: setting.keep_alive,
            ended: false,
            done: false,
            sent: 0,
            has_written: false,
        };
        let deadlines = Deadlines::new(endpoint);
        Self { client, exchange, endpoint, setting, asks_upgrade: head.upgrade, up, down, deadlines, standing }
    }

    /// Runs both directions to their ends.
    pub(crate) async fn run(mut self) -> Result<Done, Failed> {
        let mut timer = pin!(sleep_until(self.deadlines.next()));
        let outcome = std::future::poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
        let (status, received, sent) = (self.down.status, self.up.received, self.down.sent);
        match outcome {
            Ok(after) => Ok(Done { after, status, refusal: None, received, sent }),
            Err(Break::Cut(refusal)) => Ok(Done { after: After::Cut, status, refusal, received, sent }),
            Err(Break::Failed(refusal, stage)) => Err(Failed { refusal, stage, received }),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Result<After, Break>> {
        let up_again = self.poll_up(cx)?.is_ready();
        let down_again = self.poll_down(cx)?.is_ready();
        if self.down.done {
            // The answer may have come between the last bytes of the body and the look at its end; the connection is fit for more.
            if !self.up.done {
                let _ = self.poll_up(cx);
            }
            return Poll::Ready(Ok(self.after()));
        }
        self.poll_timer(cx, timer).map_err(|refusal| self.refuse(refusal))?;
        if up_again || down_again {
            cmg_transport::end_turn(cx);
        }
        Poll::Pending
    }

    /// Ends an exchange that is late, or whose client may not go on.
    fn poll_timer(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), Refusal> {
        while let Poll::Ready(ring) = self.deadlines.poll(cx, timer.as_mut()) {
            match ring {
                Ring::Look => self.standing.look(&self.client.guest())?,
                Ring::Late => return Err(if self.waits_for_body() { Refusal::BodyTimeout } else { Refusal::Deadline }),
            }
        }
        Ok(())
    }

    /// Whether it is the client's turn: what has come of its body has been passed on, and there is more to it.
    fn waits_for_body(&self) -> bool {
        let Up { uninvited, ready, ending, done, .. } = self.up;
        !uninvited && ready == 0 && !ending && !done
    }

    fn after(&self) -> After {
        let reusable = self.down.keep_alive && self.up.done;
        if reusable { After::Again } else { After::Close }
    }

    /// Moves the request's body. Ready: there is more to do at once.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let mut moved = 0;
        while moved < TURN {
            if self.up.done {
                return if self.up.closed { Poll::Pending } else { self.poll_gone(cx) };
            }
            if self.up.ready > 0 {
                let last = self.up.framing == 0 && self.up.decoder.is_finished() && self.down.framing != Some(Framing::Upgraded);
                let sent = self.exchange.poll_send(cx, &mut self.client.input, self.up.ready, last);
                let Poll::Ready(sent) = sent else { break };
                let sent = self.sent_up(sent)?;
                moved += sent;
                continue;
            }
            if self.up.ending {
                let finished = ready!(self.exchange.poll_finish(cx, &mut self.up.trailers));
                self.up.done = finished.is_ok();
                if finished.is_err() {
                    self.stop_sending();
                    return Poll::Pending;
                }
                continue;
            }
            if !self.decode()? {
                let _ = self.exchange.poll_flush(cx);
                ready!(self.poll_fill(cx))?;
            }
        }
        let _ = self.exchange.poll_flush(cx);
        if moved >= TURN { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn sent_up(&mut self, sent: Result<usize, Gone>) -> Result<usize, Break> {
        let Ok(sent) = sent else {
            self.stop_sending();
            return Ok(0);
        };
        self.deadlines.touch();
        self.up.ready -= sent;
        self.up.received += sent as u64;
        if self.up.ready == 0 {
            self.client.used(std::mem::take(&mut self.up.framing));
            self.up.ending |= self.up.decoder.is_finished() && self.down.framing != Some(Framing::Upgraded);
        }
        Ok(sent)
    }

    /// The tunnel takes no more of the body; what became of the exchange comes as an event. The connection is not used again, because
    /// the rest of the body is on it.
    fn stop_sending(&mut self) {
        self.up.done = true;
        self.down.keep_alive = false;
    }

    /// Finds the next part of the body in what has been received; false: more bytes are needed.
    fn decode(&mut self) -> Result<bool, Break> {
        if self.down.framing == Some(Framing::Upgraded) {
            self.up.ready = self.client.input.len();
            return Ok(self.up.ready > 0);
        }
        let decoded = self.up.decoder.decode(&self.client.input).map_err(|_| self.refuse(Refusal::BodyMalformed))?;
        match decoded.piece {
            Piece::Data(range) => {
                self.client.used(range.start);
                self.up.ready = range.len();
                self.up.framing = decoded.consumed - range.end;
                if self.up.received + range.len() as u64 > self.endpoint.body_limit {
                    return Err(self.refuse(Refusal::BodyTooLarge));
                }
            }
            Piece::NeedMore => {
                self.client.used(decoded.consumed);
                return Ok(false);
            }
            Piece::End => {
                self.client.used(decoded.consumed);
                self.up.trailers = Some(Vec::new());
                self.up.ending = true;
            }
            Piece::Trailers(fields) => {
                let input = &self.client.input;
                self.up.trailers =
                    Some(trailers(|out| fields.iter().for_each(|field| out.push(field.name.of(input), field.value.of(input)))));
                self.client.used(decoded.consumed);
                self.up.ending = true;
            }
        }
        Ok(true)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        match ready!(self.client.stream.poll_fill(cx, &mut self.client.input)) {
            Ok(1..) => {
                self.deadlines.touch();
                self.up.uninvited = false;
                Poll::Ready(Ok(()))
            }
            Ok(0) if self.down.framing == Some(Framing::Upgraded) => {
                self.up.trailers = Some(Vec::new());
                (self.up.ending, self.up.closed) = (true, true);
                self.deadlines.resume(self.endpoint);
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Err(Break::Cut(None))),
        }
    }

    /// Notices a client that goes away while it waits for its answer. What it sends ahead is kept, up to a bound.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        while self.client.input.len() < AHEAD {
            if !matches!(ready!(self.client.stream.poll_fill(cx, &mut self.client.input)), Ok(1..)) {
                return Poll::Ready(Err(Break::Cut(None)));
            }
        }
        Poll::Pending
    }

    /// Moves the answer. Ready: there is more to do at once.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        if self.up.closed {
            return self.poll_discard(cx).map(Ok);
        }
        let mut moved = 0;
        while moved < TURN {
            ready!(self.poll_gather(cx))?;
            let before = self.down.sent;
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => moved += (self.down.sent - before) as usize,
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Break::Cut(None))),
                Poll::Pending => return Poll::Pending,
            }
            if self.down.ended {
                self.down.done = true;
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the other end of an upgraded connection that its client has closed: that end has what the client sent, and what it sends
    /// is for nobody (RFC 9110, 9.3.6).
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Event::Data(bytes) = ready!(self.exchange.poll_event(cx)) {
            self.exchange.consumed(bytes.len());
        }
        self.down.done = true;
        Poll::Ready(())
    }

    /// Takes events in until there is enough to write. Pending: there is nothing to write either.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        while !self.down.ended && self.down.body.is_empty() && self.down.out.len() < GATHER {
            match self.exchange.poll_event(cx) {
                Poll::Ready(event) => self.take(event)?,
                Poll::Pending if self.down.out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, event: Event) -> Result<(), Break> {
        self.deadlines.touch();
        match event {
            Event::Interim(head) => {
                self.up.uninvited &= head.get().status != 100;
                answer::push_interim(&mut self.down.out, &head, self.setting.version);
            }
            Event::Response(_) if self.down.framing.is_some() => {
                return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused));
            }
            Event::Response(head) => {
                if head.get().upgrade && !self.asks_upgrade {
                    return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused));
                }
                let (framing, keep_alive) = answer::push_forwarded(&mut self.down.out, &head, self.setting);
                self.down.status = head.get().status;
                self.down.keep_alive &= keep_alive;
                self.down.framing = Some(framing);
                self.down.left = match (framing, head.get().body) {
                    (Framing::Length, BodyLength::Exact(length)) => Some(length),
                    (Framing::Length, _) => Some(0),
                    _ => None,
                };
                if framing == Framing::Upgraded {
                    self.exchange.stay();
                    self.deadlines.end();
                    self.up.done = false;
                }
            }
            Event::Data(bytes) => self.take_data(bytes)?,
            Event::End => self.end(None)?,
            Event::Trailers(payload) => self.end(Some(payload))?,
            Event::Refused(refusal) => {
                let stage = if refusal == Refusal::ConnectorDraining { Stage::NotSent } else { Stage::Refused };
                return Err(self.broken(refusal, stage));
            }
            Event::Reset | Event::Lost => return Err(self.broken(Refusal::ConnectionPointLost, Stage::Unanswered)),
            Event::NotSent => return Err(self.broken(Refusal::ConnectionPointLost, Stage::NotSent)),
        }
        Ok(())
    }

    fn take_data(&mut self, bytes: Bytes) -> Result<(), Break> {
        let small = bytes.len() < GATHER / 2;
        if let Some(left) = &mut self.down.left {
            let Some(rest) = left.checked_sub(bytes.len() as u64) else {
                return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused));
            };
            *left = rest;
        }
        match self.down.framing {
            None | Some(Framing::None) => return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused)),
            Some(Framing::Chunked) => {
                cmg_http1::push_chunk_head(bytes.len(), &mut self.down.out);
                self.down.behind_body = cmg_http1::CHUNK_END;
            }
            Some(Framing::Length | Framing::Close | Framing::Upgraded) => self.down.behind_body = b"",
        }
        if small {
            self.down.out.extend_from_slice(&bytes);
            self.down.out.extend_from_slice(self.down.behind_body);
            self.down.sent += bytes.len() as u64;
            self.exchange.consumed(bytes.len());
        } else {
            self.down.body_length = bytes.len();
            self.down.body = bytes;
        }
        Ok(())
    }

    fn end(&mut self, trailer_payload: Option<Bytes>) -> Result<(), Break> {
        match self.down.framing {
            None => return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused)),
            // Shorter than the client was told: ended as if it were whole, the next answer would be taken for the rest of this one.
            Some(Framing::Length) if self.down.left != Some(0) => {
                return Err(self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused));
            }
            Some(Framing::Chunked) => {
                self.down.out.extend_from_slice(cmg_http1::LAST_CHUNK_HEAD);
                if let Some(payload) = trailer_payload {
                    let fields = trailer_fields(&payload).ok_or(Break::Cut(Some(Refusal::ConnectionPointMisbehaved)))?;
                    fields.for_each(|(name, value)| cmg_http1::push_field(name, value, &mut self.down.out));
                }
                self.down.out.extend_from_slice(cmg_http1::CRLF);
            }
            Some(_) => {}
        }
        self.down.ended = true;
        Ok(())
    }

    /// Writes what was gathered, then the part of the body behind it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        loop {
            while !self.down.out.is_empty() || !self.down.body.is_empty() {
                let parts = [IoSlice::new(&self.down.out[self.down.written..]), IoSlice::new(&self.down.body)];
                let taken = ready!(self.client.stream.poll_write_vectored(cx, &parts))?;
                self.down.took(taken);
                self.deadlines.touch();
            }
            if self.down.body_length == 0 {
                return self.client.stream.poll_flush(cx);
            }
            self.exchange.consumed(std::mem::take(&mut self.down.body_length));
            self.down.out.extend_from_slice(self.down.behind_body);
        }
    }

    /// The exchange ends without a whole answer. 1xx heads are none, so that an answer may still follow them, but no other try.
    fn broken(&mut self, refusal: Refusal, stage: Stage) -> Break {
        if self.down.framing.is_none() && self.down.written == 0 {
            return Break::Failed(refusal, if self.down.has_written { Stage::Refused } else { stage });
        }
        self.flush_the_part();
        Break::Cut(Some(refusal))
    }

    /// The gateway itself ends the exchange.
    fn refuse(&mut self, refusal: Refusal) -> Break {
        self.broken(refusal, Stage::Refused)
    }

    /// Writes what of the answer has come, so that the client sees that it was cut, and not a connection without any answer.
    fn flush_the_part(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let _ = self.poll_write(&mut cx);
    }
}

impl Down {
    /// The socket has taken so many bytes of what was gathered and of the part of the body behind it.
    fn took(&mut self, taken: usize) {
        self.has_written = true;
        let gathered = taken.min(self.out.len() - self.written);
        self.written += gathered;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        self.body.advance(taken - gathered);
        self.sent += (taken - gathered) as u64;
    }
}
