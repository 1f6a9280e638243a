//! Carries the bodies of one exchange between the tunnel and a server, both ways at the same time.
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use cmg_core::endpoint::Endpoint;
use cmg_core::refusal::Refusal;
use cmg_core::server::BackMap;
use cmg_http1::{Decoder, Framing, HeadLimits, Piece, RequestKind, ResponseHead, parse_response};
use cmg_transport::make_room;
use cmg_tunnel::{BodyLength, Event, Exchange, Gone, ResponseHead as TunnelHead, trailer_fields, trailers};
use tokio::time::{Sleep, sleep_until};

use crate::answer::{Outgoing, body_length};
use crate::pool::ServerConnection;
use crate::servers::Service;

/// Bounds of a server's answer: as large as a client's head may be.
pub(crate) const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 200 };

/// Answers of status 1xx before the answer, at most: they are not flow controlled.
const INTERIMS: u32 = 32;

/// Bytes of a request gathered before they are written.
const GATHER: usize = 32 * 1024;

/// Bytes of an answer still to come from which on they are read to where they stay.
const LARGE_READ: u64 = 16 * 1024;

/// Bytes moved each way before other tasks get their turn.
const TURN: usize = 32 * 1024;

/// How an exchange ended.
pub(crate) struct Done {
    pub(crate) status: u16,
    /// Bytes of the request's body.
    pub(crate) received: u64,
    /// Bytes of the answer's body.
    pub(crate) sent: u64,
    /// Whether the server's connection can serve another request.
    pub(crate) reusable: bool,
    /// Whether the answer broke off.
    pub(crate) cut: bool,
}

/// Why there is no answer.
pub(crate) enum Failed {
    /// With this reason.
    Refused(Refusal),
    /// The server closed a used connection before it answered: nothing came of the request, or nobody knows.
    Stale,
    /// The tunnel or the client is gone before the answer has begun: nobody waits for it.
    Abandoned,
}

enum Break {
    Failed(Failed),
    Cut,
}

/// What a relay needs to know about its request.
pub(crate) struct Job<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) service: &'a Service,
    pub(crate) map: Option<BackMap<'a>>,
    pub(crate) kind: RequestKind,
    pub(crate) body: BodyLength,
    /// Whether the client asks for a protocol upgrade.
    pub(crate) upgrade: bool,
    /// Whether the client may hold its body back until the server invites it.
    pub(crate) expects_continue: bool,
}

/// Both bodies of one exchange.
pub(crate) struct Relay<'a> {
    exchange: &'a mut Exchange,
    server: &'a mut ServerConnection,
    job: Job<'a>,
    up: Up,
    down: Down,
    active: Instant,
    deadline: Option<Instant>,
}

/// To the server.
struct Up {
    out: Vec<u8>,
    written: usize,
    body: Bytes,
    body_length: usize,
    behind_body: &'static [u8],
    chunked: bool,
    ended: bool,
    done: bool,
    /// The server has stopped taking it.
    broken_off: bool,
    received: u64,
}

/// From the server.
struct Down {
    head: Option<Head>,
    interims: u32,
    decoder: Decoder,
    /// Bytes of the body, where known.
    length: Option<u64>,
    ready: usize,
    framing: usize,
    trailers: Option<Vec<u8>>,
    ending: bool,
    done: bool,
    sent: u64,
    fields: Vec<cmg_http1::Field>,
}

#[derive(Clone, Copy)]
struct Head {
    status: u16,
    keep_alive: bool,
    upgraded: bool,
}

impl Up {
    /// The socket has taken so many bytes of what was gathered and of the part of the body behind it.
    fn took(&mut self, taken: usize) {
        let gathered = taken.min(self.out.len() - self.written);
        self.written += gathered;
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        self.body.advance(taken - gathered);
        self.received += (taken - gathered) as u64;
    }
}

impl<'a> Relay<'a> {
    /// A relay whose request begins with `head`.
    pub(crate) fn new(exchange: &'a mut Exchange, server: &'a mut ServerConnection, job: Job<'a>, head: Vec<u8>) -> Self {
        let up = Up {
            out: head,
            written: 0,
            body: Bytes::new(),
            body_length: 0,
            behind_body: b"",
            chunked: job.body == BodyLength::Unknown,
            ended: matches!(job.body, BodyLength::None | BodyLength::Exact(0)) || exchange.is_received(),
            done: false,
            broken_off: false,
            received: 0,
        };
        let down = Down {
            head: None,
            interims: 0,
            decoder: Decoder::new(Framing::None),
            length: None,
            ready: 0,
            framing: 0,
            trailers: None,
            ending: false,
            done: false,
            sent: 0,
            fields: Vec::new(),
        };
        let now = Instant::now();
        let deadline = job.endpoint.total.map(|total| now + total);
        Self { exchange, server, job, up, down, active: now, deadline }
    }

    /// Runs both directions to their ends.
    pub(crate) async fn run(mut self) -> Result<Done, Failed> {
        let mut timer = pin!(sleep_until(self.next_deadline().into()));
        let outcome = std::future::poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
        let status = self.down.head.map_or(0, |head| head.status);
        let done = |reusable, cut| Done { status, received: self.up.received, sent: self.down.sent, reusable, cut };
        match outcome {
            Ok(()) => {
                let alive = self.down.head.is_some_and(|head| head.keep_alive && !head.upgraded);
                Ok(done(alive && self.up.done && !self.up.broken_off && self.server.input.is_empty(), false))
            }
            Err(Break::Cut) => Ok(done(false, true)),
            Err(Break::Failed(failed)) => Err(failed),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Result<(), Break>> {
        let up_again = self.poll_up(cx)?.is_ready();
        let down_again = self.poll_down(cx)?.is_ready();
        if self.down.done {
            return Poll::Ready(Ok(()));
        }
        self.poll_deadline(cx, timer)?;
        if up_again || down_again {
            cmg_transport::end_turn(cx);
        }
        Poll::Pending
    }

    fn is_upgraded(&self) -> bool {
        self.down.head.is_some_and(|head| head.upgraded)
    }

    /// Moves the request. Ready: there is more to do at once.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let mut moved = 0;
        while moved < TURN && !self.up.done {
            ready!(self.poll_gather(cx))?;
            let before = self.up.received;
            match ready!(self.poll_write(cx)) {
                Ok(()) => moved += (self.up.received - before) as usize,
                Err(_) => {
                    self.break_off();
                    return Poll::Ready(Ok(()));
                }
            }
            self.up.done = self.up.ended && self.up.out.is_empty() && self.up.body.is_empty();
            if self.up.done && self.is_upgraded() {
                self.close();
            }
        }
        if self.up.done { self.poll_gone(cx) } else { Poll::Ready(Ok(())) }
    }

    /// The client of an upgraded connection has closed it: the server has what it sent, and what the server sends is for nobody.
    fn close(&mut self) {
        self.down.ready = 0;
        self.down.ending = true;
    }

    /// The server takes no more of the request. It may have answered before it stopped reading, so its answer is still read.
    fn break_off(&mut self) {
        self.up.done = true;
        self.up.ended = true;
        self.up.broken_off = true;
        self.server.reused &= self.up.received == 0;
    }

    /// Notices that nobody waits for the answer any more. What still comes of a body that the server did not want is dropped.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        loop {
            match ready!(self.exchange.poll_event(cx)) {
                Event::Data(bytes) => self.exchange.consumed(bytes.len()),
                Event::End | Event::Trailers(_) => {}
                Event::Reset | Event::Lost | Event::NotSent => return Poll::Ready(Err(self.abandoned())),
                Event::Interim(_) | Event::Response(_) | Event::Refused(_) => return Poll::Ready(Err(self.abandoned())),
            }
        }
    }

    /// Takes parts of the body in until there is enough to write. Pending: there is nothing to write either.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        while !self.up.ended && self.up.body.is_empty() && self.up.out.len() < GATHER {
            match self.exchange.poll_event(cx) {
                Poll::Ready(event) => self.take(event)?,
                Poll::Pending if self.up.out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, event: Event) -> Result<(), Break> {
        self.active = Instant::now();
        match event {
            Event::Data(bytes) => self.take_data(bytes),
            Event::End => {
                if matches!(self.job.body, BodyLength::Exact(length) if self.up.received < length && !self.is_upgraded()) {
                    return Err(self.abandoned());
                }
                if self.up.chunked {
                    self.up.out.extend_from_slice(cmg_http1::LAST_CHUNK);
                }
                self.up.ended = true;
                Ok(())
            }
            Event::Trailers(payload) => self.take_trailers(&payload),
            Event::Reset | Event::Lost | Event::NotSent => Err(self.abandoned()),
            Event::Interim(_) | Event::Response(_) | Event::Refused(_) => Err(self.abandoned()),
        }
    }

    fn take_data(&mut self, bytes: Bytes) -> Result<(), Break> {
        let upgraded = self.is_upgraded();
        let allowed = match self.job.body {
            _ if upgraded => u64::MAX,
            BodyLength::Exact(length) => length,
            BodyLength::Unknown => self.job.endpoint.body_limit,
            BodyLength::None => 0,
        };
        if self.up.received + (self.up.body_length + bytes.len()) as u64 > allowed {
            return Err(self.broken(Refusal::BodyTooLarge));
        }
        if self.up.chunked && !upgraded {
            cmg_http1::push_chunk_head(bytes.len(), &mut self.up.out);
            self.up.behind_body = cmg_http1::CHUNK_END;
        } else {
            self.up.behind_body = b"";
        }
        if bytes.len() < GATHER / 2 {
            self.up.out.extend_from_slice(&bytes);
            self.up.out.extend_from_slice(self.up.behind_body);
            self.up.received += bytes.len() as u64;
            self.exchange.consumed(bytes.len());
        } else {
            self.up.body_length = bytes.len();
            self.up.body = bytes;
        }
        Ok(())
    }

    fn take_trailers(&mut self, payload: &[u8]) -> Result<(), Break> {
        if !self.up.chunked {
            return Err(self.abandoned());
        }
        let fields = trailer_fields(payload).ok_or_else(|| self.abandoned())?;
        self.up.out.extend_from_slice(cmg_http1::LAST_CHUNK_HEAD);
        for (name, value) in fields.filter(|(name, _)| !self.job.service.reserved.contain(name)) {
            cmg_http1::push_field(name, value, &mut self.up.out);
        }
        self.up.out.extend_from_slice(cmg_http1::CRLF);
        self.up.ended = true;
        Ok(())
    }

    /// Writes what was gathered, then the part of the body behind it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while !self.up.out.is_empty() || !self.up.body.is_empty() {
                let parts = [IoSlice::new(&self.up.out[self.up.written..]), IoSlice::new(&self.up.body)];
                let taken = ready!(self.server.stream.poll_write_vectored(cx, &parts))?;
                self.up.took(taken);
                self.active = Instant::now();
            }
            if self.up.body_length == 0 {
                return self.server.stream.poll_flush(cx);
            }
            self.exchange.consumed(std::mem::take(&mut self.up.body_length));
            self.up.out.extend_from_slice(self.up.behind_body);
        }
    }

    /// Moves the answer. Ready: there is more to do at once.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let mut moved = 0;
        while moved < TURN && !self.down.done {
            if self.down.head.is_none() {
                if !self.read_head()? {
                    ready!(self.poll_fill(cx))?;
                }
                continue;
            }
            if self.down.ready > 0 {
                let last = self.down.framing == 0 && self.down.decoder.is_finished() && !self.is_upgraded();
                let Poll::Ready(sent) = self.exchange.poll_send(cx, &mut self.server.input, self.down.ready, last) else { break };
                moved += self.sent_down(sent)?;
                continue;
            }
            if self.down.ending || (self.down.decoder.is_finished() && !self.is_upgraded()) {
                self.down.trailers.get_or_insert_default();
                self.down.ending = true;
                let Poll::Ready(finished) = self.exchange.poll_finish(cx, &mut self.down.trailers) else { break };
                finished.map_err(|Gone| Break::Cut)?;
                self.down.done = true;
                return Poll::Ready(Ok(()));
            }
            if !self.decode()? {
                let _ = self.exchange.poll_flush(cx);
                ready!(self.poll_fill(cx))?;
            }
        }
        let _ = self.exchange.poll_flush(cx);
        if moved >= TURN { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn sent_down(&mut self, sent: Result<usize, Gone>) -> Result<usize, Break> {
        let sent = sent.map_err(|Gone| Break::Cut)?;
        self.active = Instant::now();
        self.down.ready -= sent;
        self.down.sent += sent as u64;
        if self.down.ready == 0 {
            self.server.input.advance(std::mem::take(&mut self.down.framing));
        }
        Ok(sent)
    }

    /// Reads the head of the answer; false: more bytes are needed.
    fn read_head(&mut self) -> Result<bool, Break> {
        let fields = std::mem::take(&mut self.down.fields);
        let parsed = parse_response(&self.server.input, &LIMITS, self.job.kind, fields);
        let Some(head) = parsed.map_err(|_| self.broken(Refusal::ServerMalformed))? else { return Ok(false) };
        let bytes = self.server.input.split_to(head.len);
        let outgoing = Outgoing::new(&head, &bytes, self.job.map.as_ref()).map_err(|refusal| self.broken(refusal))?;
        let tunnel_head =
            TunnelHead { status: head.status, reason: head.reason.of(&bytes), upgrade: head.upgrade, body: body_length(&head, &bytes) };
        let service = self.job.service;
        if (100..200).contains(&head.status) && !head.upgrade {
            self.down.interims += 1;
            if self.down.interims > INTERIMS {
                return Err(self.broken(Refusal::ServerMalformed));
            }
            self.exchange.interim(&tunnel_head, |fields| outgoing.push(&head, &bytes, service, fields));
            self.down.fields = head.fields;
            return Ok(true);
        }
        if head.upgrade && !(self.job.endpoint.upgrade && self.job.upgrade) {
            return Err(self.broken(Refusal::ServerMalformed));
        }
        self.respond(&head, &tunnel_head, |fields| outgoing.push(&head, &bytes, service, fields));
        Ok(true)
    }

    /// Sends the head, with what has come of the body.
    fn respond(&mut self, head: &ResponseHead, tunnel_head: &TunnelHead<'_>, fields: impl FnOnce(&mut cmg_tunnel::Fields<'_>)) {
        let length = match head.framing {
            Framing::None if !head.upgrade => Some(0),
            Framing::Length(length) => Some(length),
            _ => None,
        };
        let at_hand = length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX).min(self.server.input.len()));
        let whole = length == Some(at_hand as u64);
        let first = self.exchange.respond(tunnel_head, fields, &self.server.input[..at_hand], whole);
        self.server.input.advance(first);
        self.down.sent += first as u64;
        let rest = length.map(|length| length - first as u64);
        self.down.length = length;
        self.exchange.expect_to_send(rest);
        self.down.decoder = Decoder::new(match (head.framing, rest) {
            (Framing::Length(_), Some(rest)) => Framing::Length(rest),
            (framing, _) => framing,
        });
        self.down.head = Some(Head { status: head.status, keep_alive: head.keep_alive, upgraded: head.upgrade });
        if head.upgrade {
            self.exchange.stay();
            self.deadline = None;
            (self.up.done, self.up.ended) = (false, false);
        }
    }

    /// Finds the next part of the body in what has been received; false: more bytes are needed.
    fn decode(&mut self) -> Result<bool, Break> {
        if self.is_upgraded() {
            self.down.ready = self.server.input.len();
            return Ok(self.down.ready > 0);
        }
        let decoded = self.down.decoder.decode(&self.server.input).map_err(|_| Break::Cut)?;
        match decoded.piece {
            Piece::Data(range) => {
                self.server.input.advance(range.start);
                self.down.ready = range.len();
                self.down.framing = decoded.consumed - range.end;
            }
            Piece::NeedMore => {
                self.server.input.advance(decoded.consumed);
                return Ok(false);
            }
            Piece::End => {
                self.server.input.advance(decoded.consumed);
                self.down.ending = true;
            }
            Piece::Trailers(fields) => {
                let (input, reserved) = (&self.server.input, &self.job.service.reserved);
                let fields = fields.iter().map(|field| (field.name.of(input), field.value.of(input)));
                let allowed = fields.filter(|(name, _)| !reserved.contain(name));
                self.down.trailers = Some(trailers(|out| allowed.for_each(|(name, value)| out.push(name, value))));
                self.server.input.advance(decoded.consumed);
                self.down.ending = true;
            }
        }
        Ok(true)
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        if let Some(rest) = self.down.length.map(|length| length.saturating_sub(self.down.sent)).filter(|rest| *rest >= LARGE_READ) {
            make_room(&mut self.server.input, usize::try_from(rest).unwrap_or(usize::MAX).min(TURN));
        }
        let read = ready!(self.server.stream.poll_fill(cx, &mut self.server.input));
        if matches!(read, Ok(1..)) {
            self.active = Instant::now();
            return Poll::Ready(Ok(()));
        }
        let clean = matches!(read, Ok(0));
        match self.down.head {
            None if self.server.reused && self.server.input.is_empty() => Poll::Ready(Err(Break::Failed(Failed::Stale))),
            None => Poll::Ready(Err(Break::Failed(Failed::Refused(Refusal::ServerClosed)))),
            Some(head) if clean && (head.upgraded || self.down.decoder.end_of_input().is_ok()) => {
                self.down.ending = true;
                Poll::Ready(Ok(()))
            }
            Some(_) => Poll::Ready(Err(Break::Cut)),
        }
    }

    /// Nobody waits for the answer any more; what has come of it is told to the log.
    fn abandoned(&self) -> Break {
        if self.down.head.is_some() { Break::Cut } else { Break::Failed(Failed::Abandoned) }
    }

    fn broken(&self, refusal: Refusal) -> Break {
        if self.down.head.is_some() { Break::Cut } else { Break::Failed(Failed::Refused(refusal)) }
    }

    /// Whether it is the client's turn: what has come of its body has been passed on, and there is more to it.
    fn waits_for_body(&self) -> bool {
        let uninvited = self.job.expects_continue && self.down.interims == 0 && self.up.received == 0;
        !uninvited && self.up.out.is_empty() && self.up.body.is_empty() && !self.up.ended
    }

    fn next_deadline(&self) -> Instant {
        let idle = if self.is_upgraded() { Duration::from_secs(86_400 * 365) } else { self.job.endpoint.idle };
        let idle = self.active + idle;
        self.deadline.map_or(idle, |total| total.min(idle))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), Break> {
        while timer.as_mut().poll(cx).is_ready() {
            let next = self.next_deadline();
            if next <= Instant::now() {
                let late = if self.waits_for_body() { Refusal::BodyTimeout } else { Refusal::ServerTimeout };
                return Err(self.broken(late));
            }
            timer.as_mut().reset(next.into());
        }
        Ok(())
    }
}
