//! What a gateway asks a connection point itself: the way of configurations, which no client's request can take.
//!
//! Such an exchange has the empty endpoint id. No published endpoint can be called so: ids are names, in configurations, in lists of
//! what is served, and in the routes made of them. Messages are held whole, within a limit and under one deadline; on the way they are
//! bodies like any other, so that a large one moves to a lane and stands in nobody's way.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use thiserror::Error;
use tokio::time::timeout;

use crate::exchange::{Event, Exchange, Gone};
use crate::frame::{self, Kind};
use crate::head::{BodyLength, RequestHead, ResponseHead};
use crate::outbox::{Command, Link};
use crate::slot;

/// The endpoint id of what a gateway asks the connection point itself.
pub const CONTROL_ENDPOINT: &str = "";

/// Bytes of a body that are made ready at a time.
const PIECE: usize = 64 * 1024;

/// A request to a connection point itself.
#[derive(Clone, Copy, Debug)]
pub struct Question<'q> {
    /// `GET` or `POST`.
    pub method: &'q str,
    /// Path and query.
    pub target: &'q str,
    /// The body.
    pub body: &'q [u8],
    /// The longest answer that is taken, in bytes.
    pub limit: usize,
    /// The longest time from here to the whole answer.
    pub within: Duration,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, as in HTTP.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// The connection point has no session.
    #[error("the connection point is not connected")]
    NotConnected,
    /// The tunnel or the connection point gave the exchange up.
    #[error("the connection point was lost")]
    Lost,
    /// It does not answer such questions.
    #[error("the connection point refused to answer: {}", .0.row().label)]
    Refused(Refusal),
    /// The answer is longer than was asked for.
    #[error("the answer is too long")]
    TooLong,
    /// The answer did not come in time.
    #[error("the answer did not come in time")]
    Late,
}

/// Why a body was not taken in whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BodyError {
    /// It is longer than the limit.
    #[error("the body is too long")]
    TooLong,
    /// The tunnel or the peer gave the exchange up.
    #[error("the peer was lost")]
    Lost,
}

impl Question<'_> {
    /// Asks on this session.
    pub(crate) async fn put(&self, link: &Arc<Link>) -> Result<Answer, AskError> {
        let number = link.next_exchange();
        let first = crate::exchange::beside_head(self.body.len());
        let whole = first == self.body.len();
        let mut frames = Vec::new();
        frame::push_with(&mut frames, Kind::Request, self.body.is_empty(), number, |out| self.head().encode(out, |_| ()));
        if first > 0 {
            frame::push(&mut frames, Kind::Data, whole, number, &self.body[..first]);
        }
        let (events, signals) = slot::signals();
        let mut exchange = Exchange::new(number, Arc::clone(link), signals, false, whole);
        exchange.has_sent(first);
        exchange.expect_to_send(Some((self.body.len() - first) as u64));
        link.command(Command::Open { exchange: number, frames, events }).map_err(|_| AskError::NotConnected)?;
        timeout(self.within, talk(&mut exchange, &self.body[first..], self.limit)).await.unwrap_or(Err(AskError::Late))
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            id: RequestId(0),
            credential: 0,
            endpoint: CONTROL_ENDPOINT,
            method: self.method.as_bytes(),
            target: self.target.as_bytes(),
            authority: b"",
            client: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            upgrade: false,
            trailers: false,
            expects_continue: false,
            body: if self.body.is_empty() { BodyLength::None } else { BodyLength::Exact(self.body.len() as u64) },
        }
    }
}

/// Sends what is left of the body while the answer comes in: a connection point may answer before it has read everything.
async fn talk(exchange: &mut Exchange, body: &[u8], limit: usize) -> Result<Answer, AskError> {
    let mut sending = Sending::new(body);
    let mut answer = Answer { status: 0, body: Vec::new() };
    std::future::poll_fn(|cx| {
        // A peer that is gone is told by an event, and one that has answered needs no more.
        let _ = sending.poll(exchange, cx);
        loop {
            match exchange.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Event::Interim(_)) => {}
                Poll::Ready(Event::Response(head)) => answer.status = head.get().status,
                Poll::Ready(Event::Data(_)) if answer.status == 0 => return Poll::Ready(Err(AskError::Lost)),
                Poll::Ready(Event::Data(bytes)) if answer.body.len() + bytes.len() > limit => return Poll::Ready(Err(AskError::TooLong)),
                Poll::Ready(Event::Data(bytes)) => {
                    exchange.consumed(bytes.len());
                    answer.body.extend_from_slice(&bytes);
                }
                Poll::Ready(Event::End | Event::Trailers(_)) if answer.status != 0 => return Poll::Ready(Ok(())),
                Poll::Ready(Event::Refused(refusal)) => return Poll::Ready(Err(AskError::Refused(refusal))),
                Poll::Ready(_) => return Poll::Ready(Err(AskError::Lost)),
            }
        }
    })
    .await?;
    Ok(answer)
}

impl Exchange {
    /// Takes in a body of at most `limit` bytes whole. The caller sets the deadline.
    pub async fn whole_body(&mut self, limit: usize) -> Result<Vec<u8>, BodyError> {
        let mut body = Vec::new();
        while !self.is_received() {
            match self.event().await {
                Event::Data(bytes) if body.len() + bytes.len() > limit => return Err(BodyError::TooLong),
                Event::Data(bytes) => {
                    self.consumed(bytes.len());
                    body.extend_from_slice(&bytes);
                }
                Event::End | Event::Trailers(_) => break,
                _ => return Err(BodyError::Lost),
            }
        }
        Ok(body)
    }

    /// Answers with a status and a whole body. The caller sets the deadline.
    pub async fn answer_whole(mut self, status: u16, body: &[u8]) -> Result<(), Gone> {
        let length = if body.is_empty() { BodyLength::None } else { BodyLength::Exact(body.len() as u64) };
        let head = ResponseHead { status, reason: b"", upgrade: false, body: length };
        let first = self.respond(&head, |_| (), body, true);
        self.expect_to_send(Some((body.len() - first) as u64));
        let mut sending = Sending::new(&body[first..]);
        std::future::poll_fn(|cx| sending.poll(&mut self, cx)).await
    }
}

/// A body on its way out, a piece at a time.
struct Sending<'b> {
    rest: &'b [u8],
    piece: BytesMut,
}

impl<'b> Sending<'b> {
    fn new(body: &'b [u8]) -> Self {
        Self { rest: body, piece: BytesMut::new() }
    }

    fn poll(&mut self, exchange: &mut Exchange, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !(self.rest.is_empty() && self.piece.is_empty()) {
            if self.piece.is_empty() {
                let (piece, rest) = self.rest.split_at(self.rest.len().min(PIECE));
                self.piece = BytesMut::from(piece);
                self.rest = rest;
            }
            let length = self.piece.len();
            match exchange.poll_send(cx, &mut self.piece, length, false) {
                Poll::Ready(sent) => _ = sent?,
                Poll::Pending => {
                    std::task::ready!(exchange.poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
        exchange.poll_finish(cx, &mut None)
    }
}
