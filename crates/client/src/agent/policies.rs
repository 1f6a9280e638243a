//! A policy that has come: judged, kept, put in force.

use std::sync::Arc;

use cmg_api::policy::Policy;
use cmg_core::roaming::Event;
use tracing::info;

use super::{Agent, site};
use crate::clock;
use crate::policy::PolicyRefused;

impl Agent {
    pub(super) fn take_policy(&mut self, answer: &[u8]) {
        let is_first = self.keeper.held().is_none();
        match self.keeper.take(answer, clock::now()) {
            Ok(None) => {}
            Ok(Some(policy)) => {
                if is_first && self.identity.site_root.is_none() {
                    info!(
                        "The first policy is believed because TLS has authenticated whom it came from; --site-root would have checked it"
                    );
                }
                info!(generation = %policy.generation, services = policy.services.len(), "A policy is in force");
                self.put_in_force(Arc::clone(&policy));
                self.feed(Event::PolicyChanged(site::of(&policy)));
            }
            Err(error) => self.mishap(refusal(&error)),
        }
    }

    /// By this policy requests are carried from here on, and agents work.
    pub(super) fn put_in_force(&mut self, policy: Arc<Policy>) {
        let problems: Vec<_> = self.carrier.follow(policy).into_iter().chain(self.keeper.hand_out()).collect();
        for problem in problems {
            self.mishap(format!("A part of the policy cannot be used: {problem}"));
        }
    }
}

fn refusal(error: &PolicyRefused) -> String {
    format!("A policy is refused, the one before stays in force: {error}")
}
