//! A connection that carries one body at a time, in one direction.
//!
//! TCP is its flow control: a reader that is slow makes its sender slow and nobody else. The sender says which exchange follows; a
//! body of known length then goes as it is, any other in DATA frames. After a whole body the connection is used again; a body
//! that breaks off ends it.
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cmg_transport::{ByteStream, is_quiet, set_lane_options};
use tokio::time::{Instant, timeout};

use crate::frame::{self, Kind};
use crate::outbox::{Command, Link};

/// Bytes of a body that are read for nobody: more than the sockets at both ends and a long line between them hold, which is what a
/// sender may send before it hears that its exchange is over.
const UNWANTED: usize = 64 * 1024 * 1024;

/// Silence in the middle of such a body after which its sender is taken to have left it.
const SILENCE: Duration = Duration::from_secs(10);

/// A lane as its sender or its receiver holds it.
pub(crate) struct Lane {
    stream: ByteStream,
    made: Instant,
    /// Received and not yet taken.
    received: BytesMut,
    reader: frame::Reader,
    /// What follows, for the receiver.
    rest: Rest,
    /// Frame header or carry frame that has to leave before the body, for the sender.
    head: Vec<u8>,
    _counted: Counted,
}

/// Counts a lane among those of its session, idle or busy, for as long as it lives.
struct Counted {
    link: Weak<Link>,
    count: fn(&Link) -> &AtomicUsize,
}

impl Counted {
    fn new(link: &Arc<Link>, count: fn(&Link) -> &AtomicUsize) -> Self {
        count(link).fetch_add(1, Ordering::Relaxed);
        Self { link: Arc::downgrade(link), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(link) = self.link.upgrade() {
            (self.count)(&link).fetch_sub(1, Ordering::Relaxed);
            link.lanes_changed.notify_one();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// So many bytes as they are.
    Exact(u64),
    /// DATA frames.
    Framed,
}

/// What comes on a lane.
pub(crate) enum Arrival {
    Data(Bytes),
    End,
    Trailers(Bytes),
}

impl Lane {
    /// A lane that this end sends on.
    pub(crate) fn outward(stream: ByteStream, link: &Arc<Link>) -> Self {
        Self::new(stream, Counted::new(link, |link| &link.lanes_out))
    }

    /// A lane that the peer sends on, and what it has sent already; it waits for a body at once.
    pub(crate) fn wait_inward(stream: ByteStream, received: BytesMut, link: &Arc<Link>) {
        let lane = Self::new(stream, Counted::new(link, |link| &link.lanes_in));
        wait(Self { received, ..lane }, link);
    }

    fn new(stream: ByteStream, counted: Counted) -> Self {
        // Without it the lane would work as well, but for readers that pause.
        let _ = set_lane_options(stream.tcp());
        Self {
            stream,
            made: Instant::now(),
            received: BytesMut::new(),
            reader: frame::Reader::default(),
            rest: Rest::Framed,
            head: Vec::new(),
            _counted: counted,
        }
    }

    /// How old the connection is.
    pub(crate) fn age(&self) -> Duration {
        self.made.elapsed()
    }

    /// Whether the peer has neither closed the connection nor sent anything, which only a receiver of lanes would do.
    pub(crate) fn is_usable(&self) -> bool {
        is_quiet(self.stream.tcp())
    }

    /// Begins a body of this exchange. `length`: what remains of it, where known.
    pub(crate) fn begin(&mut self, exchange: u32, length: Option<u64>) {
        self.rest = length.map_or(Rest::Framed, Rest::Exact);
        let length = length.unwrap_or(u64::MAX).to_be_bytes();
        frame::push(&mut self.head, Kind::Carry, false, exchange, &length);
    }

    /// Sends a part of `data`; gives how much was taken.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.rest {
            Rest::Exact(rest) => {
                ready!(poll_write_all(&mut self.stream, cx, &mut self.head))?;
                let most = usize::try_from(*rest).unwrap_or(usize::MAX).min(data.len());
                let taken = ready!(self.stream.poll_write(cx, &data[..most]))?;
                *rest -= taken as u64;
                Poll::Ready(Ok(taken))
            }
            Rest::Framed => {
                ready!(poll_write_all(&mut self.stream, cx, &mut self.head))?;
                let taken = data.len().min(frame::DATA_LIMIT);
                frame::push(&mut self.head, Kind::Data, false, 0, &data[..taken]);
                let _ = poll_write_all(&mut self.stream, cx, &mut self.head)?;
                Poll::Ready(Ok(taken))
            }
        }
    }

    /// Ends the body, with trailers where given, and hands everything to the socket.
    pub(crate) fn poll_finish(&mut self, cx: &mut Context<'_>, trailers: &mut Option<Vec<u8>>) -> Poll<io::Result<()>> {
        if let Some(trailers) = trailers.take() {
            match self.rest {
                Rest::Framed if trailers.is_empty() => frame::push(&mut self.head, Kind::Data, true, 0, &[]),
                Rest::Framed => frame::push(&mut self.head, Kind::Trailers, true, 0, &trailers),
                Rest::Exact(0) => {}
                Rest::Exact(_) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        ready!(poll_write_all(&mut self.stream, cx, &mut self.head))?;
        self.stream.poll_flush(cx)
    }

    /// Hands what was written to the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    /// Receives the next part of the body.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        loop {
            if let Some(arrival) = self.take_arrival()? {
                return Poll::Ready(Ok(arrival));
            }
            if ready!(self.stream.poll_fill(cx, &mut self.received))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn take_arrival(&mut self) -> io::Result<Option<Arrival>> {
        match &mut self.rest {
            Rest::Exact(0) => Ok(Some(Arrival::End)),
            Rest::Exact(_) if self.received.is_empty() => Ok(None),
            Rest::Exact(rest) => {
                let taken = usize::try_from(*rest).unwrap_or(usize::MAX).min(self.received.len());
                *rest -= taken as u64;
                Ok(Some(Arrival::Data(self.received.split_to(taken).freeze())))
            }
            Rest::Framed => self.take_framed(),
        }
    }

    fn take_framed(&mut self) -> io::Result<Option<Arrival>> {
        while let Some(frame) = self.reader.take(&mut self.received).map_err(io::Error::other)? {
            return match (frame.kind, frame.ends, frame.payload.is_empty()) {
                // Passed on as a chunk, an empty part would end the body.
                (Kind::Data, false, true) => continue,
                (Kind::Data, true, true) => Ok(Some(Arrival::End)),
                (Kind::Data, false, false) => Ok(Some(Arrival::Data(frame.payload))),
                (Kind::Trailers, true, _) => Ok(Some(Arrival::Trailers(frame.payload))),
                _ => Err(io::Error::other("a frame that does not belong on a lane")),
            };
        }
        Ok(None)
    }

    /// Reads the rest of the body for nobody.
    async fn discard(&mut self) -> io::Result<()> {
        let mut dropped = 0;
        while dropped <= UNWANTED {
            let arrival = timeout(SILENCE, std::future::poll_fn(|cx| self.poll_receive(cx))).await?;
            match arrival? {
                Arrival::Data(bytes) => dropped += bytes.len(),
                Arrival::End | Arrival::Trailers(_) => return Ok(()),
            }
        }
        Err(io::Error::other("its sender goes on and on"))
    }

    /// Waits for the next body: its exchange.
    async fn next_carry(&mut self) -> io::Result<u32> {
        loop {
            if let Some(frame) = self.reader.take(&mut self.received).map_err(io::Error::other)? {
                let length = frame.payload.first_chunk::<8>().map(|length| u64::from_be_bytes(*length));
                let (Kind::Carry, Some(length)) = (frame.kind, length) else {
                    return Err(io::Error::other("a lane begins with what it carries"));
                };
                self.rest = if length == u64::MAX { Rest::Framed } else { Rest::Exact(length) };
                return Ok(frame.exchange);
            }
            if self.stream.fill(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn poll_write_all(stream: &mut ByteStream, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<io::Result<()>> {
    while !bytes.is_empty() {
        let written = ready!(stream.poll_write(cx, bytes))?;
        bytes.drain(..written);
    }
    Poll::Ready(Ok(()))
}

/// Waits on a lane that the peer sends on, until a body begins; then gives the lane to its exchange. Ends with the session.
pub(crate) fn wait(lane: Lane, link: &Arc<Link>) {
    attend(link, next_body(lane, waiting(link), Arc::downgrade(link)));
}

/// Lets go of a lane in the middle of a body that nobody here wants, or before it.
///
/// Its sender may have sent all of that body and begun the next on the same connection. Closed now, the next one would be lost, which
/// nobody has given up. So the rest is read and dropped, and the lane waits for what follows. A sender that is still in the middle
/// hears of the end of the exchange and closes the lane itself.
pub(crate) fn let_go(mut lane: Lane, link: &Arc<Link>) {
    let session = Arc::downgrade(link);
    attend(link, async move {
        if let (Ok(()), Some(link)) = (lane.discard().await, session.upgrade()) {
            wait(lane, &link);
        }
    });
}

fn waiting(link: &Arc<Link>) -> Counted {
    Counted::new(link, |link| &link.waiting_lanes)
}

async fn next_body(mut lane: Lane, waiting: Counted, link: Weak<Link>) {
    let exchange = lane.next_carry().await;
    drop(waiting);
    if let (Ok(exchange), Some(link)) = (exchange, link.upgrade()) {
        let _ = link.command(Command::Arrived { exchange, lane: Box::new(lane) });
    }
}

/// Does `work` in a task of its own that ends with the session.
fn attend(link: &Arc<Link>, work: impl Future<Output = ()> + Send + 'static) {
    let (over, link) = (Arc::clone(&link.over), Arc::downgrade(link));
    tokio::spawn(async move {
        // Listened for before it is asked whether the bell has rung already.
        let rings = over.notified();
        if link.upgrade().is_none_or(|link| link.ended.load(Ordering::SeqCst)) {
            return;
        }
        tokio::select! {
            () = work => {}
            () = rings => {}
        }
    });
}
