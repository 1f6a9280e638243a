//! One HTTP/2 connection: takes streams in, within bounds, admits them, and knows when it is over.
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use cmg_core::rate::{Bucket, Rate};
use cmg_core::time::Tick;
use cmg_process::shutdown::InFlight;
use cmg_transport::{ByteStream, TlsStream};
use h2::server::{Builder, Connection as H2, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::lent::Lent;
use super::stream::{Again, Desk, Ended, Stream};
use crate::connection::{LINGER, linger};
use crate::events::ConnectionReason;
use crate::state::Gateway;

/// Streams at once: as many as browsers and curl expect.
const STREAMS: u32 = 100;

/// Bytes of a request's body that a client may send ahead of the tunnel.
const STREAM_WINDOW: u32 = 64 * 1024;

/// The same for the connection: room for every stream's window, so that uploads which stall leave room for the others.
const CONNECTION_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// Bytes of an answer's body held for a client that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// Streams that this end may have to reset because the client broke the protocol, before the connection ends.
const OWN_RESETS: usize = 64;

/// Streams that a client may reset before they are taken in.
const EARLY_RESETS: usize = 20;

/// Streams that a client may break off after they were taken in: pages left in a hurry pass, a flood does not.
const BROKEN_OFF: Rate = Rate { per_second: 5, burst: 200 };

/// One connection.
struct Connection {
    h2: H2<Lent, Bytes>,
    /// The connection, when `h2` has no more use for it.
    back: oneshot::Receiver<TlsStream>,
    desk: Desk,
    streams: JoinSet<Ended>,
    again: mpsc::UnboundedReceiver<Again>,
    again_at: mpsc::UnboundedSender<Again>,
    broken_off: Bucket,
    started: Instant,
    /// Since when nothing has been under way, or goodbye was said.
    idle_since: Instant,
    leaving: bool,
    /// Whether a request was ever let in.
    is_known: bool,
    /// Kept while a drain must wait for what has not been written.
    unwritten: Option<InFlight>,
}

/// Serves a connection to its end.
pub(crate) async fn serve(tls: TlsStream, address: SocketAddr, port: u16, server_name: Option<String>, gateway: Arc<Gateway>) {
    let limits = gateway.state.load().limits;
    let desk = Desk::new(&tls, address, port, server_name, Arc::clone(&gateway));
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(limits.head.bytes).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(EARLY_RESETS)
        .max_local_error_reset_streams(Some(OWN_RESETS));
    let (lent, back) = Lent::new(tls);
    let Ok(Ok(h2)) = timeout(limits.head_time, builder.handshake(lent)).await else { return };
    let (again_at, again) = mpsc::unbounded_channel();
    let now = Instant::now();
    let connection = Connection {
        h2,
        back,
        desk,
        streams: JoinSet::new(),
        again,
        again_at,
        broken_off: Bucket::full(BROKEN_OFF, Tick(0)),
        started: now,
        idle_since: now,
        leaving: false,
        is_known: false,
        unwritten: None,
    };
    Box::pin(connection.run(&gateway)).await;
}

impl Connection {
    async fn run(mut self, gateway: &Gateway) {
        let mut draining = pin!(gateway.drain.draining());
        loop {
            let has_room = self.streams.len() < STREAMS as usize;
            let patience = self.patience(gateway);
            tokio::select! {
                biased;
                asked = std::future::poll_fn(|cx| poll_next(&mut self.h2, has_room, cx)) => match asked {
                    Some((request, respond)) => self.take(request, respond),
                    None => break,
                },
                Some(ended) = self.streams.join_next() => self.ended(ended.ok(), gateway).await,
                Some(again) = self.again.recv() => self.desk.serve_again(again),
                () = &mut draining, if !self.leaving => self.drain(gateway),
                () = sleep_until(patience.into()), if self.streams.is_empty() => {
                    if self.leaving {
                        break;
                    }
                    self.leave();
                }
            }
        }
        self.finish().await;
    }

    /// Takes a stream in: one that is admitted runs in a task of its own, any other is answered at once.
    fn take(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        match Stream::begin(&mut self.desk, request, respond, &self.again_at) {
            Ok(stream) => {
                self.is_known = true;
                drop(self.streams.spawn(stream.run()));
            }
            Err(rest) if !rest.is_over() => drop(self.streams.spawn(rest.pass())),
            Err(_) if self.streams.is_empty() => self.idle_since = Instant::now(),
            Err(_) => {}
        }
        match (self.desk.is_hopeless(), self.leaving) {
            (false, _) => {}
            (true, false) => self.leave(),
            (true, true) => self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
        }
    }

    /// A stream is over. A client that breaks off one after the other is sent away: each costs more work here than there.
    async fn ended(&mut self, ended: Option<Ended>, gateway: &Gateway) {
        let now = Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX));
        let is_broken_off = ended.as_ref().is_none_or(|ended| ended.is_broken_off);
        if is_broken_off && !self.broken_off.take(BROKEN_OFF, now) && !self.leaving {
            gateway.events.connection_refused(ConnectionReason::TooManyResets, self.desk.caller.address, None);
            self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.leaving = true;
        }
        if self.streams.is_empty() {
            self.idle_since = Instant::now();
        }
        // The end of the answer leaves before the request counts as finished: a drain that sees none under way ends the process.
        std::future::poll_fn(|cx| {
            let _ = self.h2.poll_closed(cx);
            Poll::Ready(())
        })
        .await;
        drop(ended);
    }

    /// No new streams after those that the client knows of; what is under way ends in order.
    fn leave(&mut self) {
        self.h2.graceful_shutdown();
        self.leaving = true;
        self.idle_since = Instant::now();
    }

    fn drain(&mut self, gateway: &Gateway) {
        self.unwritten = self.h2.has_streams().then(|| gateway.drain.guard());
        self.leave();
    }

    /// How long a connection without a stream under way is kept. Half a head may be waiting in `h2`, which does not tell: a stranger has
    /// no longer for it than over HTTP/1.1.
    fn patience(&self, gateway: &Gateway) -> Instant {
        let limits = gateway.state.load().limits;
        let has_said_all = self.leaving && !self.h2.has_streams();
        self.idle_since
            + match (has_said_all, self.is_known) {
                (true, _) => LINGER,
                (false, true) => limits.keep_alive,
                (false, false) => limits.keep_alive.min(limits.head_time),
            }
    }

    /// The connection is over: every stream learns it from its own handles and tells the log, and the client hears the goodbye.
    async fn finish(self) {
        let Self { h2, back, mut streams, again, unwritten, .. } = self;
        drop((h2, again));
        while streams.join_next().await.is_some() {}
        if let Ok(stream) = back.await {
            linger(&mut ByteStream::Tls(Box::new(stream))).await;
        }
        drop(unwritten);
    }
}

/// Moves the connection; gives a stream where there is room for one, and none when the connection is over.
fn poll_next(h2: &mut H2<Lent, Bytes>, has_room: bool, cx: &mut Context<'_>) -> Poll<Option<(Request<RecvStream>, SendResponse<Bytes>)>> {
    if has_room { h2.poll_accept(cx).map(|accepted| accepted.and_then(Result::ok)) } else { h2.poll_closed(cx).map(|_| None) }
}
