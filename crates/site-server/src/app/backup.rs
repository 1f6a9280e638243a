//! Backup and restore: database, vault key and configuration file in one archive under a passphrase.
//!
//! A restore raises the epoch, so that members follow the restored site whatever they followed before. Revocations that came after the
//! backup would be undone by it; where the database of before is still there, they are told, and can be kept. Sessions end, and so do API
//! tokens unless they are to be kept: which of them were taken back after the backup nobody knows.

mod before;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cmg_api::control::GenerationId;
use cmg_authority::archive::{self, OpenRefused, SealRefused};
use cmg_authority::vault::VaultKeyRefused;
use cmg_authority::{Secret, VaultKey};
use cmg_core::time::WallTime;
use cmg_store::{Block, Change, IssuedCertificate, Store};
use serde::{Deserialize, Serialize};

use super::change::ChangeRefused;
use super::founding::{VAULT_KEY, make_folder};
use super::in_force::id;
use super::issued_certificates::{CLIENTS, store_lists};
use super::keys::{Keys, KeysRefused};
use crate::config::Config;
use before::Before;

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
    /// The vault's key of the backup cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultKeyRefused),
    /// The keys of the backup cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeysRefused),
    /// The revocation lists cannot be made.
    #[error(transparent)]
    Lists(#[from] ChangeRefused),
}

/// What of before is not to be lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Keep {
    /// Blocks and revocations that the backup does not have, and that accounts were disabled or removed.
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
    /// Certificates that were revoked before, and count by the backup; of a member that was enrolled again or removed, its earlier ones too.
    pub revived_certificates: Vec<IssuedCertificate>,
    /// Accounts that could not sign in any more before, and can by the backup.
    pub revived_accounts: Vec<String>,
    /// Whether those blocks were kept, those certificates revoked, and those accounts disabled.
    pub kept: bool,
    /// How many API tokens were ended.
    pub ended_tokens: u64,
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
/// `before`: the SQLite database that was in use before, where it can still be read. Its blocks and revocations that the backup does not
/// have are told, and the accounts that had come to an end; `keep` says what of it stays. All is done in one change, or nothing.
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
        Some(path) => Before::read(path).await?,
        None => Before::default(),
    };
    make_folder(&config.data)?;
    let key_path = config.data.join(VAULT_KEY);
    if key_path.exists() {
        return Err(BackupRefused::InUse(config.data.clone()));
    }
    let store = Store::open(config.database.clone()).await?;
    let change = store.begin(now.0 as i64).await?;
    let restored = fill(change, config, &contents, before, keep, now).await;
    store.close().await;
    restored
}

/// Fills the empty database, and writes the vault's key.
async fn fill(
    mut change: Change,
    config: &Config,
    contents: &Contents,
    before: Before,
    keep: Keep,
    now: WallTime,
) -> Result<Restored, BackupRefused> {
    match change.load(&contents.dump).await {
        Ok(()) => {}
        Err(cmg_store::Error::Conflict) => return Err(BackupRefused::InUse(config.data.clone())),
        Err(error) => return Err(error.into()),
    }
    let generation = id(change.raise_epoch().await?);
    change.forget_what_passes().await?;
    let ended_tokens = if keep.api_tokens { 0 } else { change.revoke_all_api_tokens().await? };
    let newer_blocks = before.newer_blocks(&mut change, keep).await?;
    let revived_certificates = before.revived_certificates(&mut change, keep, now.0 as i64).await?;
    let revived_accounts = before.revived_accounts(&mut change, keep).await?;
    let key_path = config.data.join(VAULT_KEY);
    VaultKey::write_text(&key_path, &contents.vault_key).map_err(file(&key_path))?;
    let clients_too = keep.blocks && revived_certificates.iter().any(|certificate| certificate.authority == CLIENTS);
    if let Err(error) = finish(change, &key_path, clients_too.then_some(generation), now).await {
        let _ = fs::remove_file(&key_path);
        return Err(error);
    }
    Ok(Restored {
        made_at: WallTime(contents.made_at),
        newer_blocks,
        revived_certificates,
        revived_accounts,
        kept: keep.blocks,
        ended_tokens,
    })
}

/// Commits. With `lists`, a generation, revocation lists are made anew: those of the backup do not name what was revoked since.
async fn finish(mut change: Change, vault: &Path, lists: Option<GenerationId>, now: WallTime) -> Result<(), BackupRefused> {
    if let Some(generation) = lists {
        let keys = Keys::open(Arc::new(VaultKey::read(vault)?), &mut change).await?;
        store_lists(&mut change, &keys, generation, now.0 as i64).await?;
    }
    Ok(change.commit().await?)
}
