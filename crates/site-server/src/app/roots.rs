//! Roots follow each other: a new pair beside the present one, and the end of the earlier pair when nobody depends on it.
//!
//! 1. The new roots are announced: every manifest names them, signed under the root that members believe, and trusts with the site's own
//!    clients hold both. Nothing is issued under them yet.
//! 2. When every member whose certificate counts runs by that, and no enrolment code counts that pins the earlier root, the new issuing
//!    keys take over, configurations are signed under the new root, and members renew their certificates at once.
//! 3. When no certificate under the earlier roots counts any more, they can be removed (`command`).
//!
//! So nobody has to be told anything by hand, the keys of the earlier roots are not needed, and a member that is away holds up the second
//! step only: what it knows is enough to follow when it is back. Each step is one transaction.

pub mod command;

use cmg_api::bytes::Base64;
use cmg_api::control::{GenerationId, MemberStatus};
use cmg_authority::issuer::{BACKDATED, IssueRefused};
use cmg_authority::{ClientIssuer, InfrastructureIssuer, Roots, Secret};
use cmg_core::time::WallTime;
use cmg_store::{IssuedCertificate, View};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::change::{Actor, ChangeRefused, Draft};
use super::issued_certificates::{CLIENTS, make_lists};
use super::issuers::{earlier_to_secret, replaced};
use super::keys::{self, Keys};
use super::rollover;
use crate::site::Site;

/// The kind, as it is audited.
pub const KIND: &str = "root";

/// How roots are called among the keys of the site.
pub(crate) const PURPOSE: &str = "roots";

/// Certificates of both roots, and the revocation list of the one for clients, DER.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Pair {
    pub(crate) infrastructure: Base64,
    pub(crate) clients: Base64,
    pub(crate) client_list: Base64,
}

impl Pair {
    pub(crate) fn of(roots: &Roots, now: WallTime) -> Result<Self, IssueRefused> {
        let [infrastructure, clients] = [roots.infrastructure_certificate(), roots.client_certificate()].map(|der| Base64(der.to_vec()));
        Ok(Self { infrastructure, clients, client_list: Base64(roots.client_root_list(now)?) })
    }
}

/// Roots that wait to issue.
pub(crate) struct Next {
    pub(crate) pair: Pair,
    pub(crate) infrastructure: InfrastructureIssuer,
    pub(crate) clients: ClientIssuer,
    /// The generation that announced them.
    pub(crate) announced: GenerationId,
}

/// Roots that issue no more.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Earlier {
    pub(crate) pair: Pair,
    /// Since when.
    pub(crate) since: i64,
}

/// The roots beside those that issue.
#[derive(Default)]
pub(crate) struct OtherRoots {
    pub(crate) next: Option<Next>,
    pub(crate) earlier: Option<Earlier>,
}

/// The same in the vault.
#[derive(Serialize, Deserialize)]
struct Kept {
    next: Option<KeptNext>,
    earlier: Option<Earlier>,
}

#[derive(Serialize, Deserialize)]
struct KeptNext {
    pair: Pair,
    infrastructure: Base64,
    clients: Base64,
    announced: GenerationId,
}

impl OtherRoots {
    /// All of them.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.next.iter().map(|next| &next.pair).chain(self.earlier.iter().map(|earlier| &earlier.pair))
    }

    /// Whether a certificate that counts from `not_before` is under the earlier roots.
    pub(crate) fn is_earlier(&self, not_before: i64) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| not_before + (BACKDATED as i64) < earlier.since)
    }

    /// Reads what [`OtherRoots::to_secret`] wrote; none: it is something else.
    pub(crate) fn from_secret(secret: &Secret) -> Option<Self> {
        let Kept { next, earlier } = serde_json::from_slice(secret.expose()).ok()?;
        let next = match next {
            None => None,
            Some(KeptNext { pair, infrastructure, clients, announced }) => Some(Next {
                pair,
                infrastructure: InfrastructureIssuer::from_secret(&Secret::new(infrastructure.0))?,
                clients: ClientIssuer::from_secret(&Secret::new(clients.0))?,
                announced,
            }),
        };
        Some(Self { next, earlier })
    }

    pub(crate) fn to_secret(&self) -> Secret {
        let base64 = |secret: Secret| Base64(secret.expose().to_vec());
        let next = self.next.as_ref().map(|next| KeptNext {
            pair: next.pair.clone(),
            infrastructure: base64(next.infrastructure.to_secret()),
            clients: base64(next.clients.to_secret()),
            announced: next.announced,
        });
        Secret::new(serde_json::to_vec(&Kept { next, earlier: self.earlier.clone() }).expect("keys are texts and numbers"))
    }
}

/// Who keeps the roots that wait from issuing: members that do not run by the generation `announced`, and enrolment codes that count. The
/// certificate of a member that is not named has ended, so that it has to enrol again.
pub(crate) async fn waits_for(view: &mut View, announced: GenerationId, now: i64) -> Result<Vec<String>, cmg_store::Error> {
    let statuses = view.member_statuses().await?;
    let mut waits = Vec::new();
    for member in view.members(None).await? {
        let (kind, name) = (&member.kind, &member.name);
        if member.code_secret.is_some() && member.code_ends.is_some_and(|ends| ends > now) {
            waits.push(format!("{kind}/{name}: its enrolment code is not used yet"));
        }
        if member.sealing_key.is_none() || member.certificate_ends.is_none_or(|ends| ends <= now) {
            continue;
        }
        let status = statuses.iter().find(|status| status.kind == *kind && status.name == *name);
        let status = status.and_then(|status| serde_json::from_str::<MemberStatus>(&status.body).ok());
        if status.is_none_or(|status| status.applied < announced) {
            waits.push(format!("{kind}/{name}: it does not know the new root yet"));
        }
    }
    Ok(waits)
}

/// Whether a certificate that the site has issued counts and is under the earlier roots.
pub(crate) fn depends(other: &OtherRoots, certificate: &IssuedCertificate, now: i64) -> bool {
    certificate.revoked_at.is_none() && certificate.not_after > now && other.is_earlier(certificate.not_before)
}

/// Lets the roots that wait issue, where nothing keeps them from it. Whether it did.
pub async fn keep(site: &Site, now: i64) -> Result<bool, ChangeRefused> {
    let keys = site.keys();
    let Some(next) = &keys.other_roots.next else { return Ok(false) };
    if !waits_for(&mut site.store.view().await?, next.announced, now).await?.is_empty() {
        return Ok(false);
    }
    let mut draft = site.draft(&Actor { account: "site".to_owned(), ..Actor::default() }).await?;
    let keys = draft.keys.clone();
    // Another site server may have done it meanwhile, or somebody made a code.
    let Some(next) = &keys.other_roots.next else { return Ok(false) };
    // What is issued in this second would not be told from what the new roots issue.
    let is_busy = draft.change.newest_certificate_begin().await?.is_some_and(|begin| begin + (BACKDATED as i64) >= now);
    if is_busy || !waits_for(&mut draft.change, next.announced, now).await?.is_empty() {
        return Ok(false);
    }
    promote(&mut draft, &keys, next, now).await?;
    draft.commit().await?;
    info!("The new roots issue from here on");
    Ok(true)
}

async fn promote(draft: &mut Draft<'_>, keys: &Keys, next: &Next, now: i64) -> Result<(), ChangeRefused> {
    let earlier_clients = replaced(&mut draft.change, keys, now).await.map_err(failed)?;
    let earlier = Earlier { pair: keys.pair(), since: now };
    let roots = OtherRoots { next: None, earlier: Some(earlier) };
    let der = |der: &Base64| Secret::new(der.0.clone());
    for (name, secret) in [
        (keys::INFRASTRUCTURE_ROOT, der(&next.pair.infrastructure)),
        (keys::CLIENT_ROOT, der(&next.pair.clients)),
        (keys::CLIENT_ROOT_LIST, der(&next.pair.client_list)),
        (keys::INFRASTRUCTURE, next.infrastructure.to_secret()),
        (keys::CLIENTS, next.clients.to_secret()),
        (keys::EARLIER_CLIENTS, earlier_to_secret(&earlier_clients)),
        (keys::OTHER_ROOTS, roots.to_secret()),
    ] {
        let sealed = keys.vault.seal(name, secret.expose()).map_err(failed)?;
        draft.change.put_secret(name, &sealed).await?;
    }
    draft.read_keys().await?;
    rollover::replace_snapshots(draft, now).await?;
    make_lists(draft).await?;
    draft.record("roll", KIND, CLIENTS, None, None).await
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> ChangeRefused {
    ChangeRefused::Failed(Box::new(error))
}
