//! Backup and restore: database, vault key and configuration file in one archive under a passphrase.
//!
//! A restore raises the epoch, so that members follow the restored site whatever they followed before. Revocations that came after the
//! backup would be undone by it; where the database of before is still there, they are told, and can be kept. Sessions end, and so do API
//! tokens unless they are to be kept: which of them were taken back after the backup nobody knows.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cmg_authority::archive::{self, OpenRefused, SealRefused};
use cmg_authority::{Secret, VaultKey};
use cmg_core::time::WallTime;
use cmg_store::{AccountFields, Block, Change, NewBlock, Place, Store};
use serde::{Deserialize, Serialize};

use super::founding::{VAULT_KEY, make_folder};
use crate::config::Config;

/// What is in an archive.
#[derive(Serialize, Deserialize)]
struct Contents {
    /// 1.
    format: u32,
    site: String,
    /// In seconds since 1970.
    made_at: u64,
    vault_key: String,
    dump: String,
}

/// Why there is no backup, or nothing is restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupRefused {
    /// A file cannot be read or written.
    #[error("{} cannot be used", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database refused.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
    /// The backup cannot be encrypted.
    #[error(transparent)]
    Seal(#[from] SealRefused),
    /// The backup does not open.
    #[error(transparent)]
    Open(#[from] OpenRefused),
    /// The backup opens and is something else.
    #[error("the backup is of a form that this version does not know: start a newer version")]
    Unknown,
    /// The backup is of another site.
    #[error("the backup is of site \"{found}\", and the file names \"{named}\": name the site's own backup, or write its code")]
    OtherSite {
        /// The code in the backup.
        found: String,
        /// The code in the file.
        named: String,
    },
    /// There is a site already.
    #[error("{} is in use: restore into an empty folder and an empty database", .0.display())]
    InUse(PathBuf),
    /// The data folder cannot be made.
    #[error(transparent)]
    Folder(#[from] super::founding::FoundingRefused),
}

/// What of before is not to be lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Blocks that the backup does not have, and that accounts were disabled or removed.
    pub blocks: bool,
    /// API tokens of the backup.
    pub api_tokens: bool,
}

/// What a restore did.
pub struct Restored {
    /// When the backup was made.
    pub made_at: WallTime,
    /// Blocks of the database of before that the backup does not have.
    pub newer_blocks: Vec<Block>,
    /// Accounts that could not sign in any more before, and can by the backup.
    pub revived_accounts: Vec<String>,
    /// Whether those blocks were kept, and those accounts disabled.
    pub kept: bool,
    /// How many API tokens were ended.
    pub ended_tokens: u64,
}

/// What could not come in any more, by the database of before.
#[derive(Default)]
struct Before {
    blocks: Vec<Block>,
    /// The accounts that could sign in. None: it is not known.
    accounts: Option<BTreeSet<String>>,
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> BackupRefused {
    let path = path.to_owned();
    move |source| BackupRefused::File { path, source }
}

/// Everything of the site that `config` names, under `passphrase`. The site server may run.
pub async fn backup(config: &Config, passphrase: &str, now: WallTime) -> Result<Vec<u8>, BackupRefused> {
    let path = config.data.join(VAULT_KEY);
    let vault_key = fs::read_to_string(&path).map_err(file(&path))?;
    let store = Store::open_as_it_is(config.database.clone()).await?;
    let contents = Contents { format: 1, site: config.site.clone(), made_at: now.0, vault_key, dump: store.dump().await? };
    store.close().await;
    let text = serde_json::to_vec(&contents).map_err(|_| BackupRefused::Unknown)?;
    Ok(archive::seal(passphrase, Secret::new(text).expose())?)
}

/// Brings back the site of an archive into an empty folder and an empty database.
///
/// `before`: the SQLite database that was in use before, where it can still be read. Its blocks that the backup does not have are told, and
/// the accounts that had come to an end; `keep` says what of it stays. All is done in one change, or nothing.
pub async fn restore(
    config: &Config,
    passphrase: &str,
    archive: &[u8],
    before: Option<&Path>,
    keep: Keep,
    now: WallTime,
) -> Result<Restored, BackupRefused> {
    let text = archive::open(passphrase, archive)?;
    let contents: Contents = serde_json::from_slice(text.expose()).map_err(|_| BackupRefused::Unknown)?;
    if contents.format != 1 {
        return Err(BackupRefused::Unknown);
    }
    if contents.site != config.site {
        return Err(BackupRefused::OtherSite { found: contents.site, named: config.site.clone() });
    }
    let before = match before {
        Some(path) => read_before(path).await?,
        None => Before::default(),
    };
    make_folder(&config.data)?;
    let key_path = config.data.join(VAULT_KEY);
    if key_path.exists() {
        return Err(BackupRefused::InUse(config.data.clone()));
    }
    let store = Store::open(config.database.clone()).await?;
    let mut change = store.begin(now.0 as i64).await?;
    match change.load(&contents.dump).await {
        Ok(()) => {}
        Err(cmg_store::Error::Conflict) => return Err(BackupRefused::InUse(config.data.clone())),
        Err(error) => return Err(error.into()),
    }
    change.raise_epoch().await?;
    change.forget_what_passes().await?;
    let ended_tokens = if keep.api_tokens { 0 } else { change.revoke_all_api_tokens().await? };
    let newer_blocks = newer_blocks(&mut change, before.blocks, keep).await?;
    let revived_accounts = revived_accounts(&mut change, before.accounts, keep).await?;
    VaultKey::write_text(&key_path, &contents.vault_key).map_err(file(&key_path))?;
    if let Err(error) = change.commit().await {
        let _ = fs::remove_file(&key_path);
        return Err(error.into());
    }
    store.close().await;
    Ok(Restored { made_at: WallTime(contents.made_at), newer_blocks, revived_accounts, kept: keep.blocks, ended_tokens })
}

async fn read_before(path: &Path) -> Result<Before, BackupRefused> {
    let store = Store::open_as_it_is(Place::Sqlite(path.to_owned())).await?;
    let enabled = store.accounts().await?.into_iter().filter(|account| !account.fields.disabled).map(|account| account.name);
    let before = Before { blocks: store.live_blocks().await?, accounts: Some(enabled.collect()) };
    store.close().await;
    Ok(before)
}

/// The blocks of before that the backup does not have, which are added again where they are to be kept.
async fn newer_blocks(change: &mut Change, live: Vec<Block>, keep: Keep) -> Result<Vec<Block>, cmg_store::Error> {
    let mut newer = Vec::new();
    for block in live {
        if change.block(&block.id).await?.is_none() {
            newer.push(block);
        }
    }
    if keep.blocks {
        let blocks: Vec<_> = newer.iter().cloned().map(again).collect();
        change.add_blocks(&blocks).await?;
    }
    Ok(newer)
}

/// The accounts of the backup that could not sign in before, which are disabled again where that is to be kept.
async fn revived_accounts(change: &mut Change, enabled: Option<BTreeSet<String>>, keep: Keep) -> Result<Vec<String>, cmg_store::Error> {
    let Some(enabled) = enabled else { return Ok(Vec::new()) };
    let mut revived = Vec::new();
    for account in change.accounts().await? {
        if account.fields.disabled || enabled.contains(&account.name) {
            continue;
        }
        if keep.blocks {
            change.replace_account(&account.name, &AccountFields { disabled: true, ..account.fields }, account.version).await?;
        }
        revived.push(account.name);
    }
    Ok(revived)
}

fn again(block: Block) -> NewBlock {
    let Block { id, kind, value, issuer, note, created_by, .. } = block;
    NewBlock { id, kind, value, issuer, note, created_by }
}
