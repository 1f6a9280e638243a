//! What the agent says to whoever asks on this device.

use cmg_core::roaming::{Event, Explanation, Place};
use cmg_core::time::Tick;
use serde_json::json;

use super::Agent;
use super::schedule::Timer;
use crate::clock;
use crate::desk::{Asked, Wish};
use crate::identity::Identity;
use crate::status::{Search, Status, Tried};

impl Agent {
    pub(super) fn serve(&mut self, asked: Asked) {
        let answer = match asked.wish {
            Wish::Status => json!(self.status()),
            Wish::Locate => {
                self.feed(Event::Locate);
                json!(self.status())
            }
            Wish::Policy => {
                self.schedule.set(Timer::Policy, std::time::Duration::ZERO);
                json!(self.status())
            }
            Wish::Inventory => {
                self.inventory();
                json!(self.status())
            }
            Wish::Reload => self.reload(),
        };
        // Whoever asked may be gone.
        let _ = asked.answer.send(answer);
    }

    /// Somebody has written another identity.
    fn reload(&mut self) -> serde_json::Value {
        match Identity::load(&self.disk) {
            Ok(Some(identity)) => {
                self.carrier.take_token(identity.token());
                self.identity = identity;
                self.renewal_trouble = None;
                self.schedule.set(Timer::Renew, self.until_renewal());
                for timer in [Timer::Policy, Timer::Notify, Timer::Send] {
                    self.schedule.set(timer, std::time::Duration::ZERO);
                }
                self.feed(Event::Locate);
            }
            Ok(None) => self.mishap("The identity is gone: install the client anew".to_owned()),
            Err(error) => self.mishap(error.to_string()),
        }
        json!(self.status())
    }

    pub(super) fn status(&self) -> Status {
        let explanation = self.roaming.explain();
        let mut status = Status::of_disk(&self.identity, self.keeper.held().map(AsRef::as_ref), self.queue.len());
        status.is_running = true;
        status.key_thumbprint = self.carrier.key_thumbprint();
        status.place = place(&explanation.place).to_owned();
        status.through = explanation.place.route().to_string();
        status.says = explanation.place.to_string();
        status.since = Some(self.wall(explanation.since));
        status.search = Some(self.search(&explanation));
        status.clock_behind = self.carrier.drift();
        status.is_told = self.is_told && self.channel.is_some();
        status.token.trouble = self.renewal_trouble.clone();
        status.mishaps = self.mishaps.iter().cloned().collect();
        status
    }

    fn search(&self, explanation: &Explanation) -> Search {
        let tried = explanation.attempts.iter().map(|attempt| {
            let took = attempt.began.zip(attempt.ended).map(|(began, (ended, _))| ended.since(began));
            let outcome = match (&attempt.began, &attempt.ended) {
                (None, _) => "it was not necessary to ask".to_owned(),
                (Some(_), None) => "it has not answered".to_owned(),
                (Some(_), Some((_, Ok(())))) => "it has proven itself".to_owned(),
                (Some(_), Some((_, Err(trouble)))) => trouble.to_string(),
            };
            Tried {
                whom: attempt.target.to_string(),
                outcome,
                milliseconds: took.map(|took| took.as_millis().try_into().unwrap_or(u64::MAX)),
            }
        });
        let servers = explanation.servers.iter().filter(|server| server.errors > 0 || server.avoided_until.is_some());
        Search {
            why: explanation.cause.to_string(),
            began: self.wall(explanation.began),
            is_under_way: explanation.is_searching,
            tried: tried.collect(),
            boundary_groups: explanation.boundary_groups.clone(),
            prefers_cloud: explanation.prefers_cloud,
            always_internet: explanation.always_internet,
            avoided: servers
                .map(|server| {
                    let until = server.avoided_until.map(|until| format!(", avoided until {}", self.text(until))).unwrap_or_default();
                    format!("{}: {} errors{until}", server.target, server.errors)
                })
                .collect(),
            next: self.wall(explanation.next.0),
            next_why: explanation.next.1.to_string(),
        }
    }

    /// A moment of the agent's own time, in seconds since 1970.
    fn wall(&self, Tick(at): Tick) -> u64 {
        let elapsed = self.tick().0;
        clock::now().0.saturating_sub(elapsed / 1_000).max(self.began_at.min(clock::now().0)).saturating_add(at / 1_000)
    }

    fn text(&self, at: Tick) -> String {
        cmg_process::clock::text(cmg_core::time::WallTime(self.wall(at)))
    }
}

fn place(place: &Place) -> &'static str {
    match place {
        Place::Unknown => "unknown",
        Place::Intranet(_) => "intranet",
        Place::Diverted(_) => "diverted",
        Place::Internet(_) => "internet",
        Place::Portal => "portal",
        Place::Offline => "offline",
    }
}
