//! What has come of jobs and requests, and what follows from it.

use std::time::Duration;

use cmg_api::clients::ClientToken;
use cmg_api::device::{Kept, Notifications, TaskKind};
use cmg_core::choice::Trouble;
use cmg_core::ids::{ManagementPointId, ServiceId};
use cmg_core::roaming::{Event, Target};
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

use super::jobs::{Done, Vain};
use super::schedule::Timer;
use super::{Agent, RENEWALS};
use crate::carrier::{Outcome, Told, Way};
use crate::clock::WORTH_TELLING;
use crate::identity::Refused;

/// Where the agent keeps when it did what.
const LAST: &str = "last.json";
/// How soon a management point that knows no notifications is asked for them again.
const NO_CHANNEL: Duration = Duration::from_secs(3_600);
/// The longest that a server's word keeps the client from asking.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

/// When the agent did what, in seconds since 1970.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Last {
    pub(super) heartbeat: u64,
    pub(super) inventory: u64,
}

impl Agent {
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Probed(id, target, found) => {
                debug!(%target, words = found.words, proven = found.outcome.is_ok(), "Asked");
                if let Err(trouble) = &found.outcome
                    && matches!(trouble, Trouble::Untrusted | Trouble::Portal)
                {
                    self.mishap(format!("{target} is not believed: {}", found.words));
                }
                self.feed(Event::Answered(id, found.outcome));
                if let Some(policy) = found.policy {
                    self.take_policy(&policy);
                }
            }
            Done::Policy(outcome) => self.policy_answered(outcome),
            Done::Renewed(outcome) => self.renewed(outcome),
            Done::Sent(outcome) => self.sent(outcome),
            Done::Notified(outcome) => self.notified(outcome),
        }
        self.tell_drift();
    }

    /// What came of a request that somebody made.
    pub(super) fn hear(&mut self, told: &Told) {
        let target = match &told.way {
            Way::Nowhere(_) => return,
            Way::Intranet(name) => Target::ManagementPoint(ManagementPointId::new(name)),
            Way::Service(name) => Target::Service(ServiceId::new(name)),
        };
        match &told.outcome {
            Outcome::Answered => self.feed(Event::Succeeded(target)),
            Outcome::Failed(trouble, words) => {
                self.mishap(format!("A request through {target} failed: {words}"));
                self.feed(Event::Failed(target, *trouble));
            }
        }
    }

    fn policy_answered(&mut self, outcome: Result<Option<bytes::Bytes>, Vain>) {
        self.busy.remove(&Timer::Policy);
        let every = Duration::from_secs(self.settings().policy_every.max(30));
        self.schedule.set_about(Timer::Policy, every, cmg_process::dice::draw());
        match outcome {
            Ok(None) => {}
            Ok(Some(policy)) => self.take_policy(&policy),
            Err(vain) => {
                let wait = self.vain("The policy", &vain);
                self.schedule.set(Timer::Policy, wait.min(every));
            }
        }
        // The channel asks with the policy that is held.
        self.listen();
    }

    fn renewed(&mut self, outcome: Result<ClientToken, Vain>) {
        self.busy.remove(&Timer::Renew);
        let trouble = match outcome {
            Ok(given) => match self.take_identity(self.identity.with(given)) {
                Ok(()) => {
                    info!(expires_at = self.identity.given.expires_at, "The token is renewed");
                    self.renewals.reset();
                    return self.schedule.set(Timer::Renew, self.until_renewal());
                }
                Err(error) => error,
            },
            Err(Vain::Refused(refused)) => refused.to_string(),
            Err(Vain::Unreached(why, _)) => why,
        };
        let left = self.identity.given.expires_at.saturating_sub(crate::clock::now().0);
        let end = if left == 0 { "it has ended: run `cmg client repair`".to_owned() } else { format!("it lasts {} h more", left / 3_600) };
        self.mishap(format!("The token is not renewed, and {end}: {trouble}"));
        self.renewal_trouble = Some(trouble);
        let wait = self.renewals.wait(cmg_process::dice::draw()).max(RENEWALS.0 / 4);
        self.schedule.set(Timer::Renew, wait);
    }

    /// Works by another token from here on; it is on disk before it is used.
    pub(super) fn take_identity(&mut self, identity: crate::identity::Identity) -> Result<(), String> {
        let saved = identity.save(&self.disk).map_err(|error| error.to_string());
        // Also where the disk is full: the token before counts to its own end, and after a restart the next one is asked for again.
        self.carrier.take_token(identity.token());
        self.identity = identity;
        self.renewal_trouble = None;
        saved
    }

    fn sent(&mut self, outcome: Result<Kept, Vain>) {
        self.busy.remove(&Timer::Send);
        match outcome {
            Ok(kept) => {
                debug!(kept = kept.kept.len(), "The site has messages");
                if let Err(error) = self.queue.settle(&kept) {
                    self.mishap(format!("A message that the site has stays here, and is sent again: {error}"));
                }
                let goes_on = !kept.kept.is_empty() || !kept.refused.is_empty();
                if goes_on && !self.queue.is_empty() {
                    self.schedule.set(Timer::Send, Duration::ZERO);
                }
            }
            Err(vain) => {
                let wait = self.vain("Messages", &vain);
                self.schedule.set(Timer::Send, wait);
            }
        }
    }

    fn notified(&mut self, outcome: Result<Option<Notifications>, Vain>) {
        self.channel = None;
        match outcome {
            Ok(told) => {
                self.is_told = true;
                self.backoff.reset();
                if let Some(told) = told {
                    self.act_on(&told);
                }
                self.schedule.set(Timer::Notify, Duration::ZERO);
            }
            Err(vain) => {
                self.is_told = false;
                let wait = match &vain {
                    Vain::Refused(Refused { status: 404 | 405, .. }) => NO_CHANNEL,
                    _ => self.vain("Notifications", &vain),
                };
                self.schedule.set(Timer::Notify, wait);
            }
        }
    }

    fn act_on(&mut self, told: &Notifications) {
        self.after = told.after;
        if self.keeper.held().is_none_or(|held| held.generation < told.policy) {
            self.schedule.set(Timer::Policy, Duration::ZERO);
        }
        for task in &told.tasks {
            info!(number = task.number, kind = ?task.kind, "The site asks for something");
            match task.kind {
                TaskKind::Ping => self.heartbeat(),
                TaskKind::Policy => self.schedule.set(Timer::Policy, Duration::ZERO),
                TaskKind::Inventory => self.inventory(),
                TaskKind::Locate => self.feed(Event::Locate),
            }
        }
    }

    /// A job was in vain: told, and how long to wait before it is tried again.
    fn vain(&mut self, what: &str, vain: &Vain) -> Duration {
        let asked = match vain {
            Vain::Unreached(why, asked) => {
                self.mishap(format!("{what}: the site was not reached: {why}"));
                *asked
            }
            Vain::Refused(refused) => {
                self.mishap(format!("{what}: refused: {refused}"));
                None
            }
        };
        let drawn = self.backoff.wait(cmg_process::dice::draw()).max(Duration::from_secs(1));
        drawn.max(asked.unwrap_or_default().min(LONGEST_REST))
    }

    /// A clock that is wrong is told once for each time that it is wrong anew.
    fn tell_drift(&mut self) {
        let drift = self.carrier.drift();
        if drift.abs() >= WORTH_TELLING && (drift - self.drift_told).abs() >= WORTH_TELLING {
            let way = if drift > 0 { "behind" } else { "ahead of" };
            self.mishap(format!("This device's clock is {} s {way} the site's: set it", drift.abs()));
        }
        self.drift_told = drift;
    }

    pub(super) fn last(&self) -> Last {
        self.disk.read_json(LAST).ok().flatten().unwrap_or_default()
    }

    pub(super) fn remember(&mut self, change: impl FnOnce(&mut Last)) {
        let mut last = self.last();
        change(&mut last);
        if let Err(error) = self.disk.write_json(LAST, &last) {
            warn!(%error, "It is not remembered when this was done");
        }
    }
}
