//! What the site is told about this management point: at once where it has changed, and again from time to time.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::StatusReport;
use cmg_process::dice;
use cmg_process::log::chain;
use cmg_site_client::{Backoff, Trouble};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::point::Point;

/// How often it is said that nothing has changed.
const REPEAT: Duration = Duration::from_secs(15);

/// Tells the site until dropped.
pub(crate) async fn report(point: Arc<Point>) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    let mut trouble = Trouble::default();
    let mut own = point.own.subscribe();
    loop {
        let status = own.borrow_and_update().clone();
        let member = point.site.member();
        let members = [(member.identity.member(), status)].into();
        match member.client.report(&StatusReport { members, ..StatusReport::default() }).await {
            Ok(()) => {
                if trouble.is_over() {
                    info!("The site hears of this management point's state again");
                }
                backoff.reset();
                // Whether there is news or the time is over, it is said.
                let _ = timeout(REPEAT, own.changed()).await;
            }
            Err(error) => {
                let text = chain(&error);
                if trouble.is_news(&text) {
                    warn!(error = text, "The site does not hear of this management point's state");
                }
                sleep(backoff.failed(error.retry_after(), dice::draw())).await;
            }
        }
    }
}
