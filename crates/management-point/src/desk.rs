//! The desk of devices: what they send, what they are told, and what is kept for that.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get, post};
use cmg_api::control::GenerationId;
use cmg_api::device::{INCOMING, MESSAGES, NOTIFICATIONS};
use cmg_core::time::Tick;
use cmg_enrolled::DataFolder;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};

use crate::board::Board;
use crate::device::identify;
use crate::messages::{self, Rates};
use crate::point::Point;
use crate::spool::Spool;
use crate::uploads::Uploads;
use crate::{bits, notifications};

/// Bodies of messages that are read at once: each may take 30 times its size meanwhile.
const READING: usize = 8;

/// What is shown of it.
pub(crate) struct Gauges {
    pub(crate) held: Gauge,
    pub(crate) waiting: Gauge,
}

/// Everything about devices that are registered.
pub(crate) struct Desk {
    pub(crate) point: Arc<Point>,
    pub(crate) spool: Spool,
    pub(crate) uploads: Uploads,
    pub(crate) board: Arc<Board>,
    /// The policy that there is.
    pub(crate) policy: watch::Sender<GenerationId>,
    pub(crate) reading: Semaphore,
    gauges: Gauges,
    rates: Mutex<Rates>,
    began: Instant,
}

impl Desk {
    /// Opens what is on disk in `folder`; messages, and uploads, may each have `limit` bytes there.
    pub(crate) fn open(point: Arc<Point>, folder: &DataFolder, limit: u64, gauges: Gauges) -> io::Result<Self> {
        let spool = Spool::open(&folder.path().join("spool"), limit)?;
        let uploads = Uploads::open(&folder.path().join("uploads"), &spool.uploads(), limit)?;
        Ok(Self {
            point,
            spool,
            uploads,
            board: Arc::default(),
            policy: watch::Sender::new(GenerationId::default()),
            reading: Semaphore::new(READING),
            gauges,
            rates: Mutex::default(),
            began: Instant::now(),
        })
    }

    pub(crate) fn rates(&self) -> MutexGuard<'_, Rates> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Shows how much there is to do.
    pub(crate) fn measure(&self) {
        self.gauges.held.set(i64::try_from(self.board.held()).unwrap_or(i64::MAX));
        self.gauges.waiting.set(i64::try_from(self.spool.waiting()).unwrap_or(i64::MAX));
    }

    /// Notes which policy is in force whenever that changes, until dropped.
    pub(crate) async fn follow_policy(self: Arc<Self>) {
        let mut own = self.point.own.subscribe();
        loop {
            own.borrow_and_update();
            let generation = self.point.policy_generation();
            self.policy.send_if_modified(|known| std::mem::replace(known, generation) != generation);
            if own.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Answers devices that have proven who they are.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    let point = Arc::clone(&desk.point);
    Router::new()
        .route(MESSAGES, post(messages::serve))
        .route(NOTIFICATIONS, get(notifications::serve))
        .route(INCOMING, any(bits::serve))
        .route(&format!("{INCOMING}/{{*upload}}"), any(bits::serve))
        .route_layer(from_fn_with_state(point, identify))
        .with_state(desk)
}
