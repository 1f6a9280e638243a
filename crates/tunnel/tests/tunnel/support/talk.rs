//! The whole of one exchange as a gateway sees it, both directions at the same time.

use std::task::{Context, Poll};

use bytes::BytesMut;
use cmg_core::refusal::Refusal;
use cmg_tunnel::{Event, Exchange, Gone};

/// What came of an exchange.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Trailers,
    Refused(Refusal),
    Reset,
    Lost,
    NotSent,
}

/// So many bytes of which no two stretches are alike.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Sends `body` while it takes the answer in.
pub(crate) async fn talk(mut exchange: Exchange, body: &[u8]) -> Answer {
    let mut sending = Sending { rest: BytesMut::from(body), trailers: Some(Vec::new()), done: exchange.is_sent() };
    let mut answer = Answer { status: 0, body: Vec::new(), end: End::Whole };
    std::future::poll_fn(|cx| {
        sending.poll(&mut exchange, cx);
        loop {
            match exchange.poll_event(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(event) => {
                    if let Some(end) = answer.take(&mut exchange, event) {
                        answer.end = end;
                        return Poll::Ready(());
                    }
                }
            }
        }
    })
    .await;
    answer
}

/// Takes the answer of an exchange in that sends nothing more.
pub(crate) async fn receive(exchange: &mut Exchange) -> Answer {
    let mut answer = Answer { status: 0, body: Vec::new(), end: End::Whole };
    loop {
        let event = exchange.event().await;
        if let Some(end) = answer.take(exchange, event) {
            answer.end = end;
            return answer;
        }
    }
}

struct Sending {
    rest: BytesMut,
    trailers: Option<Vec<u8>>,
    done: bool,
}

impl Sending {
    fn poll(&mut self, exchange: &mut Exchange, cx: &mut Context<'_>) {
        while !self.done && !self.rest.is_empty() {
            let length = self.rest.len();
            match exchange.poll_send(cx, &mut self.rest, length, false) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(Gone)) => self.done = true,
                Poll::Pending => break,
            }
        }
        if !self.done && self.rest.is_empty() {
            self.done = exchange.poll_finish(cx, &mut self.trailers).is_ready();
        }
        let _ = exchange.poll_flush(cx);
    }
}

impl Answer {
    fn take(&mut self, exchange: &mut Exchange, event: Event) -> Option<End> {
        match event {
            Event::Interim(_) => None,
            Event::Response(head) => {
                self.status = head.get().status;
                None
            }
            Event::Data(bytes) => {
                self.body.extend_from_slice(&bytes);
                exchange.consumed(bytes.len());
                None
            }
            Event::End => Some(End::Whole),
            Event::Trailers(_) => Some(End::Trailers),
            Event::Refused(refusal) => Some(End::Refused(refusal)),
            Event::Reset => Some(End::Reset),
            Event::Lost => Some(End::Lost),
            Event::NotSent => Some(End::NotSent),
        }
    }
}

/// Sends `body` and leaves the direction open.
pub(crate) async fn send(exchange: &mut Exchange, body: &[u8]) -> Result<(), Gone> {
    let mut rest = BytesMut::from(body);
    while !rest.is_empty() {
        let length = rest.len();
        std::future::poll_fn(|cx| exchange.poll_send(cx, &mut rest, length, false)).await?;
    }
    std::future::poll_fn(|cx| exchange.poll_flush(cx)).await
}
