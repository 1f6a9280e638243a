//! Which certificates are tried at this moment: one task for each, a few at once, so that a slow server or hook holds up no other
//! certificate, and a task that fails badly ends nothing but itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cmg_process::log::chain;
use tokio::task::{Id, JoinSet};
use tokio::time::sleep;
use tracing::error;

use super::{attempt, outcome};
use crate::site::Site;

/// How often it is looked whether anything is due. Little is read where nothing is.
const LOOK: Duration = Duration::from_secs(3);

/// The most tries at once.
const AT_ONCE: usize = 4;

/// Orders whatever is due, until dropped, which ends every try.
pub(crate) async fn run(site: &Arc<Site>) {
    let (mut newest, mut tries) = (site.newest(), Tries::default());
    loop {
        newest.mark_unchanged();
        tries.look(site).await;
        tokio::select! {
            () = sleep(LOOK) => {}
            Ok(()) = newest.changed() => sleep(LOOK / 3).await,
        }
    }
}

/// The tries under way, by certificate.
#[derive(Default)]
struct Tries {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
}

impl Tries {
    /// Takes back what an interrupted try left, and begins what is due.
    async fn look(&mut self, site: &Arc<Site>) {
        // In this order: what a try that is under way has put in force is not left over.
        self.forget_ended();
        let in_force = site.in_force();
        for (name, left) in &in_force.ground.acme {
            if self.may_begin(name) {
                let (site, of, left) = (Arc::clone(site), name.clone(), left.clone());
                self.begin(name, async move { outcome::take_back(&site, &of, &left).await });
            }
        }
        for certificate in in_force.model.certificates.values() {
            let Some(acme) = certificate.acme.as_ref().filter(|_| self.may_begin(&certificate.name)) else { continue };
            match attempt::is_due(site, certificate, acme).await {
                Ok(true) => self.begin(&certificate.name, attempt::attempt(Arc::clone(site), Arc::clone(certificate))),
                Ok(false) => {}
                Err(error) => {
                    error!(certificate = certificate.name, error = chain(&error), "It cannot be read whether a certificate is due");
                }
            }
        }
    }

    fn may_begin(&self, name: &str) -> bool {
        self.running.len() < AT_ONCE && !self.names.values().any(|under_way| under_way == name)
    }

    fn begin(&mut self, name: &str, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.to_owned());
    }

    fn forget_ended(&mut self) {
        while let Some(ended) = self.running.try_join_next_with_id() {
            let id = ended.as_ref().map_or_else(|error| error.id(), |(id, ())| *id);
            let certificate = self.names.remove(&id).unwrap_or_default();
            if let Err(error) = ended {
                error!(certificate, error = chain(&error), "The order of a certificate ended by a fault of this program");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn one_that_takes_long_or_fails_badly_keeps_no_other_from_its_try() {
        let mut tries = Tries::default();
        tries.begin("slow", pending());
        tries.begin("bad", async { panic!("a fault of this program") });

        assert!(!tries.may_begin("slow") && tries.may_begin("other"));
        while tries.running.len() > 1 {
            tokio::task::yield_now().await;
            tries.forget_ended();
        }
        assert!(tries.may_begin("bad") && !tries.may_begin("slow"));
        for name in ["a", "b", "c"] {
            tries.begin(name, pending());
        }
        assert!(!tries.may_begin("d"), "a few at once");
    }
}
