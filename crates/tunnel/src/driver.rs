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
use std::time::Duration;

use bytes::BytesMut;
use cmg_core::ids::GatewayId;
use cmg_core::refusal::Refusal;
use cmg_core::session::{Beat, Heartbeat};
use cmg_core::time::Tick;
use cmg_transport::ByteStream;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use crate::claims::Claims;
use crate::exchange::{Event, Exchange, Incoming, Signal};
use crate::frame::{self, Frame, Kind};
use crate::head::{RequestFrame, ResponseFrame};
use crate::lane::{self, Lane};
use crate::outbox::{Command, Link, Queues, Unread};
use crate::queue::WriteQueue;
use crate::slot::{self, Slot};
use crate::strays::Strays;

/// Unwritten bytes up to which frames of bodies are added.
const ENOUGH: usize = 128 * 1024;

/// Unwritten bytes at which a session is given up. Two thirds of it are small bodies and heads for every exchange that a session
/// may have; what is longer waits in its own queue, under its own window.
const UNREAD_LIMIT: usize = 256 * 1024 * 1024;

/// Received bytes worked through before others get their turn.
const BUDGET: usize = 256 * 1024;

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
    ConnectionPoint { incoming: mpsc::UnboundedSender<Incoming>, claims: Claims, gateway: GatewayId },
}

/// One session's connection and what goes on over it.
pub(crate) struct Driver {
    stream: ByteStream,
    link: Arc<Link>,
    queues: Queues,
    side: Side,
    slots: HashMap<u32, Slot>,
    strays: Strays,
    received: BytesMut,
    reader: frame::Reader,
    unwritten: WriteQueue,
    heartbeat: Heartbeat,
    started: Instant,
    timer: Pin<Box<Sleep>>,
    /// The queues were found filled; they are emptied once everything else has run.
    gathering: bool,
    gathers: bool,
    /// The queue for bulk has been found empty, and wakes the task for what comes.
    bulk_rests: bool,
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
            strays: Strays::default(),
            received,
            reader: frame::Reader::default(),
            unwritten: WriteQueue::default(),
            heartbeat: Heartbeat::new(Tick(0)),
            started: Instant::now(),
            timer: Box::pin(sleep(Duration::ZERO)),
            gathering: false,
            gathers: Handle::current().runtime_flavor() != RuntimeFlavor::CurrentThread,
            bulk_rests: false,
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
        let by_peer = matches!(ended, Ended::Closed) && !self.stopping;
        self.tell_the_end(by_peer);
        ended
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<std::convert::Infallible, Ended>> {
        self.poll_heartbeat(cx)?;
        let more = self.poll_read(cx)?;
        self.poll_queues(cx);
        self.poll_write(cx)?;
        if self.unwritten.len() > UNREAD_LIMIT {
            return Poll::Ready(Err(Ended::Misbehaved("it asks for more and more and reads nothing")));
        }
        if self.stopping && self.unwritten.is_empty() && self.queues.urgent.is_empty() && self.queues.bulk.is_empty() {
            return Poll::Ready(Err(Ended::Closed));
        }
        if more {
            cmg_transport::end_turn(cx);
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
                    self.unwritten.append(|out| frame::push(out, Kind::Ping, false, 0, &[]));
                    continue;
                }
                Beat::WaitUntil(until) => until,
            };
            self.strays.expired().for_each(|lane| lane::let_go(*lane, &self.link));
            self.timer.as_mut().reset(Instant::now() + until.since(now).max(Duration::from_millis(1)));
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
        while let Some(frame) = self.reader.take(&mut self.received).map_err(|_| Ended::Misbehaved("malformed frame"))? {
            self.take_frame(frame)?;
        }
        if self.received.is_empty() {
            self.received = BytesMut::new();
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: Frame) -> Result<(), Ended> {
        match (frame.kind, &mut self.side) {
            (Kind::Ping, _) => self.answer_ping(),
            (Kind::Pong, _) => {}
            (Kind::Drain, _) => self.link.draining.store(true, Ordering::Relaxed),
            (Kind::Data | Kind::Trailers | Kind::Moved | Kind::Reset | Kind::Credit, _) => return self.take_part(frame),
            (Kind::Response | Kind::Interim | Kind::Refuse, Side::Gateway { .. }) => return self.take_answer(frame),
            (Kind::Serves, Side::Gateway { serves }) => {
                let list = crate::greeting::decode_list(&frame.payload).ok_or(Ended::Misbehaved("malformed list of endpoints"))?;
                let _ = serves.send(list);
            }
            (Kind::Request, Side::ConnectionPoint { .. }) => return self.take_request(frame),
            (Kind::Credential, Side::ConnectionPoint { claims, .. }) => claims.take(frame.exchange, &frame.payload)?,
            (Kind::Forget, Side::ConnectionPoint { claims, .. }) => claims.forget(frame.exchange),
            _ => return Err(Ended::Misbehaved("a frame that this end does not take")),
        }
        Ok(())
    }

    /// Says that this end is alive, unless bytes that say so too are waiting for the peer to take them: pings must not fill memory.
    fn answer_ping(&mut self) {
        if self.unwritten.len() < ENOUGH {
            self.unwritten.append(|out| frame::push(out, Kind::Pong, false, 0, &[]));
        }
    }

    /// Passes on what both ends send. That of an exchange which is over is dropped: its end may have crossed it.
    fn take_part(&mut self, frame: Frame) -> Result<(), Ended> {
        let Some(slot) = self.slots.get_mut(&frame.exchange) else { return Ok(()) };
        match frame.kind {
            Kind::Data => slot.data(frame.payload, frame.ends, frame.continues),
            Kind::Trailers => slot.trailers(frame.payload),
            Kind::Moved => slot.moved(),
            Kind::Credit => {
                let bytes = frame.payload.first_chunk().ok_or(Ended::Misbehaved("malformed credit"))?;
                slot.credit(u32::from_be_bytes(*bytes))
            }
            _ => slot.reset(),
        }
    }

    fn take_answer(&mut self, frame: Frame) -> Result<(), Ended> {
        let Some(slot) = self.slots.get_mut(&frame.exchange) else { return Ok(()) };
        if frame.kind == Kind::Refuse {
            let code = frame.payload.first_chunk().ok_or(Ended::Misbehaved("malformed refusal"))?;
            return slot.refused(Refusal::from_code(u16::from_be_bytes(*code)).unwrap_or(Refusal::ConnectionPointMisbehaved));
        }
        let head = ResponseFrame::decode(frame.payload).map_err(|_| Ended::Misbehaved("malformed head"))?;
        match (frame.kind, head.is_interim()) {
            (Kind::Interim, true) => slot.interim(head),
            (Kind::Response, false) => slot.response(head, frame.ends),
            _ => Err(Ended::Misbehaved("a status that does not belong into this frame")),
        }
    }

    fn take_request(&mut self, frame: Frame) -> Result<(), Ended> {
        let request = RequestFrame::decode(frame.payload).map_err(|_| Ended::Misbehaved("malformed head"))?;
        if self.slots.contains_key(&frame.exchange) {
            return Err(Ended::Misbehaved("an exchange that is under way begins again"));
        }
        if self.slots.len() >= EXCHANGES_LIMIT {
            let refusal = Refusal::ConnectorOverloaded;
            if !frame.ends {
                self.ended(frame.exchange);
            }
            self.unwritten.append(|out| frame::push(out, Kind::Refuse, true, frame.exchange, &refusal.code().to_be_bytes()));
            return Ok(());
        }
        let Side::ConnectionPoint { incoming, claims, gateway } = &self.side else { return Ok(()) };
        let credential = match request.get().credential {
            0 => None,
            number => Some(claims.find(number)?),
        };
        let (signals, events) = slot::signals();
        let mut exchange = Exchange::new(frame.exchange, Arc::clone(&self.link), events, frame.ends, false);
        exchange.answers = true;
        let mut slot = Slot::new(signals, frame.ends);
        if let Some(lane) = self.strays.take(frame.exchange) {
            let _ = slot.lane(lane);
        }
        self.slots.insert(frame.exchange, slot);
        let _ = incoming.send(Incoming { gateway: gateway.clone(), exchange, request, credential });
        Ok(())
    }

    /// Empties the queues into the write buffer.
    fn poll_queues(&mut self, cx: &mut Context<'_>) {
        if self.gathers && !self.gathering && !(self.queues.urgent.is_empty() && self.queues.bulk.is_empty()) {
            self.gathering = true;
            cx.waker().wake_by_ref();
            return;
        }
        self.gathering = false;
        self.bulk_rests = false;
        self.poll_urgent(cx);
        while self.unwritten.len() < ENOUGH {
            let Poll::Ready(Some(frames)) = self.queues.bulk.poll_recv(cx) else {
                self.bulk_rests = true;
                return;
            };
            // What an exchange queued before this frame goes before it.
            self.poll_urgent(cx);
            self.unwritten.push(frames);
        }
    }

    fn poll_urgent(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(command)) = self.queues.urgent.poll_recv(cx) {
            match command {
                Command::Open { exchange, frames, events } => {
                    self.slots.insert(exchange, Slot::new(events, false));
                    self.unwritten.push(frames.into());
                }
                Command::Write(frames) => self.unwritten.push(frames),
                Command::Grant { exchange, bytes } => self.grant(exchange, bytes),
                Command::Close { exchange, reset, unread } => self.close(exchange, reset, unread),
                Command::Arrived { exchange, lane } => self.arrived(exchange, lane),
                Command::Stop => self.stopping = true,
            }
        }
    }

    /// An exchange is over here. `unread`: the lane that carries what it has not read.
    fn close(&mut self, exchange: u32, reset: bool, mut unread: Unread) {
        let Some(slot) = self.slots.remove(&exchange) else { return };
        if reset {
            self.unwritten.append(|out| frame::push(out, Kind::Reset, true, exchange, &[]));
        }
        match unread.lane() {
            Some(lane) => lane::let_go(*lane, &self.link),
            None if slot.may_get_a_lane() => self.ended(exchange),
            None => {}
        }
    }

    /// An exchange is over that a lane may still come for.
    fn ended(&mut self, exchange: u32) {
        if let Side::ConnectionPoint { .. } = self.side
            && let Some(lane) = self.strays.ended(exchange)
        {
            lane::let_go(*lane, &self.link);
        }
    }

    /// A lane has come in.
    fn arrived(&mut self, exchange: u32, lane: Box<Lane>) {
        let not_taken = match (self.slots.get_mut(&exchange), &self.side) {
            (Some(slot), _) => slot.lane(lane),
            (None, Side::ConnectionPoint { .. }) => self.strays.keep(exchange, lane),
            // Here exchanges begin, so this one is over.
            (None, Side::Gateway { .. }) => Some(lane),
        };
        if let Some(lane) = not_taken {
            lane::let_go(*lane, &self.link);
        }
    }

    fn grant(&mut self, exchange: u32, bytes: u32) {
        if let Some(slot) = self.slots.get_mut(&exchange) {
            slot.grant(bytes);
            self.unwritten.append(|out| frame::push(out, Kind::Credit, false, exchange, &bytes.to_be_bytes()));
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Ended> {
        loop {
            while !self.unwritten.is_empty() {
                let stream = &mut self.stream;
                let written = self.unwritten.write(|parts| match stream.poll_write_vectored(cx, parts) {
                    Poll::Ready(taken) => taken.map_err(Some),
                    Poll::Pending => Err(None),
                });
                match written {
                    Ok(()) => {}
                    Err(None) => return Ok(()),
                    Err(Some(error)) => return Err(Ended::Broken(error)),
                }
            }
            match self.stream.poll_flush(cx) {
                Poll::Ready(Err(error)) => return Err(Ended::Broken(error)),
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) if self.gathering || (self.bulk_rests && self.queues.bulk.is_empty()) => return Ok(()),
                Poll::Ready(Ok(())) => self.poll_queues(cx),
            }
            if self.unwritten.is_empty() {
                return Ok(());
            }
        }
    }

    /// Tells every exchange that the tunnel is gone, and whether its peer has closed it in an orderly way; those whose request never left
    /// are told so.
    fn tell_the_end(mut self, by_peer: bool) {
        self.link.end();
        self.queues.urgent.close();
        while let Ok(command) = self.queues.urgent.try_recv() {
            if let Command::Open { events, .. } = command {
                let _ = events.try_send(Signal::Event(Event::NotSent));
            }
        }
        for (_, slot) in self.slots.drain() {
            if by_peer { slot.closed() } else { slot.lost() }
        }
    }
}

/// Reads one frame of the opening.
pub(crate) async fn read_frame(stream: &mut ByteStream, received: &mut BytesMut) -> io::Result<Frame> {
    let mut reader = frame::Reader::default();
    std::future::poll_fn(|cx| {
        loop {
            if let Some(frame) = reader.take(received).map_err(io::Error::other)? {
                return Poll::Ready(Ok(frame));
            }
            if ready!(stream.poll_fill(cx, received))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::{Wake, Waker};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::queue::Frames;

    #[derive(Default)]
    struct Bell(AtomicBool);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn bulk_is_noticed_behind_bulk_that_was_enough() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let stream = TcpStream::connect(listener.local_addr()?).await?;
        let (link, queues) = Link::new(1, Arc::from("test"), Vec::new(), Arc::default());
        let side = Side::Gateway { serves: mpsc::unbounded_channel().0 };
        let mut driver = Driver::new(ByteStream::Plain(stream), BytesMut::new(), Arc::clone(&link), queues, side);
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let bulk = |length| Frames { start: Vec::new(), body: vec![0; length].into() };

        link.write_bulk(bulk(ENOUGH));
        assert!(driver.poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(driver.unwritten.is_empty(), "the socket has taken all of it");
        bell.0.store(false, Ordering::SeqCst);
        link.write_bulk(bulk(1));

        assert!(bell.0.load(Ordering::SeqCst));
        Ok(())
    }
}
