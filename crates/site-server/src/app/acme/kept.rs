//! What the database holds of certificates from ACME servers. All of it goes with its certificate.

use std::collections::BTreeMap;

use cmg_api::resource::AcmeChallengeKind;
use cmg_store::{Change, Error, View};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Failed;
use crate::site::Site;

/// The longest reason that is kept, in bytes.
pub(super) const LONGEST_ERROR: usize = 1_000;

/// How it stands with a certificate from an ACME server. Times are in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AcmeStatus {
    /// When it was tried last.
    pub tried_at: Option<i64>,
    /// Why that failed; none: it did not.
    pub error: Option<String>,
    /// How often it has failed since it succeeded.
    pub failures: u32,
    /// When it is tried next.
    pub next_at: Option<i64>,
    /// When the certificate in force came.
    pub issued_at: Option<i64>,
    /// When an administrator asked for it last.
    pub asked_at: Option<i64>,
    /// Whether that has not been tried yet.
    pub is_asked: bool,
    /// Why it is not ordered yet; none: it is.
    pub waits_for: Option<String>,
    /// Gateway instances that were silent, so that nobody waited for them.
    pub silent: Vec<String>,
    /// The key of the certificate that came last, as in the certificate.
    pub key_id: String,
    /// The digest of what was ordered last.
    pub wanted: String,
}

impl AcmeStatus {
    /// The end of a try, where `present` is noted. Its beginning noted that nobody asks, so whoever asks has asked since.
    fn beside(self, present: &Self) -> Self {
        let next_at = if present.is_asked { present.asked_at } else { self.next_at };
        Self { is_asked: present.is_asked, asked_at: present.asked_at, next_at, ..self }
    }
}

/// What an ACME server may ask for. It is no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The DNS name, without `*.`.
    pub name: String,
    /// How it is proven.
    pub kind: AcmeChallengeKind,
    /// The server's word.
    pub token: String,
    /// The answer.
    pub key_authorization: String,
    /// The program that changes DNS.
    #[serde(default)]
    pub hook: Option<String>,
}

/// Where the status is. It is not secret, and lies there as it is; so do challenges.
pub(crate) fn status_place(certificate: &str) -> String {
    format!("acme/{certificate}/status")
}

/// Where challenges in force are.
pub(crate) fn challenges_place(certificate: &str) -> String {
    format!("acme/{certificate}/challenges")
}

/// Where the account at the ACME server is, with its key, sealed by the vault.
pub(crate) fn account_place(certificate: &str) -> String {
    format!("acme/{certificate}/account")
}

/// Where the key of an external account is, sealed by the vault.
pub(crate) fn external_key_place(certificate: &str) -> String {
    format!("acme/{certificate}/external-account")
}

/// How it stands with a certificate.
pub(crate) async fn status(view: &mut View, certificate: &str) -> Result<AcmeStatus, Error> {
    let stored = view.secret(&status_place(certificate)).await?;
    Ok(stored.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

pub(super) async fn put_status(change: &mut Change, certificate: &str, status: &AcmeStatus) -> Result<(), Error> {
    let text = serde_json::to_vec(status).expect("a status is texts and numbers");
    change.put_secret(&status_place(certificate), &text).await
}

/// Stores how a try ended. Whoever has asked for another one since it began is not forgotten.
pub(super) async fn put_after_try(change: &mut Change, certificate: &str, after: AcmeStatus) -> Result<(), Error> {
    let present = status(change, certificate).await?;
    put_status(change, certificate, &after.beside(&present)).await
}

/// Changes a status in a change of its own, whatever it is by then; none: it stays. What it is after that.
pub(super) async fn note(
    site: &Site,
    certificate: &str,
    with: impl FnOnce(AcmeStatus) -> Option<AcmeStatus> + Send,
) -> Result<Option<AcmeStatus>, Failed> {
    let mut change = site.store.begin(site.now().0 as i64).await?;
    let present = status(&mut change, certificate).await?;
    let Some(after) = with(present) else { return Ok(None) };
    put_status(&mut change, certificate, &after).await?;
    change.commit().await?;
    Ok(Some(after))
}

pub(super) async fn put_challenges(change: &mut Change, certificate: &str, challenges: &[Challenge]) -> Result<(), Error> {
    let text = serde_json::to_vec(challenges).expect("challenges are texts");
    change.put_secret(&challenges_place(certificate), &text).await
}

/// Challenges in force, by certificate.
pub(crate) async fn stored_challenges(view: &mut View) -> Result<BTreeMap<String, Vec<Challenge>>, Error> {
    let mut stored = BTreeMap::new();
    for place in view.secret_names().await? {
        let Some(name) = place.strip_prefix("acme/").and_then(|rest| rest.strip_suffix("/challenges")) else { continue };
        let bytes = view.secret(&place).await?.unwrap_or_default();
        if let Ok(challenges) = serde_json::from_slice::<Vec<Challenge>>(&bytes) {
            stored.insert(name.to_owned(), challenges);
        }
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_that_is_asked_for_during_a_try_is_not_forgotten_at_its_end() {
        let ended = || AcmeStatus { tried_at: Some(10), next_at: Some(70), failures: 1, ..AcmeStatus::default() };
        let asked = AcmeStatus { is_asked: true, asked_at: Some(20), ..ended() };

        let kept = ended().beside(&asked);

        assert_eq!((kept.is_asked, kept.asked_at, kept.next_at, kept.failures), (true, Some(20), Some(20), 1));
        assert_eq!(ended().beside(&ended()), ended());
    }
}
