//! The owner of a session's connection: one task that reads frames, tells exchanges, and writes what they and it have to say.
//!
//! What is ready at the same time leaves in one write: the task looks at its queues once everything else that was ready has run, and
//! waits for nothing. Frames of bodies leave behind everything urgent and only while the socket takes them, so bulk that has found
//! no lane does not stand in front of heads either.
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cmg_core::refusal::Refusal;
use cmg_core::session::{Beat, Heartbeat};
use cmg_core::time::Tick;
use cmg_transport::ByteStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::exchange::{Event, Exchange, FRAME_COST, Incoming, Signal};
use crate::frame::{self, Frame, Kind};
use crate::head::{RequestFrame, ResponseFrame};
use crate::outbox::{ClaimedCredential, Command, Link, Queues, WINDOW};

/// Unwritten bytes up to which frames of bodies are added.
const ENOUGH: usize = 64 * 1024;

/// Received bytes worked through before others get their turn.
const BUDGET: usize = 256 * 1024;

/// Credentials a gateway may have told one session.
const CREDENTIALS_LIMIT: usize = 65_536;

/// Exchanges a gateway may have under way on one session.
pub(crate) const EXCHANGES_LIMIT: usize = 10_000;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The peer closed it, or this end did.
    #[error("closed")]
    Closed,
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The peer was silent for too long.
    #[error("the peer was silent for too long")]
    Silent,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Misbehaved(&'static str),
}

/// What only one of the two ends does.
pub(crate) enum Side {
    /// Opens exchanges; is told what the connection point serves.
    Gateway { serves: mpsc::UnboundedSender<Vec<String>> },
    /// Takes requests in.
    ConnectionPoint { incoming: mpsc::UnboundedSender<Incoming>, claims: HashMap<u32, Arc<crate::exchange::Claim>> },
}

struct Slot {
    signals: mpsc::UnboundedSender<Signal>,
    allowance: u32,
}

/// One session's connection and what goes on over it.
pub(crate) struct Driver {
    stream: ByteStream,
    link: Arc<Link>,
    queues: Queues,
    side: Side,
    slots: HashMap<u32, Slot>,
    received: BytesMut,
    unwritten: Vec<u8>,
    written: usize,
    heartbeat: Heartbeat,
    started: Instant,
    timer: Pin<Box<Sleep>>,
    /// The queues were found filled; they are emptied once everything else has run.
    gathering: bool,
    gathers: bool,
    stopping: bool,
}

impl Driver {
    pub(crate) fn new(stream: ByteStream, received: BytesMut, link: Arc<Link>, queues: Queues, side: Side) -> Self {
        Self {
            stream,
            link,
            queues,
            side,
            slots: HashMap::new(),
            received,
            unwritten: Vec::new(),
            written: 0,
            heartbeat: Heartbeat::new(Tick(0)),
            started: Instant::now(),
            timer: Box::pin(sleep(Duration::ZERO)),
            gathering: false,
            gathers: Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread,
            stopping: false,
        }
    }

    /// Runs the session to its end, then tells every exchange.
    pub(crate) async fn run(mut self) -> Ended {
        let ended = match std::future::poll_fn(|cx| self.poll(cx)).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        if matches!(ended, Ended::Closed) {
            let _ = tokio::time::timeout(Duration::from_secs(1), self.stream.close()).await;
        }
        self.tell_the_end();
        ended
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<std::convert::Infallible, Ended>> {
        self.poll_heartbeat(cx)?;
        let more = self.poll_read(cx)?;
        self.poll_queues(cx);
        self.poll_write(cx)?;
        if self.stopping && self.unwritten.is_empty() {
            return Poll::Ready(Err(Ended::Closed));
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn now(&self) -> Tick {
        Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = self.now();
            let until = match self.heartbeat.poll(now) {
                Beat::Dead => return Err(Ended::Silent),
                Beat::Ping => {
                    frame::push(&mut self.unwritten, Kind::Ping, false, 0, &[]);
                    continue;
                }
                Beat::WaitUntil(until) => until,
            };
            self.timer.as_mut().reset(tokio::time::Instant::now() + until.since(now).max(Duration::from_millis(1)));
        }
        Ok(())
    }

    /// Reads and works through frames; true: there may be more at once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        let mut worked = 0;
        while worked < BUDGET {
            self.take_frames()?;
            match self.stream.poll_fill(cx, &mut self.received) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(0)) => return Err(Ended::Closed),
                Poll::Ready(Ok(read)) => worked += read,
                Poll::Ready(Err(error)) => return Err(Ended::Broken(error)),
            }
            let now = self.now();
            self.heartbeat.heard(now);
        }
        self.take_frames()?;
        Ok(true)
    }

    fn take_frames(&mut self) -> Result<(), Ended> {
        while let Some(frame) = frame::take(&mut self.received).map_err(|_| Ended::Misbehaved("malformed frame"))? {
            self.take_frame(frame)?;
        }
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: Frame) -> Result<(), Ended> {
        match (frame.kind, &mut self.side) {
            (Kind::Ping, _) => frame::push(&mut self.unwritten, Kind::Pong, false, 0, &[]),
            (Kind::Pong, _) => {}
            (Kind::Drain, _) => self.link.draining.store(true, Ordering::Relaxed),
            (Kind::Data, _) => return self.take_data(frame),
            (Kind::Trailers, _) => self.tell(frame.exchange, Signal::Event(Event::Trailers(frame.payload))),
            (Kind::Moved, _) => self.tell(frame.exchange, Signal::Moved),
            (Kind::Reset, _) => self.tell(frame.exchange, Signal::Event(Event::Reset)),
            (Kind::Credit, _) => {
                let bytes = frame.payload.first_chunk().ok_or(Ended::Misbehaved("malformed credit"))?;
                self.tell(frame.exchange, Signal::Credit(u32::from_be_bytes(*bytes)));
            }
            (Kind::Response | Kind::Interim | Kind::Refuse, Side::Gateway { .. }) => return self.take_answer(frame),
            (Kind::Serves, Side::Gateway { serves }) => {
                let list = crate::greeting::decode_list(&frame.payload).ok_or(Ended::Misbehaved("malformed list of endpoints"))?;
                let _ = serves.send(list);
            }
            (Kind::Request, Side::ConnectionPoint { .. }) => return self.take_request(frame),
            (Kind::Credential, Side::ConnectionPoint { claims, .. }) => {
                let credential = ClaimedCredential::decode(&frame.payload).ok_or(Ended::Misbehaved("malformed credential"))?;
                if claims.len() >= CREDENTIALS_LIMIT {
                    return Err(Ended::Misbehaved("too many credentials"));
                }
                claims.insert(frame.exchange, Arc::new(crate::exchange::Claim { credential, memo: std::sync::Mutex::default() }));
            }
            (Kind::Forget, Side::ConnectionPoint { claims, .. }) => {
                claims.remove(&frame.exchange);
            }
            _ => return Err(Ended::Misbehaved("a frame that this end does not take")),
        }
        Ok(())
    }

    /// Passes a part of a body on. Data of an exchange that is over is dropped: its end may have crossed it.
    fn take_data(&mut self, frame: Frame) -> Result<(), Ended> {
        let Some(slot) = self.slots.get_mut(&frame.exchange) else { return Ok(()) };
        let length = frame.payload.len() as u32;
        slot.allowance =
            slot.allowance.checked_sub(length).ok_or(Ended::Misbehaved("more data than it was granted"))?.saturating_sub(FRAME_COST);
        if length > 0 {
            let _ = slot.signals.send(Signal::Event(Event::Data(frame.payload)));
        }
        if frame.ends {
            let _ = slot.signals.send(Signal::Event(Event::End));
        }
        Ok(())
    }

    fn take_answer(&mut self, frame: Frame) -> Result<(), Ended> {
        let event = match frame.kind {
            Kind::Refuse => {
                let code = frame.payload.first_chunk().ok_or(Ended::Misbehaved("malformed refusal"))?;
                Event::Refused(Refusal::from_code(u16::from_be_bytes(*code)).unwrap_or(Refusal::ConnectionPointMisbehaved))
            }
            Kind::Interim => Event::Interim(ResponseFrame::decode(frame.payload).map_err(|_| Ended::Misbehaved("malformed head"))?),
            _ => Event::Response(ResponseFrame::decode(frame.payload).map_err(|_| Ended::Misbehaved("malformed head"))?),
        };
        let ends = frame.ends && matches!(event, Event::Response(_));
        self.tell(frame.exchange, Signal::Event(event));
        if ends {
            self.tell(frame.exchange, Signal::Event(Event::End));
        }
        Ok(())
    }

    fn take_request(&mut self, frame: Frame) -> Result<(), Ended> {
        let request = RequestFrame::decode(frame.payload).map_err(|_| Ended::Misbehaved("malformed head"))?;
        if self.slots.contains_key(&frame.exchange) {
            return Err(Ended::Misbehaved("an exchange that is under way begins again"));
        }
        if self.slots.len() >= EXCHANGES_LIMIT || self.link.draining.load(Ordering::Relaxed) {
            let refusal = if self.slots.len() >= EXCHANGES_LIMIT { Refusal::ConnectorOverloaded } else { Refusal::ConnectorDraining };
            frame::push(&mut self.unwritten, Kind::Refuse, true, frame.exchange, &refusal.code().to_be_bytes());
            return Ok(());
        }
        let Side::ConnectionPoint { incoming, claims } = &self.side else { return Ok(()) };
        let credential = match request.get().credential {
            0 => None,
            number => Some(claims.get(&number).cloned().ok_or(Ended::Misbehaved("a credential that was not told"))?),
        };
        let (signals, events) = mpsc::unbounded_channel();
        let exchange = Exchange::new(frame.exchange, Arc::clone(&self.link), events, frame.ends, false);
        self.slots.insert(frame.exchange, Slot { signals, allowance: WINDOW });
        let _ = incoming.send(Incoming { exchange, request, credential });
        Ok(())
    }

    fn tell(&mut self, exchange: u32, signal: Signal) {
        if let Some(slot) = self.slots.get(&exchange) {
            let _ = slot.signals.send(signal);
        }
    }

    /// Empties the queues into the write buffer.
    fn poll_queues(&mut self, cx: &mut Context<'_>) {
        if self.gathers && !self.gathering && !(self.queues.urgent.is_empty() && self.queues.bulk.is_empty()) {
            self.gathering = true;
            cx.waker().wake_by_ref();
            return;
        }
        self.gathering = false;
        self.poll_urgent(cx);
        while self.unwritten.len() - self.written < ENOUGH {
            let Poll::Ready(Some(frames)) = self.queues.bulk.poll_recv(cx) else { return };
            // What an exchange queued before this frame goes before it.
            self.poll_urgent(cx);
            self.unwritten.extend_from_slice(&frames);
        }
    }

    fn poll_urgent(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.queues.urgent.poll_recv(cx) {
            match command {
                Command::Open { exchange, frames, events } => {
                    self.slots.insert(exchange, Slot { signals: events, allowance: WINDOW });
                    self.unwritten.extend_from_slice(&frames);
                }
                Command::Write(frames) => self.unwritten.extend_from_slice(&frames),
                Command::Grant { exchange, bytes } => self.grant(exchange, bytes),
                Command::Close { exchange, reset } => {
                    let known = self.slots.remove(&exchange).is_some();
                    if known && reset {
                        frame::push(&mut self.unwritten, Kind::Reset, true, exchange, &[]);
                    }
                }
                Command::Arrived { exchange, lane } => self.tell(exchange, Signal::Lane(lane)),
                Command::Stop => self.stopping = true,
            }
        }
    }

    fn grant(&mut self, exchange: u32, bytes: u32) {
        if let Some(slot) = self.slots.get_mut(&exchange) {
            slot.allowance = slot.allowance.saturating_add(bytes);
            frame::push(&mut self.unwritten, Kind::Credit, false, exchange, &bytes.to_be_bytes());
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        loop {
            while self.written < self.unwritten.len() {
                match self.stream.poll_write(cx, &self.unwritten[self.written..]) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(taken)) => self.written += taken,
                    Poll::Ready(Err(error)) => return Err(Ended::Broken(error)),
                }
            }
            self.unwritten.clear();
            self.unwritten.shrink_to(ENOUGH);
            self.written = 0;
            match self.stream.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Err(Ended::Broken(error)),
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) if self.queues.bulk.is_empty() || self.gathering => return Ok(()),
                Poll::Ready(Ok(())) => self.poll_queues(cx),
            }
            if self.unwritten.is_empty() {
                return Ok(());
            }
        }
    }

    /// Tells every exchange that the tunnel is gone; those whose request never left are told so.
    fn tell_the_end(mut self) {
        self.link.end();
        self.queues.urgent.close();
        while let Ok(command) = self.queues.urgent.try_recv() {
            if let Command::Open { events, .. } = command {
                let _ = events.send(Signal::Event(Event::NotSent));
            }
        }
        for (_, slot) in self.slots.drain() {
            let _ = slot.signals.send(Signal::Event(Event::Lost));
        }
    }
}

/// Reads one frame of the opening.
pub(crate) async fn read_frame(stream: &mut ByteStream, received: &mut BytesMut) -> io::Result<Frame> {
    std::future::poll_fn(|cx| {
        loop {
            if let Some(frame) = frame::take(received).map_err(io::Error::other)? {
                return Poll::Ready(Ok(frame));
            }
            if ready!(stream.poll_fill(cx, received))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    })
    .await
}
