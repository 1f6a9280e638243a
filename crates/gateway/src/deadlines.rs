//! How long an exchange may last, how long it may be silent, and when its client is looked at again. One timer for all three.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cmg_core::endpoint::Endpoint;
use tokio::time::Sleep;

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
            timer.as_mut().reset(self.next().into());
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
