//! What the site does by itself, on one site server at a time: whoever holds the lease in the database works, the others wait for it.
//!
//! Jobs take no input: each reads what there is and makes the world match, so that it does not matter who did it last or how far it came.

use std::sync::Arc;
use std::time::Duration;

use cmg_process::dice;
use cmg_process::log::chain;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use crate::app::fetching::Fetcher;
use crate::app::{acme, client_tokens, crls, devices, growth, issued_certificates, policies, rollover, roots, token_issuers, warnings};
use crate::site::Site;

/// The lease.
const LEASE: &str = "jobs";

/// How long the lease lasts without its holder, in seconds: as long as jobs wait after a site server has died.
pub const HELD: i64 = 30;

/// How often it is renewed or tried for.
const RENEWED: Duration = Duration::from_secs(10);

/// How often it is looked whether anything is due.
const LOOK: Duration = Duration::from_secs(15);

/// How long after a change it is looked: an address that was just written is asked at once, but not in the middle of a hundred changes.
const SETTLED: Duration = Duration::from_secs(1);

/// What this start of a site server is called in the lease: two site servers may bear one name by mistake.
pub fn holder(site: &Site) -> String {
    format!("{}/{:016x}", site.name, dice::draw())
}

/// Works whenever this site server holds the lease, as `holder`, until dropped. The lease is to be given back then.
pub async fn run(site: Arc<Site>, holder: String) {
    let mut renew = interval(RENEWED);
    renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut work, mut until, mut was_refused) = (None::<Work>, 0, false);
    loop {
        renew.tick().await;
        let now = site.now().0 as i64;
        match hold(&site, &holder, now).await {
            Ok(true) => {
                (until, was_refused) = (now + HELD, false);
                match &mut work {
                    Some(work) => work.go_on(&site),
                    None => {
                        info!("This site server does the site's jobs");
                        work = Some(Work::begin(&site));
                    }
                }
            }
            Ok(false) => {
                was_refused = false;
                if work.take().is_some() {
                    warn!("Another site server does the site's jobs");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut was_refused, true) {
                    error!(error = chain(&error), "The lease for the site's jobs cannot be renewed");
                }
                // By then another one may have it.
                if now >= until {
                    work = None;
                }
            }
        }
    }
}

/// Takes or renews the lease, and says whether this holder has it.
pub async fn hold(site: &Site, holder: &str, now: i64) -> Result<bool, cmg_store::Error> {
    let mut change = site.store.begin(now).await?;
    let is_held = change.hold_lease(LEASE, holder, now + HELD).await?;
    change.commit().await?;
    Ok(is_held)
}

/// Gives the lease back, so that another one, or the next start, need not wait until it has run out.
pub async fn give_back(site: &Site, holder: &str) -> Result<(), cmg_store::Error> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    change.release_lease(LEASE, holder).await?;
    change.commit().await
}

/// The jobs at work; dropped, they end.
///
/// Orders of certificates wait for members and for others' servers. In a task of their own they keep nothing else waiting, and a fault
/// in them ends nothing else.
struct Work {
    orders: Task,
    others: Task,
}

impl Work {
    fn begin(site: &Arc<Site>) -> Self {
        Self { orders: orders(site), others: others(site) }
    }

    /// Begins again what a fault has ended.
    fn go_on(&mut self, site: &Arc<Site>) {
        let fault = |job| error!(job, "A job of the site has ended by a fault of this program, and begins again");
        if self.orders.0.is_finished() {
            fault("certificates from ACME servers");
            self.orders = orders(site);
        }
        if self.others.0.is_finished() {
            fault("everything but certificates from ACME servers");
            self.others = others(site);
        }
    }
}

fn orders(site: &Arc<Site>) -> Task {
    let site = Arc::clone(site);
    Task(tokio::spawn(async move { acme::run(&site).await }))
}

fn others(site: &Arc<Site>) -> Task {
    let site = Arc::clone(site);
    Task(tokio::spawn(async move { work_by_itself(&site).await }))
}

/// A task that ends with this.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn work_by_itself(site: &Site) {
    let fetcher = Fetcher::of_system();
    let mut newest = site.newest();
    let mut last = Last::default();
    loop {
        newest.mark_unchanged();
        once(site, &fetcher, site.now().0 as i64, &mut last).await;
        tokio::select! {
            () = sleep(LOOK) => {}
            Ok(()) = newest.changed() => sleep(SETTLED).await,
        }
    }
}

/// When what is not done at every look was done.
#[derive(Debug, Default)]
pub struct Last {
    /// Signing keys were looked at.
    pub rolled: Option<i64>,
    /// Warnings were looked at.
    pub warned: Option<i64>,
    /// What is of no more use was forgotten.
    pub forgot: Option<i64>,
}

/// Does everything that is due at `now`. Each job by itself: one that fails keeps no other from its work.
pub async fn once(site: &Site, fetcher: &Fetcher, now: i64, last: &mut Last) {
    if let Err(error) = issued_certificates::keep_lists(site, now).await {
        failed("the site's own revocation lists", &error);
    }
    // A successor that waits signs as soon as every member has it.
    if last.rolled.is_none_or(|at| now >= at + rollover::OFTEN) || rollover::waits(site) {
        match rollover::keep(site, now).await {
            Ok(_) => last.rolled = Some(now),
            Err(error) => failed("signing keys", &error),
        }
    }
    if let Err(error) = roots::keep(site, now).await {
        failed("roots", &error);
    }
    if let Err(error) = policies::refresh(site).await {
        failed("the policy of clients", &error);
    }
    if let Err(error) = crls::sync_due(site, fetcher, now).await {
        failed("revocation lists", &error);
    }
    if let Err(error) = token_issuers::sync_due(site, fetcher, now).await {
        failed("keys of token issuers", &error);
    }
    if let Err(error) = devices::expire_presence(site, now).await {
        failed("who is online at management points that are silent", &error);
    }
    if last.warned.is_none_or(|at| now >= at + warnings::OFTEN) {
        match warnings::look(site, now).await {
            Ok(_) => last.warned = Some(now),
            Err(error) => failed("warnings", &error),
        }
        if let Err(error) = client_tokens::forget_ended(site, now).await {
            failed("ended client tokens", &error);
        }
    }
    if last.forgot.is_none_or(|at| now >= at + growth::OFTEN) {
        match growth::forget(site, site.keep, now).await {
            Ok(_) => last.forgot = Some(now),
            Err(error) => failed("forgetting what is of no more use", &error),
        }
    }
}

fn failed(job: &str, error: &(dyn std::error::Error + 'static)) {
    error!(job, error = chain(error), "A job of the site failed; it is tried again");
}
