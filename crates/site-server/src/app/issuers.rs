//! New issuing keys under the site's roots, made with the export of the root keys on the site server's own host.
//!
//! What was issued before counts to its end: every chain is verified under the root, which stays. A key that issued to members is
//! forgotten at once, since members refuse each other's certificates by fingerprint and no list is signed with it. A key that issued to
//! clients signs revocation lists until its last certificate has ended; until then, its certificate is published beside the new one.
//!
//! All is done in one transaction that raises the generation, by which site servers that run take it up.

use std::path::Path;
use std::sync::Arc;

use cmg_api::bytes::Base64;
use cmg_api::control::GenerationId;
use cmg_authority::export::ImportRefused;
use cmg_authority::issuer::{IssueRefused, ROLE_LIFETIME};
use cmg_authority::vault::VaultKeyRefused;
use cmg_authority::{ClientIssuer, CryptoFailed, RootExport, Roots, Secret, VaultKey};
use cmg_core::time::WallTime;
use cmg_store::{Change, NewAuditRecord, Store};
use serde::{Deserialize, Serialize};

use super::change::{ChangeRefused, Draft};
use super::founding::VAULT_KEY;
use super::in_force::id;
use super::issued_certificates::{CLIENTS, MEMBERS, store_lists};
use super::keys::{self, EARLIER_CLIENTS, Keys, KeysRefused};
use crate::config::Config;

/// The kind, as it is audited.
pub const KIND: &str = "issuer";

/// Who is audited: there is no account, but somebody who has the export and its passphrase.
const ACCOUNT: &str = "root-export";

/// How long an earlier key for clients is kept at least, in seconds, but never beyond its end: a restore forgets what was issued after
/// the backup.
const KEPT: i64 = ROLE_LIFETIME as i64;

/// Most earlier keys for clients: each is a certificate and a list in what every gateway holds.
const MOST_EARLIER: usize = 8;

/// Which issuing keys are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    /// The one for members.
    pub infrastructure: bool,
    /// The one for clients.
    pub clients: bool,
}

impl Which {
    /// Both.
    pub const BOTH: Self = Self { infrastructure: true, clients: true };
    /// The one for members.
    pub const INFRASTRUCTURE: Self = Self { infrastructure: true, clients: false };
    /// The one for clients.
    pub const CLIENTS: Self = Self { infrastructure: false, clients: true };
}

/// Why no issuing key was made. Nothing is stored then.
#[derive(Debug, thiserror::Error)]
pub enum RenewRefused {
    /// The export cannot be read or does not open.
    #[error(transparent)]
    Export(#[from] ImportRefused),
    /// The export is of other roots.
    #[error("the export holds the roots of site \"{found}\", which are not those of this site \"{own}\": name this site's own export")]
    OtherRoots {
        /// The site of the export.
        found: String,
        /// The site in the database.
        own: String,
    },
    /// The file names another site than the database.
    #[error("the database belongs to site \"{found}\", and the file names \"{named}\": name the site's own database, or write its code")]
    OtherSite {
        /// The code in the database.
        found: String,
        /// The code in the file.
        named: String,
    },
    /// The database holds no site.
    #[error("the database holds no site: start the site server once, which founds it")]
    NoSite,
    /// There are too many keys whose certificates count.
    #[error("certificates of {MOST_EARLIER} earlier keys for clients count still: wait until those of the oldest have ended")]
    TooMany,
    /// The vault's key cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultKeyRefused),
    /// The keys in the database cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeysRefused),
    /// No certificate can be made.
    #[error(transparent)]
    Issue(#[from] IssueRefused),
    /// Nothing can be encrypted.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
    /// The revocation lists cannot be made.
    #[error(transparent)]
    Lists(#[from] ChangeRefused),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
}

/// What was made.
#[derive(Debug)]
pub struct Renewed {
    /// The new issuers.
    pub issuers: Vec<NewIssuer>,
    /// The generation from which on they issue.
    pub generation: GenerationId,
}

/// A new issuer.
#[derive(Debug)]
pub struct NewIssuer {
    /// `infrastructure` or `clients`.
    pub of: &'static str,
    /// SHA-256 of its certificate, hexadecimal.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: WallTime,
}

/// Makes new issuing keys for the site that `config` names, whether its site servers run or not; `root_keys` is the export of the roots.
pub async fn renew(config: &Config, root_keys: &Path, passphrase: &str, which: Which, now: WallTime) -> Result<Renewed, RenewRefused> {
    let roots = RootExport::read(root_keys)?.open(passphrase)?;
    let vault = Arc::new(VaultKey::read(&config.data.join(VAULT_KEY))?);
    let store = Store::open_as_it_is(config.database.clone()).await?;
    let renewed = renew_in(&store, config, &roots, vault, which, now).await;
    store.close().await;
    renewed
}

async fn renew_in(
    store: &Store,
    config: &Config,
    roots: &Roots,
    vault: Arc<VaultKey>,
    which: Which,
    now: WallTime,
) -> Result<Renewed, RenewRefused> {
    let mut change = store.begin(now.0 as i64).await?;
    match change.site().await?.code {
        None => return Err(RenewRefused::NoSite),
        Some(found) if found != config.site => return Err(RenewRefused::OtherSite { found, named: config.site.clone() }),
        Some(_) => {}
    }
    let before = Keys::open(Arc::clone(&vault), &mut change).await?;
    let own = (before.infrastructure_root.as_slice(), before.client_root.as_slice());
    if (roots.infrastructure_certificate(), roots.client_certificate()) != own {
        return Err(RenewRefused::OtherRoots { found: roots.site().to_owned(), own: config.site.clone() });
    }
    let generation = id(change.next_generation().await?);
    let mut issuers = Vec::new();
    if which.infrastructure {
        let made = roots.infrastructure_issuer(now)?;
        put(&mut change, &vault, keys::INFRASTRUCTURE, &made.to_secret()).await?;
        let made = (made.certificate(), made.not_after());
        issuers.push(recorded(&mut change, MEMBERS, before.infrastructure.certificate(), made).await?);
    }
    if which.clients {
        let made = roots.client_issuer(now)?;
        let earlier = replaced(&mut change, &before, now.0 as i64).await?;
        put(&mut change, &vault, EARLIER_CLIENTS, &earlier_to_secret(&earlier)).await?;
        put(&mut change, &vault, keys::CLIENTS, &made.to_secret()).await?;
        put(&mut change, &vault, keys::CLIENT_ROOT_LIST, &Secret::new(roots.client_root_list(now)?)).await?;
        let made = (made.certificate(), made.not_after());
        issuers.push(recorded(&mut change, CLIENTS, before.clients.certificate(), made).await?);
        // Where a list is demanded of every issuer, a certificate of one without would be refused.
        let keys = Keys::open(vault, &mut change).await?;
        store_lists(&mut change, &keys, generation, now.0 as i64).await?;
    }
    change.commit().await?;
    Ok(Renewed { issuers, generation })
}

/// The keys for clients that issue no more, with the one that has issued until now.
pub(super) async fn replaced(change: &mut Change, before: &Keys, now: i64) -> Result<Vec<EarlierClients>, RenewRefused> {
    let mut earlier: Vec<_> = before.earlier_clients.iter().filter(|earlier| earlier.until > now).map(EarlierClients::copy).collect();
    let last = change.last_certificate_end(CLIENTS).await?.unwrap_or(now);
    let until = last.max(now + KEPT).min(before.clients.not_after().0 as i64);
    earlier.push(EarlierClients { issuer: copy(&before.clients), until });
    if earlier.len() > MOST_EARLIER { Err(RenewRefused::TooMany) } else { Ok(earlier) }
}

async fn put(change: &mut Change, vault: &VaultKey, name: &str, secret: &Secret) -> Result<(), RenewRefused> {
    Ok(change.put_secret(name, &vault.seal(name, secret.expose())?).await?)
}

/// Audits that a new issuer takes the place of the certificate `before`.
async fn recorded(
    change: &mut Change,
    of: &'static str,
    before: &[u8],
    (certificate, not_after): (&[u8], WallTime),
) -> Result<NewIssuer, RenewRefused> {
    let made = NewIssuer { of, fingerprint: fingerprint(certificate), not_after };
    let record = NewAuditRecord {
        account: ACCOUNT.to_owned(),
        role: String::new(),
        address: String::new(),
        action: "renew".to_owned(),
        kind: KIND.to_owned(),
        name: of.to_owned(),
        before: Some(serde_json::json!({ "fingerprint": fingerprint(before) }).to_string()),
        after: Some(serde_json::json!({ "fingerprint": made.fingerprint, "not_after": not_after.0 }).to_string()),
        request_id: String::new(),
    };
    change.append_audit(&record).await?;
    Ok(made)
}

fn fingerprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Forgets the keys for clients all of whose certificates have ended at `now`, and says how many.
pub(crate) async fn forget(draft: &mut Draft<'_>, now: i64) -> Result<u64, ChangeRefused> {
    let (ended, kept): (Vec<_>, Vec<_>) =
        draft.keys.earlier_clients.iter().map(EarlierClients::copy).partition(|earlier| earlier.until <= now);
    if ended.is_empty() {
        return Ok(0);
    }
    let sealed = draft.keys.vault.seal(EARLIER_CLIENTS, earlier_to_secret(&kept).expose());
    draft.change.put_secret(EARLIER_CLIENTS, &sealed.map_err(|error| ChangeRefused::Failed(Box::new(error)))?).await?;
    draft.read_keys().await?;
    super::issued_certificates::make_lists(draft).await?;
    for earlier in &ended {
        let before = serde_json::json!({ "fingerprint": fingerprint(earlier.issuer.certificate()) });
        draft.record("forget", KIND, CLIENTS, Some(before.to_string()), None).await?;
    }
    Ok(ended.len() as u64)
}

/// A key that issued certificates to clients and issues none any more.
pub(crate) struct EarlierClients {
    /// It signs revocation lists.
    pub(crate) issuer: ClientIssuer,
    /// When the last of its certificates has ended.
    pub(crate) until: i64,
}

/// The same in the vault.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: Base64,
    until: i64,
}

impl EarlierClients {
    pub(super) fn copy(&self) -> Self {
        Self { issuer: copy(&self.issuer), until: self.until }
    }
}

fn copy(issuer: &ClientIssuer) -> ClientIssuer {
    ClientIssuer::from_secret(&issuer.to_secret()).expect("what was written a moment ago can be read")
}

pub(super) fn earlier_to_secret(earlier: &[EarlierClients]) -> Secret {
    let kept = |earlier: &EarlierClients| Kept { key: Base64(earlier.issuer.to_secret().expose().to_vec()), until: earlier.until };
    Secret::new(serde_json::to_vec(&earlier.iter().map(kept).collect::<Vec<_>>()).expect("keys are texts and numbers"))
}

/// Reads what was written; none: it is something else.
pub(crate) fn earlier_from_secret(secret: &Secret) -> Option<Vec<EarlierClients>> {
    let kept: Vec<Kept> = serde_json::from_slice(secret.expose()).ok()?;
    let read = |Kept { key, until }| Some(EarlierClients { issuer: ClientIssuer::from_secret(&Secret::new(key.0))?, until });
    kept.into_iter().map(read).collect()
}
