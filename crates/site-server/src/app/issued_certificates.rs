//! Certificates that the site has issued, and their end.
//!
//! A member whose certificate is revoked is not a member any more: nothing is sealed to it or published for it until it enrols again.
//! Members refuse its certificates by their fingerprints, so that an earlier one does not count again when its name does. A
//! client's certificate is refused by a block at once, and by the revocation lists of the site's authority for clients.

use std::collections::BTreeSet;

use cmg_api::bytes::Sha256;
use cmg_api::control::GenerationId;
use cmg_authority::RevokedCertificate;
use cmg_core::time::WallTime;
use cmg_store::{BlockKind, Change, Crl, IssuedCertificate};

use super::blocking;
use super::change::{Actor, ChangeRefused, Draft};
use super::in_force::SITE_CLIENTS;
use super::keys::Keys;
use crate::site::Site;

/// The kind, as it is audited.
pub const KIND: &str = "issued-certificate";

/// The authority for members, as it stands beside the certificates that it issued.
pub const MEMBERS: &str = "infrastructure";

/// The authority for clients, as it stands beside the certificates that it issued.
pub const CLIENTS: &str = "clients";

/// How long a revocation list of the site counts, in seconds: a week, as long as members do without the site.
const LIST_LIFETIME: i64 = 7 * DAY;

/// When a revocation list is made anew, in seconds.
const LIST_AGE: i64 = DAY;

const DAY: i64 = 86_400;

/// Revokes the certificate of this serial number. One that is revoked already stays so.
pub async fn revoke(draft: &mut Draft<'_>, serial: &str) -> Result<IssuedCertificate, ChangeRefused> {
    let certificate = present(draft, serial).await?;
    if certificate.revoked_at.is_some() {
        return Ok(certificate);
    }
    draft.change.revoke_certificate(serial).await?;
    if certificate.authority == CLIENTS {
        blocking::block(draft, BlockKind::Thumbprint, &certificate.fingerprint, &format!("revoked, {}", certificate.subject)).await?;
        make_lists(draft).await?;
    } else {
        end_member(draft, &certificate).await?;
    }
    let revoked = present(draft, serial).await?;
    draft.record("revoke", KIND, serial, Some(audited(&certificate)), Some(audited(&revoked))).await?;
    Ok(revoked)
}

/// Role certificates that were revoked and have not ended: what members refuse, and the control interface.
pub(crate) async fn revoked_members(view: &mut cmg_store::View) -> Result<BTreeSet<Sha256>, cmg_store::Error> {
    let fingerprints = view.revoked_fingerprints(MEMBERS).await?;
    Ok(fingerprints.iter().filter_map(|text| text.parse().ok()).collect())
}

/// Whose latest certificate it is not has been renewed since, and stays a member.
async fn end_member(draft: &mut Draft<'_>, certificate: &IssuedCertificate) -> Result<(), ChangeRefused> {
    draft.publish();
    let Some((kind, name)) = certificate.subject.split_once('/') else { return Ok(()) };
    let member = draft.change.member(kind, name).await?;
    if member.is_none_or(|member| member.serial.as_deref() != Some(&certificate.serial)) {
        return Ok(());
    }
    draft.ground.sealing_keys.remove(&certificate.subject);
    draft.change.revoke_certificates_of(MEMBERS, &certificate.subject, None).await?;
    draft.change.remove_member(kind, name).await?;
    draft.change.remove_secret(&super::enrol::answer_name(kind, name)).await?;
    Ok(())
}

async fn present(draft: &mut Draft<'_>, serial: &str) -> Result<IssuedCertificate, ChangeRefused> {
    let certificate = draft.change.certificate(serial).await?;
    certificate.ok_or_else(|| ChangeRefused::NotFound { kind: KIND, name: serial.to_owned() })
}

fn audited(certificate: &IssuedCertificate) -> String {
    serde_json::json!({
        "serial": certificate.serial,
        "authority": certificate.authority,
        "subject": certificate.subject,
        "not_after": certificate.not_after,
        "fingerprint": certificate.fingerprint,
        "revoked_at": certificate.revoked_at,
    })
    .to_string()
}

/// Makes the revocation lists of the authority for clients, and publishes them.
pub(crate) async fn make_lists(draft: &mut Draft<'_>) -> Result<(), ChangeRefused> {
    let generation = draft.generation().await?;
    let lists = store_lists(&mut draft.change, &draft.keys, generation, draft.now).await?;
    if let Some(clients) = &mut draft.ground.site_clients {
        clients.lists = lists;
    }
    Ok(())
}

/// Makes the revocation lists of the authority for clients, one for each of its keys whose certificates count. They are stored, so that
/// every site server publishes the same; the answer has the order in which they are read.
///
/// Serial numbers are random and tell certificates of all keys apart, so each list names all of them.
pub(crate) async fn store_lists(
    change: &mut Change,
    keys: &Keys,
    generation: GenerationId,
    now: i64,
) -> Result<Vec<Vec<u8>>, ChangeRefused> {
    // Generations only rise, also over a restore, and so does this.
    let number = generation.epoch << 32 | generation.number;
    let next_update = now + LIST_LIFETIME;
    let wall = |seconds: i64| WallTime(u64::try_from(seconds).unwrap_or_default());
    let revoked: Vec<_> = change
        .revoked_certificates(CLIENTS)
        .await?
        .into_iter()
        .filter(|certificate| certificate.not_after > now)
        .map(|certificate| RevokedCertificate { at: wall(certificate.revoked_at.unwrap_or(now)), serial: certificate.serial })
        .collect();
    change.remove_crls_of(SITE_CLIENTS).await?;
    for (place, issuer) in keys.client_issuers().enumerate() {
        let list = issuer.revocation_list(&revoked, number, wall(now), wall(next_update));
        let crl = Crl {
            trust: SITE_CLIENTS.to_owned(),
            source: if place == 0 { SITE_CLIENTS.to_owned() } else { format!("{SITE_CLIENTS}/{place:02}") },
            der: Some(list.map_err(|error| ChangeRefused::Failed(Box::new(error)))?),
            this_update: Some(now),
            next_update: Some(next_update),
            fetched_at: Some(now),
            tried_at: now,
            error: None,
        };
        change.put_crl(&crl).await?;
    }
    Ok(change.crls_of(SITE_CLIENTS).await?.into_iter().filter_map(|crl| crl.der).collect())
}

/// Makes the revocation lists anew where there are none, or none of today. Whether it did.
pub async fn keep_lists(site: &Site, now: i64) -> Result<bool, ChangeRefused> {
    let present = site.store.crls_of(SITE_CLIENTS).await?;
    if present.first().and_then(|list| list.this_update).is_some_and(|made| made + LIST_AGE > now) {
        return Ok(false);
    }
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    make_lists(&mut draft).await?;
    draft.commit().await?;
    Ok(true)
}
