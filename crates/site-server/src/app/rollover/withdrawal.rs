//! A signing key that somebody else has: nothing that it has signed counts any more, anywhere.
//!
//! A key of tokens is published no more, so its tokens name a key that nobody knows. A key of snapshots proves itself by its certificate,
//! so members are told to refuse that, as they are of members' certificates that were revoked.

use cmg_api::control::GenerationId;
use cmg_authority::{SnapshotSigner, TokenSigner};
use cmg_core::problem::Problem;
use cmg_credentials::facts::certificate_facts;
use cmg_store::{CertificateFilter, IssuedCertificate};
use tracing::info;

use super::{KIND, Purpose, Shown, copy, put, unreadable};
use crate::app::change::{Actor, ChangeRefused, Draft};
use crate::app::issued_certificates::MEMBERS;
use crate::app::text::hex;
use crate::site::Site;

/// Whom the certificates of keys that sign snapshots name.
const SIGNERS: &str = "snapshot/";

/// Earlier keys of snapshots that are shown.
const MOST_SHOWN: u32 = 500;

/// Withdraws the key of this thumbprint at once: nothing that it has signed counts any more. One that is withdrawn already stays so.
///
/// A key that signs is withdrawn where its successor waits, which signs from then on whether or not every member knows it yet: they learn
/// of both together. A key of snapshots is named among the certificates that members refuse, and the epoch rises, so that they follow the
/// site whatever numbers somebody else has signed meanwhile.
pub async fn withdraw(site: &Site, actor: &Actor, thumbprint: &str) -> Result<GenerationId, ChangeRefused> {
    let mut draft = site.draft(actor).await?;
    for purpose in Purpose::ALL {
        let Some((place, _)) = purpose.of_tokens() else { continue };
        let known = draft.keys.rollovers[place].withdrawn.iter().any(|known| known == thumbprint);
        if known || withdraw_token_key(&mut draft, purpose, place, thumbprint).await? {
            return draft.commit().await;
        }
    }
    withdraw_snapshot_key(&mut draft, thumbprint).await?;
    draft.commit().await
}

/// Whether it was one of these.
async fn withdraw_token_key(draft: &mut Draft<'_>, purpose: Purpose, place: usize, thumbprint: &str) -> Result<bool, ChangeRefused> {
    let is_meant = |signer: &TokenSigner| signer.thumbprint() == thumbprint;
    let mut rollover = copy(&draft.keys, place)?;
    if is_meant(&draft.keys.tokens[place]) {
        let Some(next) = rollover.next.take() else { return Err(only_one(purpose)) };
        put(draft, purpose.place(), &next.signer.to_secret()).await?;
    } else if rollover.signers().any(is_meant) {
        rollover.next = rollover.next.filter(|next| !is_meant(&next.signer));
        rollover.earlier.retain(|earlier| !is_meant(&earlier.signer));
    } else {
        return Ok(false);
    }
    rollover.withdrawn.push(thumbprint.to_owned());
    put(draft, purpose.rollover(), &rollover.to_secret()).await?;
    record_withdrawn(draft, purpose, thumbprint).await.map(|()| true)
}

async fn withdraw_snapshot_key(draft: &mut Draft<'_>, thumbprint: &str) -> Result<(), ChangeRefused> {
    if own_certificate(&draft.keys.snapshots).is_some_and(|own| own.fingerprint == thumbprint) {
        return Err(only_one(Purpose::Snapshots));
    }
    let found = draft.change.certificate_by_fingerprint(thumbprint).await?;
    let not_found = || ChangeRefused::NotFound { kind: KIND, name: thumbprint.to_owned() };
    let certificate = found.filter(is_signer).ok_or_else(not_found)?;
    if certificate.revoked_at.is_some() {
        return Ok(());
    }
    draft.change.revoke_certificate(&certificate.serial).await?;
    draft.raise_epoch().await?;
    record_withdrawn(draft, Purpose::Snapshots, thumbprint).await
}

fn is_signer(certificate: &IssuedCertificate) -> bool {
    certificate.authority == MEMBERS && certificate.subject.starts_with(SIGNERS)
}

fn only_one(purpose: Purpose) -> ChangeRefused {
    let (what, instead) = ("it is the only key of its kind", format!("make a successor first: cmg keys roll {}", purpose.name()));
    ChangeRefused::Problems(vec![Problem::new("key", what, instead)])
}

async fn record_withdrawn(draft: &mut Draft<'_>, purpose: Purpose, thumbprint: &str) -> Result<(), ChangeRefused> {
    draft.read_keys().await?;
    info!(key = purpose.name(), thumbprint, "A signing key is withdrawn");
    let before = serde_json::json!({ "thumbprint": thumbprint }).to_string();
    draft.record("withdraw", KIND, purpose.name(), Some(before), None).await
}

/// Keys that signed snapshots before and are not withdrawn: what they have signed counts until their certificates end.
pub async fn earlier_of_snapshots(site: &Site) -> Result<Vec<Shown>, cmg_store::Error> {
    let filter = CertificateFilter { authority: Some(MEMBERS), search: Some(SIGNERS) };
    let (page, now) = (site.store.certificate_page(filter, None, MOST_SHOWN).await?, site.now().0 as i64);
    let counts = |known: &IssuedCertificate| is_signer(known) && known.revoked_at.is_none() && known.not_after > now;
    let shown = |known: IssuedCertificate| Shown {
        purpose: Purpose::Snapshots.name(),
        state: "earlier",
        thumbprint: Some(known.fingerprint),
        until: known.not_after,
    };
    Ok(page.into_iter().filter(counts).map(shown).collect())
}

/// Keeps the certificate of the key that signs snapshots until now: if it is withdrawn one day, members are told.
pub(super) async fn note(draft: &mut Draft<'_>) -> Result<(), ChangeRefused> {
    let certificate = own_certificate(&draft.keys.snapshots).ok_or_else(unreadable)?;
    match draft.change.certificate(&certificate.serial).await? {
        Some(_) => Ok(()),
        None => Ok(draft.change.add_certificate(&certificate).await?),
    }
}

/// The certificate of a key that signs snapshots, as it stands among those that were issued.
pub(super) fn own_certificate(signer: &SnapshotSigner) -> Option<IssuedCertificate> {
    let facts = certificate_facts(signer.chain().first()?).ok()?;
    Some(IssuedCertificate {
        serial: facts.serial,
        authority: MEMBERS.to_owned(),
        subject: format!("{SIGNERS}{}", facts.common_name.unwrap_or_default()),
        purpose: Purpose::Snapshots.name().to_owned(),
        not_before: facts.not_before.0 as i64,
        not_after: facts.not_after.0 as i64,
        fingerprint: hex(&facts.thumbprint_sha256),
        revoked_at: None,
    })
}
