//! Carries the bodies of one exchange between a stream and the tunnel, both ways at the same time, under the flow control of both.
//!
//! A client may send no more than the tunnel takes: its window opens as bytes move on. An answer waits in the tunnel until the
//! client makes room.
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use cmg_core::endpoint::Endpoint;
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_http1::{Framing, RequestHead};
use cmg_tunnel::{BodyLength, Event, Exchange, ResponseFrame};
use h2::{Reason, SendStream};
use tokio::time::{Sleep, sleep_until};

use super::stream::{Caller, Client};
use super::{answer, head};
use crate::connection::After;
use crate::deadlines::{Deadlines, Ring};
use crate::relay::{Done, Failed, Stage};
use crate::standing::Standing;

/// Bytes moved each way before other tasks get their turn.
const TURN: usize = 32 * 1024;

/// 1xx heads before an answer: as many as connection points pass on. They are not under flow control.
const INTERIMS: u32 = 32;

/// How a relay ends before both directions do.
enum Break {
    /// No answer has begun.
    Failed(Refusal, Stage),
    /// The answer broke off, or the client is gone.
    Cut(Option<Refusal>),
}

/// Both bodies of one exchange.
pub(super) struct Relay<'a> {
    client: &'a mut Client,
    exchange: Exchange,
    id: RequestId,
    body_limit: u64,
    up: Up,
    down: Down,
    deadlines: Deadlines,
    standing: Standing<'a>,
    caller: &'a Caller,
}

/// From the client.
#[derive(Default)]
struct Up {
    part: BytesMut,
    /// The client holds its body back until the server invites it.
    uninvited: bool,
    trailers: Option<Vec<u8>>,
    /// All data has come; trailers may.
    data_over: bool,
    ending: bool,
    done: bool,
    received: u64,
}

/// To the client.
#[derive(Default)]
struct Down {
    /// After the head of the answer.
    stream: Option<SendStream<Bytes>>,
    status: u16,
    part: Bytes,
    /// Bytes of `part` when it came, to tell the sender once it is gone.
    part_length: usize,
    /// Bytes of the body that are still to come, where the head has told the client how many there are.
    left: Option<u64>,
    has_no_body: bool,
    interims: u32,
    ended: bool,
    sent: u64,
}

impl<'a> Relay<'a> {
    pub(super) fn new(
        client: &'a mut Client,
        mut exchange: Exchange,
        endpoint: &Endpoint,
        head: &RequestHead,
        id: RequestId,
        (standing, caller): (Standing<'a>, &'a Caller),
    ) -> Self {
        if let Framing::Length(length) = head.framing {
            exchange.expect_to_send(Some(length));
        }
        let up = Up { uninvited: head.expect_continue, done: exchange.is_sent(), ..Up::default() };
        let deadlines = Deadlines::new(endpoint);
        Self { client, exchange, id, body_limit: endpoint.body_limit, up, down: Down::default(), deadlines, standing, caller }
    }

    /// Runs both directions to their ends.
    pub(super) async fn run(mut self) -> Result<Done, Failed> {
        let mut timer = pin!(sleep_until(self.deadlines.next()));
        let outcome = std::future::poll_fn(|cx| self.poll(cx, timer.as_mut())).await;
        let (status, received, sent) = (self.down.status, self.up.received, self.down.sent);
        match outcome {
            Ok(()) => Ok(Done { after: After::Again, status, refusal: None, received, sent }),
            Err(Break::Failed(refusal, stage)) => Err(Failed { refusal, stage, received }),
            Err(Break::Cut(refusal)) => {
                let reason = if refusal.is_some() { Reason::INTERNAL_ERROR } else { Reason::CANCEL };
                self.client.respond.send_reset(reason);
                Ok(Done { after: After::Cut, status, refusal, received, sent })
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Result<(), Break>> {
        let up_again = self.poll_up(cx)?.is_ready();
        let down_again = self.poll_down(cx)?.is_ready();
        if self.down.ended {
            return Poll::Ready(Ok(()));
        }
        self.poll_gone(cx)?;
        self.poll_timer(cx, timer).map_err(|refusal| self.broken(refusal, Stage::Refused))?;
        if up_again || down_again {
            cmg_transport::end_turn(cx);
        }
        Poll::Pending
    }

    /// Ends an exchange that is late, or whose client may not go on.
    fn poll_timer(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), Refusal> {
        while let Poll::Ready(ring) = self.deadlines.poll(cx, timer.as_mut()) {
            match ring {
                Ring::Look => self.standing.look(&self.caller.guest())?,
                Ring::Late => return Err(if self.waits_for_body() { Refusal::BodyTimeout } else { Refusal::Deadline }),
            }
        }
        Ok(())
    }

    /// Whether it is the client's turn: what has come of its body has been passed on, and there is more to it.
    fn waits_for_body(&self) -> bool {
        let Up { part, uninvited, ending, done, .. } = &self.up;
        !uninvited && part.is_empty() && !ending && !done
    }

    /// Moves the request's body. Ready: there is more to do at once.
    fn poll_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let mut moved = 0;
        while moved < TURN && !self.up.done {
            if !self.up.part.is_empty() {
                let Poll::Ready(sent) = self.send_up(cx) else { break };
                moved += sent;
            } else if self.up.ending {
                let finished = ready!(self.exchange.poll_finish(cx, &mut self.up.trailers));
                self.up.done = true;
                if finished.is_err() {
                    return Poll::Pending;
                }
            } else {
                let Poll::Ready(received) = self.receive_up(cx) else { break };
                received?;
            }
        }
        let _ = self.exchange.poll_flush(cx);
        if moved >= TURN { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Sends a part of what has come, and lets the client send as much again. What became of an exchange that takes no more comes as
    /// an event.
    fn send_up(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let length = self.up.part.len();
        let Ok(sent) = ready!(self.exchange.poll_send(cx, &mut self.up.part, length, false)) else {
            self.up.done = true;
            return Poll::Ready(0);
        };
        let _ = self.client.body.flow_control().release_capacity(sent);
        self.deadlines.touch();
        self.up.received += sent as u64;
        Poll::Ready(sent)
    }

    fn receive_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        if !self.up.data_over {
            match ready!(self.client.body.poll_data(cx)) {
                Some(Ok(bytes)) => return Poll::Ready(self.take_up(bytes)),
                Some(Err(_)) => return Poll::Ready(Err(Break::Cut(None))),
                None => self.up.data_over = true,
            }
        }
        let trailers = ready!(self.client.body.poll_trailers(cx)).map_err(|_| Break::Cut(None))?;
        self.deadlines.touch();
        let trailers = trailers.as_ref().map_or(Ok(Vec::new()), head::receive_trailers);
        self.up.trailers = Some(trailers.map_err(|_| self.broken(Refusal::BodyMalformed, Stage::Refused))?);
        self.up.ending = true;
        Poll::Ready(Ok(()))
    }

    fn take_up(&mut self, bytes: Bytes) -> Result<(), Break> {
        self.deadlines.touch();
        self.up.uninvited = false;
        if self.up.received + bytes.len() as u64 > self.body_limit {
            return Err(self.broken(Refusal::BodyTooLarge, Stage::Refused));
        }
        self.up.part = BytesMut::from(bytes);
        Ok(())
    }

    /// Moves the answer. Ready: there is more to do at once.
    fn poll_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Break>> {
        let mut moved = 0;
        while moved < TURN && !self.down.ended {
            if self.down.part.is_empty() {
                let event = ready!(self.exchange.poll_event(cx));
                self.take(event)?;
            } else {
                moved += ready!(self.send_down(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of the part at hand as the client has room for.
    fn send_down(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Break>> {
        let Some(stream) = &mut self.down.stream else { return Poll::Ready(Err(Break::Cut(None))) };
        stream.reserve_capacity(self.down.part.len());
        while stream.capacity() == 0 {
            if !matches!(ready!(stream.poll_capacity(cx)), Some(Ok(_))) {
                return Poll::Ready(Err(Break::Cut(None)));
            }
        }
        let sent = stream.capacity().min(self.down.part.len());
        if stream.send_data(self.down.part.split_to(sent), false).is_err() {
            return Poll::Ready(Err(Break::Cut(None)));
        }
        self.down.sent += sent as u64;
        self.deadlines.touch();
        if self.down.part.is_empty() {
            self.exchange.consumed(std::mem::take(&mut self.down.part_length));
        }
        Poll::Ready(Ok(sent))
    }

    fn take(&mut self, event: Event) -> Result<(), Break> {
        self.deadlines.touch();
        match event {
            Event::Interim(head) => self.take_interim(&head),
            Event::Response(head) => self.take_head(&head),
            Event::Data(bytes) => self.take_data(bytes),
            Event::End => self.end(None),
            Event::Trailers(payload) => self.end(Some(&payload)),
            Event::Refused(Refusal::ConnectorDraining) => Err(self.broken(Refusal::ConnectorDraining, Stage::NotSent)),
            Event::Refused(refusal) => Err(self.broken(refusal, Stage::Refused)),
            Event::Reset | Event::Lost => Err(self.broken(Refusal::ConnectionPointLost, Stage::Unanswered)),
            Event::NotSent => Err(self.broken(Refusal::ConnectionPointLost, Stage::NotSent)),
        }
    }

    fn take_interim(&mut self, head: &ResponseFrame) -> Result<(), Break> {
        self.down.interims += 1;
        if self.down.stream.is_some() || self.down.interims > INTERIMS {
            return Err(self.misbehaved());
        }
        self.up.uninvited &= head.get().status != 100;
        match answer::interim(head) {
            Some(head) => self.client.respond.send_informational(head).map_err(|_| Break::Cut(None)),
            None => Ok(()),
        }
    }

    fn take_head(&mut self, head: &ResponseFrame) -> Result<(), Break> {
        if self.down.stream.is_some() || head.get().upgrade {
            return Err(self.misbehaved());
        }
        let response = answer::forwarded(head, self.id, self.client.nonce, self.client.is_bound).ok_or_else(|| self.misbehaved())?;
        self.down.status = head.get().status;
        self.down.has_no_body = answer::has_no_body(head, self.client.is_head);
        self.down.left = match head.get().body {
            BodyLength::Exact(length) => Some(length),
            _ => None,
        };
        let stream = self.client.respond.send_response(response, self.down.has_no_body).map_err(|_| Break::Cut(None))?;
        self.down.stream = Some(stream);
        Ok(())
    }

    fn take_data(&mut self, bytes: Bytes) -> Result<(), Break> {
        if self.down.stream.is_none() || self.down.has_no_body {
            return Err(self.misbehaved());
        }
        if let Some(left) = &mut self.down.left {
            let Some(rest) = left.checked_sub(bytes.len() as u64) else { return Err(self.misbehaved()) };
            *left = rest;
        }
        self.down.part_length = bytes.len();
        self.down.part = bytes;
        Ok(())
    }

    fn end(&mut self, trailers: Option<&[u8]>) -> Result<(), Break> {
        let Some(stream) = &mut self.down.stream else { return Err(self.misbehaved()) };
        if !self.down.has_no_body {
            if self.down.left.is_some_and(|left| left > 0) {
                return Err(self.misbehaved());
            }
            let ended = match trailers {
                Some(payload) => answer::trailers(payload).map(|fields| stream.send_trailers(fields)),
                None => Some(stream.send_data(Bytes::new(), true)),
            };
            ended.ok_or(Break::Cut(Some(Refusal::ConnectionPointMisbehaved)))?.map_err(|_| Break::Cut(None))?;
        }
        self.down.ended = true;
        Ok(())
    }

    /// Notices a client that resets the stream or goes away.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Result<(), Break> {
        let gone = match &mut self.down.stream {
            Some(_) if self.down.has_no_body => false,
            Some(stream) => stream.poll_reset(cx).is_ready(),
            None => self.client.respond.poll_reset(cx).is_ready(),
        };
        if gone { Err(Break::Cut(None)) } else { Ok(()) }
    }

    fn misbehaved(&self) -> Break {
        self.broken(Refusal::ConnectionPointMisbehaved, Stage::Refused)
    }

    /// The exchange ends without a whole answer. 1xx heads are none, so that an answer may still follow them, but no other try.
    fn broken(&self, refusal: Refusal, stage: Stage) -> Break {
        match self.down.stream {
            None => Break::Failed(refusal, if self.down.interims > 0 { Stage::Refused } else { stage }),
            Some(_) => Break::Cut(Some(refusal)),
        }
    }
}
