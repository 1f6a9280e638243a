//! Tells the site how the gateway is: whenever that changes, and every now and then. One connection point is enough; it passes on what the
//! gateway has signed.
use std::sync::Arc;
use std::time::Duration;

use cmg_core::ids::ConnectionPointId;
use cmg_process::log::chain;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::Site;
use super::ask::Asked;

/// How often nothing is said again.
const EVERY: Duration = Duration::from_secs(15);

/// Shortest time between two reports: sessions come one after the other.
const PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked whether tokens name keys that are not known: their bearers wait.
const LOOK: Duration = Duration::from_millis(500);

/// Reports until dropped.
pub(super) async fn run(site: Arc<Site>) {
    let mut own = site.own.subscribe();
    let mut sessions = site.gateway.hub.changes();
    let mut last = None;
    loop {
        own.mark_unchanged();
        sessions.mark_unchanged();
        let wanted = site.wanted_keys();
        last = tell(&site, last).await;
        sleep(PAUSE).await;
        tokio::select! {
            Ok(()) = own.changed() => {}
            Ok(()) = sessions.changed() => {}
            () = others_are_wanted(&site, &wanted) => {}
            () = sleep(EVERY) => {}
        }
    }
}

/// Waits until other keys are wanted than those of the issuers `told`.
async fn others_are_wanted(site: &Site, told: &[String]) {
    while site.wanted_keys() == told {
        sleep(LOOK).await;
    }
}

/// Tells any connection point, at first the one that took the report last; gives the one that took it.
async fn tell(site: &Site, last: Option<ConnectionPointId>) -> Option<ConnectionPointId> {
    let hub = &site.gateway.hub;
    let mut points: Vec<_> = hub.connection_points().into_keys().collect();
    points.sort_by_key(|point| Some(point) != last.as_ref());
    let status = match site.identity.load().sign_status(&site.status()) {
        Ok(status) => status,
        Err(error) => {
            warn!(error = chain(&error), "The gateway's state cannot be signed, so the site does not hear of it");
            return last;
        }
    };
    for connection_point in points {
        match (Asked { hub, connection_point: &connection_point }).report(&status).await {
            Ok(()) => return Some(connection_point),
            Err(error) => debug!(%connection_point, error = chain(&error), "Report not taken"),
        }
    }
    None
}
