//! Revocation lists of client authorities: fetched from their distribution points, verified, published when they changed.
//!
//! A list counts when it is complete (no delta, not indirect), signed by an authority of its trust, in force, and not older than the one
//! held. An address serves the lists of one issuer: one that serves another's instead would take away the revocations of the first.
//! Whatever fails is noted with its reason, and the last good list stays. Lists prove themselves, so plain `http` will do.

use std::sync::Arc;

use cmg_api::WhenStale;
use cmg_api::resource::ClientTrust;
use cmg_core::problem::Problem;
use cmg_core::trust::Trust;
use cmg_process::dice;
use cmg_store::Crl;
use pki_types::CertificateRevocationListDer;
use pki_types::pem::PemObject;
use tracing::{info, warn};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::change::{Actor, ChangeRefused, Draft};
use super::fetching::{Fetcher, Reach, side_by_side};
use super::in_force::SITE_CLIENTS;
use super::model::Model;
use super::publish::{Ground, everything};
use super::text::time;
use crate::site::Site;

/// The largest list, in bytes: a million revoked certificates have about 40 MB.
const LARGEST: usize = 64 << 20;

/// The shortest time between two looks at a list that is good, in seconds.
const SOONEST: i64 = 10 * 60;

/// The longest, in seconds.
const LATEST: i64 = 60 * 60;

/// When a source that failed is tried again, in seconds; up to half as much more, so that many do not come at once.
const AGAIN: i64 = 60;

/// How far the clock of an authority may be ahead, in seconds.
const SKEW: i64 = 300;

/// Why a list does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListRefused {
    /// It cannot be read, or not by the code that members read it by.
    #[error("{0}")]
    Unusable(String),
    /// Nobody of the trust has signed it.
    #[error("it is signed by \"{0}\", which is no authority of this trust: add that authority, or take the list's address away")]
    Foreign(String),
    /// Its time is over.
    #[error("its next update was due on {0}: have the authority publish a new one")]
    Expired(String),
    /// Its time has not come.
    #[error("it counts only from {0}: set the clocks of this machine and of the authority")]
    NotYet(String),
    /// It would take the place of another issuer's.
    #[error(
        "it is the list of \"{0}\", and the one held is that of \"{1}\": give each issuer an address of its own, or take the other authority out"
    )]
    OtherIssuer(String, String),
    /// There is a newer one already.
    #[error("it is older than the one held, of {0}: an old copy is served there")]
    Older(String),
}

/// What a list says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dates {
    /// `thisUpdate`, in seconds since 1970.
    pub this_update: i64,
    /// `nextUpdate`, in seconds since 1970.
    pub next_update: i64,
}

/// What became of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The address.
    pub source: String,
    /// Whether there is another list than before; or why there is none.
    pub outcome: Result<bool, String>,
}

/// Judges a list of `trust` (DER) at `now`; `held` is the one that it would replace. Its next update must not have been due at `not_over_at`.
pub fn judge(
    trust: &ClientTrust,
    ground: &Ground,
    der: &[u8],
    held: Option<&[u8]>,
    now: i64,
    not_over_at: i64,
) -> Result<Dates, ListRefused> {
    let trust = without_lists(trust, ground)?;
    // The form first: a delta list is told to be one, whoever signed it.
    let judged = Trust { lists: vec![der.to_vec()], ..trust };
    cmg_credentials::ClientTrust::new(&judged).map_err(|problems| ListRefused::Unusable(told(&problems)))?;
    let list = parsed(der).ok_or_else(unreadable)?;
    demand_known(&judged, &list)?;
    let dates = dates(&list).ok_or_else(unreadable)?;
    if dates.next_update <= not_over_at {
        return Err(ListRefused::Expired(time(dates.next_update)));
    }
    if dates.this_update > now + SKEW {
        return Err(ListRefused::NotYet(time(dates.this_update)));
    }
    match held.and_then(parsed) {
        Some(before) if list.issuer().as_raw() != before.issuer().as_raw() => match demand_known(&judged, &before) {
            Ok(()) => Err(ListRefused::OtherIssuer(list.issuer().to_string(), before.issuer().to_string())),
            // Its authority is gone, and so is what it was good for.
            Err(_) => Ok(dates),
        },
        Some(before) if is_older(&list, &before) => Err(ListRefused::Older(time(before.last_update().timestamp()))),
        _ => Ok(dates),
    }
}

fn without_lists(trust: &ClientTrust, ground: &Ground) -> Result<Trust, ListRefused> {
    let own = ClientTrust { crls: Vec::new(), ..trust.clone() };
    let ground = Ground { site_clients: ground.site_clients.clone(), ..Ground::default() };
    let parts = everything::trust(&own, &ground).map_err(|problems| ListRefused::Unusable(told(&problems)))?;
    parts.trusts.into_iter().next().ok_or_else(|| ListRefused::Unusable("the trust cannot be read".to_owned()))
}

/// Leaves out fetched lists that bear the name of an authority and not its signature, where authorities have changed: one may be replaced
/// by another of the same name, whose list is fetched next. What was left out, by trust.
pub(crate) fn leave_out_misfits(before: &Model, model: &Model, ground: &mut Ground) -> Vec<(String, Arc<[u8]>)> {
    let mut out = Vec::new();
    for trust in model.trusts.values() {
        let authorities = |trust: &ClientTrust| (trust.authorities.clone(), trust.intermediates.clone(), trust.site_clients);
        if before.trusts.get(&trust.name).is_some_and(|before| authorities(before) == authorities(trust)) {
            continue;
        }
        let Ok(judged) = without_lists(trust, ground) else { continue };
        let Some(lists) = ground.fetched_lists.get_mut(&trust.name) else { continue };
        let fits = |list: &Arc<[u8]>| cmg_credentials::ClientTrust::new(&Trust { lists: vec![list.to_vec()], ..judged.clone() }).is_ok();
        out.extend(lists.extract_if(.., |list| !fits(list)).map(|list| (trust.name.clone(), list)));
    }
    ground.fetched_lists.retain(|_, lists| !lists.is_empty());
    out
}

fn told(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{}; {}", problem.what, problem.instead)).collect::<Vec<_>>().join("; ")
}

fn unreadable() -> ListRefused {
    ListRefused::Unusable("it is no X.509 revocation list with a next update".to_owned())
}

fn parsed(der: &[u8]) -> Option<CertificateRevocationList<'_>> {
    CertificateRevocationList::from_der(der).ok().map(|(_, list)| list)
}

fn dates(list: &CertificateRevocationList<'_>) -> Option<Dates> {
    Some(Dates { this_update: list.last_update().timestamp(), next_update: list.next_update()?.timestamp() })
}

/// Members take a list of an unknown name, since clients may send its issuer; what the site fetches on purpose must belong to the trust.
fn demand_known(trust: &Trust, list: &CertificateRevocationList<'_>) -> Result<(), ListRefused> {
    let issuer = list.issuer().as_raw();
    let mut authorities = trust.authorities.iter().chain(&trust.intermediates);
    let is_known = authorities.any(|der| X509Certificate::from_der(der).is_ok_and(|(_, authority)| authority.subject().as_raw() == issuer));
    if is_known { Ok(()) } else { Err(ListRefused::Foreign(list.issuer().to_string())) }
}

/// Of two lists of one issuer: by their numbers where both have one, else by when they were made.
fn is_older(list: &CertificateRevocationList<'_>, held: &CertificateRevocationList<'_>) -> bool {
    match (list.crl_number(), held.crl_number()) {
        (Some(number), Some(before)) => number < before,
        _ => list.last_update().timestamp() < held.last_update().timestamp(),
    }
}

/// Fetches every list of a trust, and publishes what changed.
pub async fn sync(site: &Site, fetcher: &Fetcher, trust: &ClientTrust, now: i64) -> Result<Vec<Synced>, ChangeRefused> {
    sync_some(site, fetcher, trust, now, |_| true).await
}

/// Fetches every list that is due, and forgets those whose address was taken away.
pub async fn sync_due(site: &Site, fetcher: &Fetcher, now: i64) -> Result<(), ChangeRefused> {
    forget(site).await?;
    let in_force = site.in_force();
    let trusts = in_force.model.trusts.values().filter(|trust| !trust.crl_urls.is_empty());
    let due = trusts.map(|trust| sync_some(site, fetcher, trust, now, |known| is_due(known, now)));
    side_by_side(due.collect()).await.into_iter().find_map(Result::err).map_or(Ok(()), Err)
}

fn is_due(known: Option<&Crl>, now: i64) -> bool {
    known.is_none_or(|known| now >= due(known) + if known.error.is_some() { dice::draw() as i64 & 31 } else { 0 })
}

/// When a source is looked at again.
pub fn due(known: &Crl) -> i64 {
    match (&known.error, known.next_update, known.fetched_at) {
        (None, Some(next_update), Some(fetched_at)) => known.tried_at + ((next_update - fetched_at) / 2).clamp(SOONEST, LATEST),
        _ => known.tried_at + AGAIN,
    }
}

async fn sync_some(
    site: &Site,
    fetcher: &Fetcher,
    trust: &ClientTrust,
    now: i64,
    wanted: impl Fn(Option<&Crl>) -> bool,
) -> Result<Vec<Synced>, ChangeRefused> {
    let known = site.store.crls_of(&trust.name).await?;
    let authorities = pem_certificates(&trust.authorities);
    let fetcher = fetcher.and(authorities);
    let mut due = Vec::new();
    for source in &trust.crl_urls {
        let held = known.iter().find(|crl| crl.source == *source);
        if wanted(held) {
            due.push(sync_one(site, &fetcher, trust, source, held, now));
        }
    }
    side_by_side(due).await.into_iter().collect()
}

async fn sync_one(
    site: &Site,
    fetcher: &Fetcher,
    trust: &ClientTrust,
    source: &str,
    held: Option<&Crl>,
    now: i64,
) -> Result<Synced, ChangeRefused> {
    let outcome = match fetched(site, fetcher, trust, source, held, now).await {
        Ok((der, dates)) => Ok(keep(site, trust, source, der, dates, now).await?),
        Err(error) => {
            warn!(trust = trust.name, source, error, "A revocation list could not be fetched");
            let mut change = site.store.begin(now).await?;
            change.note_crl_failure(&trust.name, source, &error).await?;
            change.commit().await?;
            Err(error)
        }
    };
    Ok(Synced { source: source.to_owned(), outcome })
}

fn pem_certificates(texts: &[String]) -> Vec<Vec<u8>> {
    let of_text = |text: &String| {
        pki_types::CertificateDer::pem_slice_iter(text.as_bytes()).filter_map(Result::ok).map(|der| der.to_vec()).collect::<Vec<_>>()
    };
    texts.iter().flat_map(of_text).collect()
}

async fn fetched(
    site: &Site,
    fetcher: &Fetcher,
    trust: &ClientTrust,
    source: &str,
    held: Option<&Crl>,
    now: i64,
) -> Result<(Vec<u8>, Dates), String> {
    let reach = Reach::of(trust.allow_private_addresses, source);
    let bytes = fetcher.any(source, LARGEST, reach).await.map_err(|error| error.to_string())?;
    let der = match bytes.first() {
        Some(0x30) => bytes,
        _ => one_of_pem(&bytes).ok_or("it is no revocation list: neither DER nor one list in PEM")?,
    };
    let (trust, held, in_force) = (trust.clone(), held.and_then(|held| held.der.clone()), site.in_force());
    // A large list is read for a while, so not among other work.
    let judged = tokio::task::spawn_blocking(move || {
        let dates = judge(&trust, &in_force.ground, &der, held.as_deref(), now, now)?;
        Ok((der, dates))
    });
    judged.await.map_err(|error| error.to_string())?.map_err(|refused: ListRefused| refused.to_string())
}

fn one_of_pem(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut lists = CertificateRevocationListDer::pem_slice_iter(bytes);
    match (lists.next(), lists.next()) {
        (Some(Ok(list)), None) => Some(list.to_vec()),
        _ => None,
    }
}

/// Stores a list, and publishes it if it is another one than before.
async fn keep(site: &Site, trust: &ClientTrust, source: &str, der: Vec<u8>, dates: Dates, now: i64) -> Result<bool, ChangeRefused> {
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    let is_wanted = draft.model.trusts.get(&trust.name).is_some_and(|trust| trust.crl_urls.iter().any(|url| url == source));
    if !is_wanted {
        return Ok(false);
    }
    let before = draft.change.crls_of(&trust.name).await?.into_iter().find(|crl| crl.source == source);
    let is_changed = before.and_then(|before| before.der).as_ref() != Some(&der);
    let crl = Crl {
        trust: trust.name.clone(),
        source: source.to_owned(),
        der: Some(der),
        this_update: Some(dates.this_update),
        next_update: Some(dates.next_update),
        fetched_at: Some(now),
        tried_at: now,
        error: None,
    };
    draft.change.put_crl(&crl).await?;
    if is_changed {
        let after = serde_json::json!({ "source": source, "this_update": dates.this_update, "next_update": dates.next_update });
        draft.record("sync", "trust", &trust.name, None, Some(after.to_string())).await?;
        publish(&mut draft, &trust.name).await?;
        let generation = draft.commit().await?;
        info!(trust = trust.name, source, %generation, "A revocation list changed");
    } else {
        draft.commit().await?;
    }
    Ok(is_changed)
}

/// Puts the stored lists of a trust in force, in the order in which every site server reads them.
async fn publish(draft: &mut Draft<'_>, trust: &str) -> Result<(), ChangeRefused> {
    let stored = draft.change.crls_of(trust).await?;
    let lists: Vec<_> = stored.into_iter().filter_map(|crl| crl.der).map(Arc::from).collect();
    match lists.is_empty() {
        true => _ = draft.ground.fetched_lists.remove(trust),
        false => _ = draft.ground.fetched_lists.insert(trust.to_owned(), lists),
    }
    draft.publish();
    Ok(())
}

/// Lists of trusts that are gone, and of addresses that were taken away, count no more.
async fn forget(site: &Site) -> Result<(), ChangeRefused> {
    let model = &site.in_force().model;
    let is_wanted =
        |crl: &Crl| crl.trust == SITE_CLIENTS || model.trusts.get(&crl.trust).is_some_and(|trust| trust.crl_urls.contains(&crl.source));
    if site.store.crls().await?.iter().all(is_wanted) {
        return Ok(());
    }
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    let model = draft.model.clone();
    let is_wanted =
        |crl: &Crl| crl.trust == SITE_CLIENTS || model.trusts.get(&crl.trust).is_some_and(|trust| trust.crl_urls.contains(&crl.source));
    for crl in draft.change.crls().await?.into_iter().filter(|crl| !is_wanted(crl)) {
        draft.change.remove_crl(&crl.trust, &crl.source).await?;
        publish(&mut draft, &crl.trust).await?;
    }
    draft.commit().await?;
    Ok(())
}

/// What is wrong with the lists that were uploaded with a trust.
pub(crate) fn uploaded_problems(trust: &ClientTrust, now: i64) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (place, text) in trust.crls.iter().enumerate() {
        let key = format!("crls[{place}]");
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).collect();
        let Some(lists) = lists.ok().filter(|lists| !lists.is_empty()) else {
            problems.push(Problem::new(key, "it holds no revocation list", "write one or more lists as PEM"));
            continue;
        };
        for list in lists {
            // Who grants a grace because a list has just run out must not have to replace the list first.
            let believed_since = match trust.stale_crl {
                WhenStale::Deny => now,
                WhenStale::Grace(grace) => now - grace.time().as_secs() as i64,
                WhenStale::Allow => i64::MIN,
            };
            if let Err(refused) = judge(trust, &Ground::default(), &list, None, now, believed_since) {
                let instead = "upload the list that the authority publishes, or leave it out and write its address in crl_urls";
                problems.push(Problem::new(key.clone(), refused.to_string(), instead));
            }
        }
    }
    problems
}
