//! What comes of a try: a certificate in force, or a note why not; and the end of its challenges.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::resource::{Certificate, Resource};
use cmg_authority::Secret;
use cmg_process::log::chain;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::{AcmeStatus, Challenge, Failed, challenges_place, due, hook, kept, the_site};
use crate::app::change::{ChangeRefused, private_key_name};
use crate::app::warnings;
use crate::site::Site;

/// How long a certificate that has come is kept for a database that refuses for a moment.
const PATIENCE: Duration = Duration::from_secs(600);

/// The pause between two tries to put it in force.
const PAUSE: Duration = Duration::from_secs(5);

/// A certificate that has come, with its key.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key_id: String,
    pub(super) key: Secret,
}

/// Puts a certificate that has come in the place of the one before. ACME servers issue only so many: what is in hand is not given up
/// because the database is busy.
pub(super) async fn put_in_force(site: &Site, ordered: &Certificate, issued: &Issued, tried: &AcmeStatus) -> Result<(), Failed> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match replace(site, ordered, issued, tried).await {
            Err(failed) if is_momentary(&failed) && Instant::now() < deadline => {
                warn!(certificate = ordered.name, error = chain(&failed), "A certificate has come and cannot be stored yet");
                sleep(PAUSE).await;
            }
            ended => return ended,
        }
    }
}

/// Whether the same may succeed a moment later.
fn is_momentary(failed: &Failed) -> bool {
    matches!(failed, Failed::Change(ChangeRefused::Store(_) | ChangeRefused::Stale { .. }))
}

/// In one generation with the end of its challenges.
async fn replace(site: &Site, ordered: &Certificate, issued: &Issued, tried: &AcmeStatus) -> Result<(), Failed> {
    let name = ordered.name.as_str();
    let mut draft = site.draft(&the_site()).await?;
    let present = draft.model.certificates.get(name).cloned();
    let present = demand_unchanged(present.as_ref(), ordered)?;
    let version = draft.change.document(Certificate::KIND, name).await?.map(|document| document.version).unwrap_or_default();
    let resource = Certificate { chain: issued.chain.clone(), key_id: issued.key_id.clone(), ..Certificate::clone(present) };
    let mut status = AcmeStatus { issued_at: Some(draft.now), failures: 0, error: None, key_id: issued.key_id.clone(), ..tried.clone() };
    status.next_at = resource.acme.as_ref().map(|acme| due::next(&resource, acme, &status));
    draft.replace(resource, version).await?;
    let place = private_key_name(name);
    let sealed = site.keys().vault.seal(&place, issued.key.expose()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    draft.change.put_secret(&place, &sealed).await?;
    draft.change.remove_secret(&challenges_place(name)).await?;
    draft.ground.acme.remove(name);
    kept::put_after_try(&mut draft.change, name, status).await?;
    warnings::clear_acme(&mut draft.change, name).await?;
    let generation = draft.commit().await?;
    info!(certificate = name, %generation, "A certificate has come from its ACME server");
    Ok(())
}

/// What somebody has changed meanwhile is not what was ordered.
pub(super) fn demand_unchanged<'c>(present: Option<&'c Arc<Certificate>>, ordered: &Certificate) -> Result<&'c Arc<Certificate>, Failed> {
    let changed = || Failed::Said("the certificate's configuration was changed meanwhile".to_owned());
    present.filter(|present| present.acme == ordered.acme).ok_or_else(changed)
}

/// Notes a failure, and says it once.
pub(super) async fn fail(site: &Site, name: &str, tried: AcmeStatus, failed: &Failed) -> Result<(), Failed> {
    let mut text = chain(failed);
    text.truncate(text.floor_char_boundary(kept::LONGEST_ERROR));
    warn!(certificate = name, error = text, "No certificate came from the ACME server");
    let now = site.now().0 as i64;
    let mut change = site.store.begin(now).await?;
    if !site.in_force().model.certificates.contains_key(name) {
        return Ok(());
    }
    let next_at = Some(now + due::pause(tried.failures));
    kept::put_after_try(&mut change, name, AcmeStatus { error: Some(text.clone()), next_at, ..tried }).await?;
    warnings::raise_acme(&mut change, name, &text).await?;
    Ok(change.commit().await?)
}

/// Takes back what an interrupted try left, in DNS and in force.
pub(super) async fn take_back(site: &Site, name: &str, left: &[Challenge]) {
    take_back_dns(site, left).await;
    if let Err(error) = withdraw(site, name).await {
        error!(certificate = name, error = chain(&error), "Challenges of an interrupted order stay in force for the time being");
    }
}

/// Takes challenges out of force, and out of the database where nothing of them is in force.
pub(super) async fn withdraw(site: &Site, name: &str) -> Result<(), Failed> {
    let mut draft = site.draft(&the_site()).await?;
    draft.change.remove_secret(&challenges_place(name)).await?;
    if draft.ground.acme.remove(name).is_some() {
        draft.publish();
    }
    draft.commit().await?;
    Ok(())
}

/// Takes records out of DNS.
pub(super) async fn take_back_dns(site: &Site, presented: &[Challenge]) {
    for challenge in presented.iter().filter(|challenge| challenge.hook.is_some()) {
        if let Err(error) = hook::run(site, challenge, hook::Action::Cleanup).await {
            warn!(name = challenge.name, error = chain(&error), "A record for an ACME server stays in DNS");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_in_hand_waits_for_a_busy_database_and_not_for_a_changed_order() {
        let busy = cmg_store::Error::Busy("held".into());

        assert!(is_momentary(&busy.into()));
        assert!(!is_momentary(&Failed::Said("the certificate's configuration was changed meanwhile".to_owned())));
    }
}
