//! How long an exchange may last, and how long it may be silent.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cmg_core::endpoint::Endpoint;
use tokio::time::Sleep;

/// Far enough away never to come.
const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// The deadlines of one exchange.
pub(crate) struct Deadlines {
    idle: Option<Duration>,
    total: Option<Instant>,
    active: Instant,
}

impl Deadlines {
    /// Deadlines that begin to run, as the endpoint sets them.
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let now = Instant::now();
        Self { idle: Some(endpoint.idle), total: endpoint.total.map(|total| now + total), active: now }
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
        let idle = self.idle.map_or(self.active + NEVER, |idle| self.active + idle);
        self.total.map_or(idle, |total| total.min(idle))
    }

    /// Ready when a deadline has passed; sets `timer` again where bytes have moved since it was set.
    pub(crate) fn poll(&self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<()> {
        while timer.as_mut().poll(cx).is_ready() {
            let next = self.next();
            if next <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(next.into());
        }
        Poll::Pending
    }
}
