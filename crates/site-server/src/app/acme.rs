//! Server certificates from ACME servers (RFC 8555): ordered, put in force and renewed by the site, on one site server at a time.
//!
//! An order proves each name by a challenge. The challenge goes to gateways as part of a generation, and the ACME server is told to look
//! only when every instance says that it has that generation in force, so that it does not matter which of them is asked. A try that was
//! cut off is begun anew: nothing of an order is kept but what is in force at gateways, which the next look takes back.
//!
//! `written` judges what an administrator wrote, `kept` is what the database holds, `due` says when to try, `order` speaks with the ACME
//! server over `wire`, `members` waits for gateways, `hook` has DNS changed.

mod due;
mod hook;
mod kept;
mod members;
mod order;
mod wire;
mod written;

use std::sync::Arc;
use std::time::Duration;

use cmg_api::resource::{Acme, AcmeChallengeKind, Certificate, Resource};
use cmg_authority::Secret;
use cmg_process::log::chain;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::certificates::pair_of;
use super::change::{Actor, ChangeRefused, private_key_name};
use super::warnings;
use crate::site::Site;
pub use kept::{AcmeStatus, Challenge};
pub(crate) use kept::{account_place, challenges_place, external_key_place, status, status_place, stored_challenges};
pub(crate) use written::{external_key, problems, unknown_hook};

/// How often it is looked whether anything is due. Little is read where nothing is.
const LOOK: Duration = Duration::from_secs(3);

/// How often a renewal is asked for at most, in seconds.
pub const SELDOM: i64 = 60;

/// Why no certificate came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The ACME server refuses, or cannot be asked.
    #[error("the ACME server gave no certificate")]
    Server(#[from] instant_acme::Error),
    /// In words.
    #[error("{0}")]
    Said(String),
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl From<cmg_store::Error> for Failed {
    fn from(error: cmg_store::Error) -> Self {
        Self::Change(error.into())
    }
}

/// Why no renewal begins.
#[derive(Debug, thiserror::Error)]
pub enum RenewRefused {
    /// There is no such certificate.
    #[error("there is no certificate \"{0}\"")]
    NotFound(String),
    /// It is uploaded.
    #[error("certificate \"{0}\" is uploaded: upload its successor under the same name")]
    Uploaded(String),
    /// It was asked for a moment ago.
    #[error("a renewal was asked for less than a minute ago: ask again in {0} s")]
    TooSoon(i64),
    /// The change was refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

/// Asks for a new certificate now. Whoever does the site's jobs sees to it within seconds.
pub async fn renew(site: &Site, actor: &Actor, name: &str) -> Result<AcmeStatus, RenewRefused> {
    let mut draft = site.draft(actor).await?;
    let certificate = draft.model.certificates.get(name).cloned().ok_or_else(|| RenewRefused::NotFound(name.to_owned()))?;
    if certificate.acme.is_none() {
        return Err(RenewRefused::Uploaded(name.to_owned()));
    }
    let before = status(&mut draft.change, name).await.map_err(ChangeRefused::from)?;
    if let Some(asked_at) = before.asked_at.filter(|asked_at| draft.now < asked_at + SELDOM) {
        return Err(RenewRefused::TooSoon(asked_at + SELDOM - draft.now));
    }
    let after = AcmeStatus { asked_at: Some(draft.now), is_asked: true, next_at: Some(draft.now), ..before };
    kept::put_status(&mut draft.change, name, &after).await.map_err(ChangeRefused::from)?;
    draft.record("renew", Certificate::KIND, name, None, None).await?;
    draft.commit().await?;
    Ok(after)
}

/// Orders whatever is due, until dropped.
pub(crate) async fn run(site: &Site) {
    let mut newest = site.newest();
    loop {
        newest.mark_unchanged();
        look(site).await;
        tokio::select! {
            () = sleep(LOOK) => {}
            Ok(()) = newest.changed() => sleep(LOOK / 3).await,
        }
    }
}

/// Takes back what an interrupted try left, and orders what is due, one after the other.
async fn look(site: &Site) {
    let in_force = site.in_force();
    for (name, challenges) in &in_force.ground.acme {
        if let Err(error) = withdraw(site, name, challenges).await {
            error!(certificate = name, error = chain(&error), "Challenges of an interrupted order stay in force for the time being");
        }
    }
    for certificate in in_force.model.certificates.values() {
        let Some(acme) = &certificate.acme else { continue };
        if let Err(error) = keep(site, certificate, acme).await {
            error!(certificate = certificate.name, error = chain(&error), "Nothing can be noted about a certificate's order");
        }
    }
}

/// Gets a certificate if it is due. What fails is noted.
async fn keep(site: &Site, certificate: &Arc<Certificate>, acme: &Acme) -> Result<(), Failed> {
    let (name, now) = (certificate.name.as_str(), site.now().0 as i64);
    let before = status(&mut site.store.view().await?, name).await?;
    if due::next(certificate, acme, &before) > now {
        return Ok(());
    }
    if let Some(reason) = waits_for(site, name, acme).await? {
        return wait(site, name, before, reason).await;
    }
    // A try that is cut off counts as one that failed: a server that dies of it must not ask again and again.
    let failures = before.failures + 1;
    let tried = AcmeStatus {
        tried_at: Some(now),
        is_asked: false,
        failures,
        error: Some("the try before was cut off".to_owned()),
        wanted: due::fingerprint(acme),
        waits_for: None,
        silent: Vec::new(),
        next_at: Some(now + due::pause(failures)),
        ..before
    };
    kept::note(site, name, &tried).await?;
    info!(certificate = name, directory = acme.directory, "Ordering a certificate");
    let mut given = Vec::new();
    let ordered = order(site, certificate, acme, tried.clone(), &mut given).await;
    take_back_dns(site, &given).await;
    let Err(failed) = ordered else { return Ok(()) };
    fail(site, name, tried, &failed).await?;
    withdraw(site, name, &[]).await
}

/// Why nothing can be ordered yet, which is no failure.
async fn waits_for(site: &Site, name: &str, acme: &Acme) -> Result<Option<String>, Failed> {
    match acme.challenge {
        AcmeChallengeKind::Dns01 => Ok(None),
        AcmeChallengeKind::TlsAlpn01 | AcmeChallengeKind::Http01 => members::missing(site, name).await,
    }
}

async fn wait(site: &Site, name: &str, before: AcmeStatus, reason: String) -> Result<(), Failed> {
    if before.waits_for.as_ref() == Some(&reason) {
        return Ok(());
    }
    info!(certificate = name, reason, "A certificate is not ordered yet");
    kept::note(site, name, &AcmeStatus { waits_for: Some(reason), ..before }).await
}

/// Orders, proves, and puts in force. `given`: the challenges, for whoever cleans up.
async fn order(
    site: &Site,
    certificate: &Arc<Certificate>,
    acme: &Acme,
    tried: AcmeStatus,
    given: &mut Vec<Challenge>,
) -> Result<(), Failed> {
    let name = certificate.name.as_str();
    let (account, mut order) = order::begin(site, name, acme).await?;
    *given = order::challenges(&mut order, acme).await?;
    let mut silent = Vec::new();
    if !given.is_empty() {
        silent = prove(site, certificate, acme, given).await?;
        order::ask_to_look(&mut order, acme.challenge).await?;
    }
    let (chain, key) = order::finish(&mut order).await?;
    drop(account);
    let (chain, key_id, key) = pair_of(chain, key).map_err(|problem| Failed::Said(problem.to_string()))?;
    due::demand_names(&chain, &acme.names)?;
    let issued = Issued { chain, key_id, key };
    put_in_force(site, certificate, issued, AcmeStatus { silent, ..tried }).await
}

/// A certificate that has come, with its key.
struct Issued {
    chain: String,
    key_id: String,
    key: Secret,
}

/// Sees to it that whoever the ACME server asks has the answer. The members that were not waited for.
async fn prove(site: &Site, certificate: &Certificate, acme: &Acme, given: &[Challenge]) -> Result<Vec<String>, Failed> {
    if acme.challenge == AcmeChallengeKind::Dns01 {
        // Kept, so that records of an interrupted order are taken back.
        publish(site, certificate, given).await?;
        for challenge in given {
            hook::run(site, challenge, hook::Action::Present).await?;
        }
        return Ok(Vec::new());
    }
    let generation = publish(site, certificate, given).await?;
    let silent = members::have(site, &certificate.name, acme.challenge, generation).await?;
    if !silent.is_empty() {
        warn!(certificate = certificate.name, members = silent.join(", "), "Instances are silent, and were not waited for");
    }
    Ok(silent)
}

/// Puts challenges in force.
async fn publish(site: &Site, certificate: &Certificate, given: &[Challenge]) -> Result<cmg_api::control::GenerationId, Failed> {
    let mut draft = site.draft(&the_site()).await?;
    demand_unchanged(draft.model.certificates.get(&certificate.name), certificate)?;
    kept::put_challenges(&mut draft.change, &certificate.name, given).await?;
    draft.ground.acme.insert(certificate.name.clone(), given.to_vec());
    let names: Vec<&str> = given.iter().map(|challenge| challenge.name.as_str()).collect();
    let after = serde_json::json!({ "challenges": names }).to_string();
    draft.record("challenge", Certificate::KIND, &certificate.name, None, Some(after)).await?;
    draft.publish();
    Ok(draft.commit().await?)
}

/// Takes challenges out of force, and out of DNS.
async fn withdraw(site: &Site, name: &str, left: &[Challenge]) -> Result<(), Failed> {
    take_back_dns(site, left).await;
    let mut draft = site.draft(&the_site()).await?;
    if draft.ground.acme.remove(name).is_none() {
        return Ok(());
    }
    draft.change.remove_secret(&challenges_place(name)).await?;
    draft.publish();
    draft.commit().await?;
    Ok(())
}

async fn take_back_dns(site: &Site, given: &[Challenge]) {
    for challenge in given.iter().filter(|challenge| challenge.hook.is_some()) {
        if let Err(error) = hook::run(site, challenge, hook::Action::Cleanup).await {
            warn!(name = challenge.name, error = chain(&error), "A record for an ACME server stays in DNS");
        }
    }
}

/// Puts a certificate that has come in the place of the one before, in one generation with the end of its challenges.
async fn put_in_force(site: &Site, ordered: &Certificate, issued: Issued, tried: AcmeStatus) -> Result<(), Failed> {
    let Issued { chain, key_id, key } = issued;
    let name = ordered.name.as_str();
    let mut draft = site.draft(&the_site()).await?;
    let present = draft.model.certificates.get(name).cloned();
    let present = demand_unchanged(present.as_ref(), ordered)?;
    let version = draft.change.document(Certificate::KIND, name).await?.map(|document| document.version).unwrap_or_default();
    let resource = Certificate { chain, key_id: key_id.clone(), ..Certificate::clone(present) };
    let next_at = due::renewal(&resource);
    draft.replace(resource, version).await?;
    let place = private_key_name(name);
    let sealed = site.keys().vault.seal(&place, key.expose()).map_err(|error| ChangeRefused::Failed(Box::new(error)))?;
    draft.change.put_secret(&place, &sealed).await?;
    draft.change.remove_secret(&challenges_place(name)).await?;
    draft.ground.acme.remove(name);
    let status = AcmeStatus { issued_at: Some(draft.now), failures: 0, error: None, key_id, next_at, ..tried };
    kept::put_status(&mut draft.change, name, &status).await?;
    warnings::clear_acme(&mut draft.change, name).await?;
    let generation = draft.commit().await?;
    info!(certificate = name, %generation, "A certificate has come from its ACME server");
    Ok(())
}

/// What somebody has changed meanwhile is not what was ordered.
fn demand_unchanged<'c>(present: Option<&'c Arc<Certificate>>, ordered: &Certificate) -> Result<&'c Arc<Certificate>, Failed> {
    let changed = || Failed::Said("the certificate's configuration was changed meanwhile".to_owned());
    present.filter(|present| present.acme == ordered.acme).ok_or_else(changed)
}

/// Notes a failure, and says it once.
async fn fail(site: &Site, name: &str, tried: AcmeStatus, failed: &Failed) -> Result<(), Failed> {
    let mut text = chain(failed);
    text.truncate(text.floor_char_boundary(kept::LONGEST_ERROR));
    warn!(certificate = name, error = text, "No certificate came from the ACME server");
    let now = site.now().0 as i64;
    let mut change = site.store.begin(now).await?;
    if !site.in_force().model.certificates.contains_key(name) {
        return Ok(());
    }
    let next_at = Some(now + due::pause(tried.failures));
    kept::put_status(&mut change, name, &AcmeStatus { error: Some(text.clone()), next_at, ..tried }).await?;
    warnings::raise_acme(&mut change, name, &text).await?;
    Ok(change.commit().await?)
}

/// Who changes what the site changes by itself.
fn the_site() -> Actor {
    Actor { account: "site".to_owned(), ..Actor::default() }
}
