//! What an administrator does on a site server's own host: adds new roots, and removes the earlier ones.

use std::path::Path;
use std::sync::Arc;

use cmg_api::control::GenerationId;
use cmg_authority::export::ExportRefused;
use cmg_authority::issuer::IssueRefused;
use cmg_authority::vault::VaultKeyRefused;
use cmg_authority::{CryptoFailed, RootExport, Roots, VaultKey};
use cmg_core::time::WallTime;
use cmg_credentials::facts::certificate_facts;
use cmg_store::{CertificateFilter, Change, NewAuditRecord, Store};

use super::{KIND, Next, OtherRoots, Pair, depends, waits_for};
use crate::app::change::ChangeRefused;
use crate::app::founding::VAULT_KEY;
use crate::app::in_force::id;
use crate::app::issued_certificates::{CLIENTS, store_lists};
use crate::app::issuers::{EarlierClients, earlier_to_secret};
use crate::app::keys::{self, Keys, KeysRefused};
use crate::config::Config;

/// Who is audited: there is no account, but somebody who can read the vault's key.
const ACCOUNT: &str = "site-host";

/// Most of those that keep a root from being removed that are named.
const NAMED: usize = 50;

/// Rows of a page that is read to its end.
const PAGE: u32 = 500;

/// Why roots are neither added nor removed. Nothing is stored then.
#[derive(Debug, thiserror::Error)]
pub enum RootsRefused {
    /// The database holds no site.
    #[error("the database holds no site: start the site server once, which founds it")]
    NoSite,
    /// The file names another site than the database.
    #[error("the database belongs to site \"{found}\", and the file names \"{named}\": name the site's own database, or write its code")]
    OtherSite {
        /// The code in the database.
        found: String,
        /// The code in the file.
        named: String,
    },
    /// There are two pairs of roots.
    #[error("there are two roots already: remove the earlier one first (`cmg site remove-root`)")]
    TwoAlready,
    /// There is one pair of roots.
    #[error("there is no earlier root: `cmg site add-root` makes a new one beside the present one")]
    OneOnly,
    /// The new roots do not issue yet.
    #[error("the new root does not issue yet; it waits for\n{}", lines(.0))]
    Waits(Vec<String>),
    /// Certificates under the earlier roots count.
    #[error("the earlier root is needed still; wait until these have renewed their certificates, or remove or revoke them:\n{}", lines(.0))]
    Needed(Vec<String>),
    /// The export cannot be written.
    #[error(transparent)]
    Export(#[from] ExportRefused),
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

fn lines(names: &[String]) -> String {
    let named = names.iter().take(NAMED).map(|name| format!("  {name}"));
    let more = names.len().saturating_sub(NAMED);
    named.chain((more > 0).then(|| format!("  and {more} more"))).collect::<Vec<_>>().join("\n")
}

/// New roots.
#[derive(Debug)]
pub struct Added {
    /// The generation that announces them.
    pub generation: GenerationId,
    /// Whom they wait for at the moment.
    pub waits_for: Vec<String>,
}

/// Makes new roots for the site that `config` names, whether its site servers run or not, and writes their keys to `export`, encrypted
/// under `passphrase`.
pub async fn add(config: &Config, export: &Path, passphrase: &str, now: WallTime) -> Result<Added, RootsRefused> {
    let vault = Arc::new(VaultKey::read(&config.data.join(VAULT_KEY))?);
    let store = Store::open_as_it_is(config.database.clone()).await?;
    let added = add_in(&store, config, (export, passphrase), vault, now).await;
    store.close().await;
    added
}

async fn add_in(
    store: &Store,
    config: &Config,
    (export, passphrase): (&Path, &str),
    vault: Arc<VaultKey>,
    now: WallTime,
) -> Result<Added, RootsRefused> {
    let (mut change, before) = begin(store, config, vault, now).await?;
    if before.other_roots.next.is_some() || before.other_roots.earlier.is_some() {
        return Err(RootsRefused::TwoAlready);
    }
    let roots = Roots::generate_another(&config.site, now)?;
    let (infrastructure, clients) = (roots.infrastructure_issuer(now)?, roots.client_issuer(now)?);
    let announced = id(change.next_generation().await?);
    let next = Next { pair: Pair::of(&roots, now)?, infrastructure, clients, announced };
    put(&mut change, &before, &OtherRoots { next: Some(next), earlier: None }).await?;
    let after = open(&mut change, &before).await?;
    store_lists(&mut change, &after, announced, now.0 as i64).await?;
    record(&mut change, "add").await?;
    let waits_for = waits_for(&mut change, announced, now.0 as i64).await?;
    // Before they count: keys that nobody has could not be brought back.
    RootExport::seal(&roots, passphrase)?.write(export)?;
    change.commit().await?;
    Ok(Added { generation: announced, waits_for })
}

/// Removes the earlier roots of the site that `config` names. The answer is the generation in which they count no more.
pub async fn remove(config: &Config, now: WallTime) -> Result<GenerationId, RootsRefused> {
    let vault = Arc::new(VaultKey::read(&config.data.join(VAULT_KEY))?);
    let store = Store::open_as_it_is(config.database.clone()).await?;
    let removed = remove_in(&store, config, vault, now).await;
    store.close().await;
    removed
}

async fn remove_in(store: &Store, config: &Config, vault: Arc<VaultKey>, now: WallTime) -> Result<GenerationId, RootsRefused> {
    let (mut change, before) = begin(store, config, vault, now).await?;
    let seconds = now.0 as i64;
    if let Some(next) = &before.other_roots.next {
        return Err(RootsRefused::Waits(waits_for(&mut change, next.announced, seconds).await?));
    }
    let Some(earlier) = &before.other_roots.earlier else { return Err(RootsRefused::OneOnly) };
    let needed = needed(&mut change, &before.other_roots, seconds).await?;
    if !needed.is_empty() {
        return Err(RootsRefused::Needed(needed));
    }
    let generation = id(change.next_generation().await?);
    let subject = certificate_facts(&earlier.pair.clients.0).map(|facts| facts.subject).unwrap_or_default();
    let is_kept = |issuer: &&EarlierClients| certificate_facts(issuer.issuer.certificate()).is_ok_and(|facts| facts.issuer != subject);
    let kept: Vec<_> = before.earlier_clients.iter().filter(is_kept).map(EarlierClients::copy).collect();
    let sealed = before.vault.seal(keys::EARLIER_CLIENTS, earlier_to_secret(&kept).expose())?;
    change.put_secret(keys::EARLIER_CLIENTS, &sealed).await?;
    put(&mut change, &before, &OtherRoots::default()).await?;
    let after = open(&mut change, &before).await?;
    store_lists(&mut change, &after, generation, seconds).await?;
    record(&mut change, "remove").await?;
    change.commit().await?;
    Ok(generation)
}

async fn begin(store: &Store, config: &Config, vault: Arc<VaultKey>, now: WallTime) -> Result<(Change, Keys), RootsRefused> {
    let mut change = store.begin(now.0 as i64).await?;
    match change.site().await?.code {
        None => return Err(RootsRefused::NoSite),
        Some(found) if found != config.site => return Err(RootsRefused::OtherSite { found, named: config.site.clone() }),
        Some(_) => {}
    }
    let keys = Keys::open(vault, &mut change).await?;
    Ok((change, keys))
}

async fn open(change: &mut Change, before: &Keys) -> Result<Keys, RootsRefused> {
    Ok(Keys::open(Arc::clone(&before.vault), change).await?)
}

async fn put(change: &mut Change, keys: &Keys, roots: &OtherRoots) -> Result<(), RootsRefused> {
    let sealed = keys.vault.seal(keys::OTHER_ROOTS, roots.to_secret().expose())?;
    Ok(change.put_secret(keys::OTHER_ROOTS, &sealed).await?)
}

/// Members and clients whose certificates count and are under the earlier roots.
async fn needed(change: &mut Change, other: &OtherRoots, now: i64) -> Result<Vec<String>, RootsRefused> {
    let mut needed = Vec::new();
    for member in change.members(None).await? {
        let Some(serial) = &member.serial else { continue };
        if change.certificate(serial).await?.is_some_and(|certificate| depends(other, &certificate, now)) {
            needed.push(format!("{}/{}: certificate {serial}", member.kind, member.name));
        }
    }
    let mut after = None::<String>;
    loop {
        let filter = CertificateFilter { authority: Some(CLIENTS), search: None };
        let page = change.certificate_page(filter, after.as_deref(), PAGE).await?;
        let is_last = page.len() < PAGE as usize;
        after = page.last().map(|certificate| certificate.serial.clone());
        let depending = page.iter().filter(|certificate| depends(other, certificate, now));
        needed.extend(depending.map(|certificate| format!("{}: certificate {}", certificate.subject, certificate.serial)));
        if is_last {
            return Ok(needed);
        }
    }
}

async fn record(change: &mut Change, action: &str) -> Result<(), RootsRefused> {
    let record = NewAuditRecord {
        account: ACCOUNT.to_owned(),
        role: String::new(),
        address: String::new(),
        action: action.to_owned(),
        kind: KIND.to_owned(),
        name: "site".to_owned(),
        before: None,
        after: None,
        request_id: String::new(),
    };
    change.append_audit(&record).await?;
    Ok(())
}
