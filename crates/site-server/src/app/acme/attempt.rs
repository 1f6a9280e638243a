//! One try to get a certificate, from the note that it begins to the note of how it ended.

use std::sync::Arc;
use std::time::Duration;

use cmg_api::control::GenerationId;
use cmg_api::resource::{Acme, AcmeChallengeKind, Certificate, Resource};
use cmg_process::log::chain;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::outcome::{self, Issued, demand_unchanged};
use super::{AcmeStatus, Challenge, Failed, due, hook, kept, members, order, the_site};
use crate::app::certificates::pair_of;
use crate::site::Site;

/// The longest that an order may take. Each of its steps is bounded too; of a hundred names there are many.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Whether it is to be tried. Why it waits is noted.
pub(super) async fn is_due(site: &Site, certificate: &Certificate, acme: &Acme) -> Result<bool, Failed> {
    let name = certificate.name.as_str();
    let status = kept::status(&mut site.store.view().await?, name).await?;
    if due::next(certificate, acme, &status) > now(site) {
        return Ok(false);
    }
    let reason = match acme.challenge {
        AcmeChallengeKind::Dns01 => None,
        AcmeChallengeKind::TlsAlpn01 | AcmeChallengeKind::Http01 => members::missing(site, name).await?,
    };
    if reason.is_some() && reason != status.waits_for {
        info!(certificate = name, reason, "A certificate is not ordered yet");
        kept::note(site, name, |present| Some(AcmeStatus { waits_for: reason.clone(), ..present })).await?;
    }
    Ok(reason.is_none())
}

/// Gets a certificate. What fails is noted.
pub(super) async fn attempt(site: Arc<Site>, certificate: Arc<Certificate>) {
    let Some(acme) = &certificate.acme else { return };
    if let Err(error) = try_once(&site, &certificate, acme).await {
        error!(certificate = certificate.name, error = chain(&error), "Nothing can be noted about a certificate's order");
    }
}

async fn try_once(site: &Site, certificate: &Certificate, acme: &Acme) -> Result<(), Failed> {
    let name = certificate.name.as_str();
    let Some(tried) = begin(site, certificate, acme).await? else { return Ok(()) };
    info!(certificate = name, directory = acme.directory, "Ordering a certificate");
    let mut presented = Vec::new();
    let late = |_| Failed::Said(format!("the order took more than {} minutes", LONGEST.as_secs() / 60));
    let ordered = timeout(LONGEST, order(site, certificate, acme, &mut presented)).await.map_err(late);
    let ended = match ordered.flatten() {
        Ok((issued, silent)) => outcome::put_in_force(site, certificate, &issued, &AcmeStatus { silent, ..tried.clone() }).await,
        Err(failed) => Err(failed),
    };
    outcome::take_back_dns(site, &presented).await;
    let Err(failed) = ended else { return Ok(()) };
    outcome::fail(site, name, tried, &failed).await?;
    outcome::withdraw(site, name).await
}

/// Notes that a try begins; none: it is not due any more.
///
/// A try that is cut off counts as one that failed: a server that dies of it must not ask again and again.
async fn begin(site: &Site, certificate: &Certificate, acme: &Acme) -> Result<Option<AcmeStatus>, Failed> {
    let now = now(site);
    kept::note(site, &certificate.name, |before| {
        let failures = before.failures + 1;
        (due::next(certificate, acme, &before) <= now).then(|| AcmeStatus {
            tried_at: Some(now),
            is_asked: false,
            failures,
            error: Some("the try before was cut off".to_owned()),
            wanted: due::fingerprint(acme),
            waits_for: None,
            silent: Vec::new(),
            next_at: Some(now + due::pause(failures)),
            ..before
        })
    })
    .await
}

/// Orders and proves. The members that were not waited for are beside; `presented`: challenges in DNS, for whoever cleans up.
async fn order(
    site: &Site,
    certificate: &Certificate,
    acme: &Acme,
    presented: &mut Vec<Challenge>,
) -> Result<(Issued, Vec<String>), Failed> {
    let (account, mut order) = order::begin(site, &certificate.name, acme).await?;
    let given = order::challenges(&mut order, acme).await?;
    let mut silent = Vec::new();
    if !given.is_empty() {
        silent = prove(site, certificate, acme, &given, presented).await?;
        order::ask_to_look(&mut order, acme).await?;
    }
    let (chain, key) = order::finish(&mut order).await?;
    drop(account);
    let (chain, key_id, key) = pair_of(chain, key).map_err(|problem| Failed::Said(problem.to_string()))?;
    due::judge(&chain, &acme.names, now(site))?;
    Ok((Issued { chain, key_id, key }, silent))
}

/// Sees to it that whoever the ACME server asks has the answer. The members that were not waited for.
async fn prove(
    site: &Site,
    certificate: &Certificate,
    acme: &Acme,
    given: &[Challenge],
    presented: &mut Vec<Challenge>,
) -> Result<Vec<String>, Failed> {
    // Those of DNS too, so that records of an interrupted order are taken back.
    let generation = publish(site, certificate, given).await?;
    if acme.challenge == AcmeChallengeKind::Dns01 {
        for challenge in given {
            // One that fails may have done its work by half.
            presented.push(challenge.clone());
            hook::run(site, challenge, hook::Action::Present).await?;
        }
        return Ok(Vec::new());
    }
    let silent = members::have(site, &certificate.name, acme.challenge, generation).await?;
    if !silent.is_empty() {
        warn!(certificate = certificate.name, members = silent.join(", "), "Instances are silent, and were not waited for");
    }
    Ok(silent)
}

/// Puts challenges in force.
async fn publish(site: &Site, certificate: &Certificate, given: &[Challenge]) -> Result<GenerationId, Failed> {
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

fn now(site: &Site) -> i64 {
    site.now().0 as i64
}
