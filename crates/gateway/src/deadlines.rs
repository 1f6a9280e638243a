//! How long an exchange may last, how long it may be silent, and when its client is looked at again. One timer for all three.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use cmg_core::endpoint::Endpoint;
use tokio::time::{Instant, Sleep};

/// Far enough away never to come.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// Time after which the client of an exchange that lasts is looked at, again and again: a revocation counts within seconds, and
/// thousands of parked requests cost next to nothing.
const LOOK: Duration = Duration::from_secs(5);

/// The deadlines of one exchange.
pub(crate) struct Deadlines {
    idle: Option<Duration>,
    total: Option<Instant>,
    active: Instant,
    look: Instant,
}

/// What the timer has rung for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// A deadline has passed.
    Late,
    /// Time to see whether the client may go on.
    Look,
}

impl Deadlines {
    /// Deadlines that begin to run, as the endpoint sets them.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let now = Instant::now();
        Self { idle: Some(endpoint.idle), total: endpoint.total.map(|total| now + total), active: now, look: now + LOOK }
    }

    /// Bytes have moved.
    pub(crate) fn touch(&mut self) {
        self.active = Instant::now();
    }

    /// Nothing ends an upgraded connection but its ends.
    pub(crate) fn end(&mut self) {
        self.idle = None;
        self.total = None;
    }

    /// An upgraded connection has lost one of its ends; the other is waited for as a request is.
    pub(crate) fn resume(&mut self, endpoint: &Endpoint) {
        self.idle = Some(endpoint.idle);
        self.touch();
    }

    /// When `timer` has to ring.
    pub(crate) fn next(&self) -> Instant {
        self.end_at().min(self.look)
    }

    /// Ready when a deadline has passed or it is time to look; sets `timer` again where bytes have moved since it was set. To be
    /// polled until it is not ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Ring> {
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if self.end_at() <= now {
                return Poll::Ready(Ring::Late);
            }
            let is_time_to_look = self.look <= now;
            if is_time_to_look {
                self.look = now + LOOK;
            }
            timer.as_mut().reset(self.next());
            if is_time_to_look {
                return Poll::Ready(Ring::Look);
            }
        }
        Poll::Pending
    }

    fn end_at(&self) -> Instant {
        let idle = self.idle.map_or(self.active + NEVER, |idle| self.active + idle);
        self.total.map_or(idle, |total| total.min(idle))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use cmg_core::endpoint::{Face, Mount, ProofDemand};
    use cmg_core::ids::EndpointId;
    use tokio::time::{advance, sleep_until, timeout};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn an_endpoint(idle: Duration, total: Option<Duration>) -> Endpoint {
        Endpoint {
            id: EndpointId::new("bgb"),
            host: "cmg.example".to_owned(),
            port: None,
            mount: Mount::Plain { prefix: String::new() },
            face: Face::Open,
            trust: None,
            token_kinds: vec![],
            audiences: vec![],
            registration: false,
            forward_token: false,
            proof: ProofDemand::IfBound,
            methods: vec![],
            body_limit: 0,
            idle,
            total,
            upgrade: true,
            h2: false,
        }
    }

    /// Rings until a deadline has passed: when that was, and how often it was time to look before.
    async fn late(mut deadlines: Deadlines) -> (Duration, u32) {
        let (began, mut looks) = (Instant::now(), 0);
        let mut timer = pin!(sleep_until(deadlines.next()));
        while std::future::poll_fn(|cx| deadlines.poll(cx, timer.as_mut())).await == Ring::Look {
            looks += 1;
        }
        (began.elapsed(), looks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_may_be_parked_for_as_long_as_its_endpoint_says() {
        let (after, looks) = late(Deadlines::new(&an_endpoint(20 * MINUTE, None))).await;

        assert_eq!(after.as_secs(), 20 * 60);
        assert_eq!(looks, 20 * 60 / 5 - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_move_put_off_the_end_by_silence_and_no_other() {
        let mut moved = Deadlines::new(&an_endpoint(MINUTE, None));
        let mut bounded = Deadlines::new(&an_endpoint(MINUTE, Some(MINUTE)));
        advance(MINUTE / 2).await;
        moved.touch();
        bounded.touch();

        assert_eq!(late(bounded).await.0.as_secs(), 30);
        assert_eq!(late(moved).await.0.as_secs(), 30, "a minute after the bytes, of which half has gone by");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_ends_an_upgraded_connection_in_hours_of_silence() {
        let mut deadlines = Deadlines::new(&an_endpoint(MINUTE, Some(MINUTE)));
        deadlines.end();

        assert!(timeout(120 * MINUTE, late(deadlines)).await.is_err());
    }
}
