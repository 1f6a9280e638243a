//! The first start: a database without a site becomes a site with keys of its own.
//!
//! The keys of the roots are written once, encrypted under a passphrase of the administrator's, and kept nowhere else.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cmg_api::resource::{Resource, Site as SiteResource, TokenAlgorithm};
use cmg_authority::export::ExportRefused;
use cmg_authority::issuer::IssueRefused;
use cmg_authority::vault::VaultKeyRefused;
use cmg_authority::{NewSite, RootExport, VaultKey};
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_process::secret_file;
use cmg_store::Store;
use tracing::info;

use super::keys::{Keys, KeysRefused};
use crate::config::Config;

/// The vault's key, in the data folder.
pub(crate) const VAULT_KEY: &str = "vault.key";
/// The export of the roots, in the data folder until the administrator takes it away.
const ROOT_EXPORT: &str = "site-root-keys.txt";

/// Why a site cannot be founded or opened.
#[derive(Debug, thiserror::Error)]
pub enum FoundingRefused {
    /// The data folder cannot be made.
    #[error("the folder {} cannot be made", .path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The vault's key cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultKeyRefused),
    /// The vault's key is missing beside a database that was used before, by this site server or by another one.
    #[error(
        "{} is missing, and the database holds secrets that only it opens: copy the file from another site server of this site, bring it \
         back, or restore the site from a backup",
        .0.display()
    )]
    VaultGone(PathBuf),
    /// The passphrase for the roots is missing or cannot be read.
    #[error("{0}")]
    Passphrase(Problem),
    /// The export cannot be written.
    #[error(transparent)]
    Export(#[from] ExportRefused),
    /// The keys cannot be made.
    #[error(transparent)]
    Issue(#[from] IssueRefused),
    /// The keys cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeysRefused),
    /// The addresses of the site servers cannot be kept.
    #[error(transparent)]
    Addresses(#[from] super::change::ChangeRefused),
    /// The database refused.
    #[error(transparent)]
    Store(#[from] cmg_store::Error),
    /// The file names another site than the database.
    #[error("the database belongs to site \"{found}\", and the file names \"{named}\": name the site's own database, or write its code")]
    OtherSite {
        /// The code in the database.
        found: String,
        /// The code in the file.
        named: String,
    },
}

/// Opens the site in `store`, and founds it where there is none.
pub(crate) async fn open(config: &Config, store: &Store, now: WallTime) -> Result<Arc<VaultKey>, FoundingRefused> {
    make_folder(&config.data)?;
    let vault_path = config.data.join(VAULT_KEY);
    match store.site().await?.code {
        Some(found) if found != config.site => return Err(FoundingRefused::OtherSite { found, named: config.site.clone() }),
        Some(_) if !vault_path.exists() => return Err(FoundingRefused::VaultGone(vault_path)),
        Some(_) => {}
        None => found(config, store, &vault_path, now).await?,
    }
    let vault = Arc::new(VaultKey::read(&vault_path)?);
    Keys::open(Arc::clone(&vault), &mut store.view().await?).await?;
    Ok(vault)
}

pub(crate) fn make_folder(path: &Path) -> Result<(), FoundingRefused> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| FoundingRefused::Folder { path: path.to_owned(), source })
}

/// Founds the site, alone: several site servers that start on one empty database take turns, and the first one founds it.
async fn found(config: &Config, store: &Store, vault_path: &Path, now: WallTime) -> Result<(), FoundingRefused> {
    let passphrase = passphrase(config.root_passphrase_file.as_deref())?;
    let mut change = store.begin(now.0 as i64).await?;
    if change.site().await?.code.is_some() {
        // Another site server was quicker. Keys of this one's own would open nothing.
        return if vault_path.exists() { Ok(()) } else { Err(FoundingRefused::VaultGone(vault_path.to_owned())) };
    }
    let new = NewSite::generate(&config.site, now)?;
    let export = config.data.join(ROOT_EXPORT);
    RootExport::seal(&new.roots, &passphrase)?.write(&export)?;
    let vault = if vault_path.exists() { VaultKey::read(vault_path)? } else { VaultKey::create(vault_path)? };
    change.found_site(&config.site).await?;
    Keys::found(&new, &vault, &mut change).await?;
    super::addresses::found(&config.control_urls, &vault, &mut change).await?;
    let (token_algorithm, approval) = (TokenAlgorithm::default(), Default::default());
    let site = SiteResource { name: config.site.clone(), description: String::new(), token_algorithm, approval };
    let body = serde_json::to_string(&site).expect("a site is texts");
    change.insert_document(SiteResource::KIND, &site.name, &body).await?;
    change.commit().await?;
    info!(site = config.site, export = %export.display(), "Site founded; keep the export of its root keys elsewhere");
    Ok(())
}

fn passphrase(file: Option<&Path>) -> Result<String, FoundingRefused> {
    let key = "root_passphrase_file";
    let file = file.ok_or_else(|| {
        let what = "the site is founded by this start, and there is no passphrase for the keys of its roots";
        FoundingRefused::Passphrase(Problem::new(key, what, "name a file of mode 0600 with a passphrase in its first line"))
    })?;
    let secret = secret_file(key, file).map_err(FoundingRefused::Passphrase)?;
    let line = secret.expose_line().map(str::to_owned);
    line.ok_or_else(|| FoundingRefused::Passphrase(Problem::new(key, "it is not UTF-8", "write the passphrase as UTF-8 text")))
}
