//! The first start: a code in a file of the data folder makes the first full administrator, once. There is no default password.
//!
//! The code is in the file only; the database has its hash, one for each site server that waits to be set up, so that any of them takes
//! the code of any other.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cmg_authority::passwords::{new_session, same_secret, secret_digest};
use cmg_store::{Error, View};
use tracing::{info, warn};

use super::accounts::{self, AccountSetting};
use super::change::{Actor, ChangeRefused};
use super::passwords::{HashRefused, Hasher};
use super::roles::Role;
use super::sign_in::{self, SignInRefused, Subject};
use crate::site::Site;

/// The file, in the data folder.
const FILE: &str = "setup-code";

/// Where the hashes of codes are among the secrets, by site server.
const SECRETS: &str = "setup-code/";

/// The longest file that is read; a right one has 44 bytes.
const LONGEST_FILE: u64 = 256;

/// Why the set-up code cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum PrepareRefused {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] Error),
    /// The file cannot be written.
    #[error("the set-up code cannot be written to {}: let the site server's user write there", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No code can be made.
    #[error(transparent)]
    Crypto(#[from] cmg_authority::CryptoFailed),
}

/// Why the site is not set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupRefused {
    /// It has accounts.
    #[error("this site is set up: sign in, or let an administrator make an account")]
    Done,
    /// The code is wrong.
    #[error("the code is wrong: it is in the file \"{FILE}\" in the data folder of the site server, whose path stands in its log")]
    Code,
    /// Too many tries.
    #[error("there were too many tries: wait {0} s")]
    Wait(i64),
    /// The password could not be hashed.
    #[error(transparent)]
    Hash(#[from] HashRefused),
    /// The database refused.
    #[error(transparent)]
    Change(#[from] ChangeRefused),
}

impl From<Error> for SetupRefused {
    fn from(error: Error) -> Self {
        Self::Change(error.into())
    }
}

/// Writes the set-up code where nobody can sign in yet, and says where it is.
pub async fn prepare_setup(site: &Site, data: &Path) -> Result<Option<PathBuf>, PrepareRefused> {
    let path = data.join(FILE);
    let mut change = site.store.begin(site.now().0 as i64).await?;
    if change.count_accounts().await? > 0 {
        forget(&path);
        return Ok(None);
    }
    let secret = format!("{SECRETS}{}", site.name);
    let known = change.secret(&secret).await?;
    let is_good = match (&known, read(&path)) {
        (Some(stored), Some(code)) => split(stored).is_some_and(|(digest, _)| same_secret(digest, &secret_digest(&code))),
        _ => false,
    };
    if !is_good {
        let code = new_session()?;
        write(&path, &code.text).map_err(|source| PrepareRefused::File { path: path.clone(), source })?;
        let stored = [&code.digest[..], path.to_string_lossy().as_bytes()].concat();
        change.put_secret(&secret, &stored).await?;
        change.commit().await?;
    }
    info!(file = %path.display(), "Nobody can sign in yet; the code in this file makes the first administrator");
    Ok(Some(path))
}

/// Makes the first full administrator.
pub async fn set_up(site: &Site, hasher: &Hasher, actor: &Actor, code: &str, name: &str, password: String) -> Result<(), SetupRefused> {
    if site.store.count_accounts().await? > 0 {
        return Err(SetupRefused::Done);
    }
    let subjects = [Subject::address(&actor.address)];
    demand_code(site, &subjects, code).await?;
    let hash = hasher.hash(password).await?;
    let actor = Actor { account: "setup".to_owned(), role: "setup".to_owned(), ..actor.clone() };
    let mut draft = site.draft(&actor).await?;
    // Somebody else may have been quicker while the password was hashed.
    if draft.change.count_accounts().await? > 0 {
        return Err(SetupRefused::Done);
    }
    let codes = codes(&mut draft.change).await?;
    let setting = AccountSetting { name: name.to_owned(), role: Role::FullAdministrator, disabled: false, oidc: None };
    accounts::add(&mut draft, &setting, Some(hash)).await?;
    for (secret, _) in &codes {
        draft.change.remove_secret(secret).await?;
    }
    for subject in &subjects {
        draft.change.clear_sign_in_failures(&subject.key).await?;
    }
    draft.commit().await?;
    let own = format!("{SECRETS}{}", site.name);
    if let Some((_, stored)) = codes.iter().find(|(secret, _)| *secret == own) {
        forget_stored(stored);
    }
    info!(account = name, "The site is set up");
    Ok(())
}

/// Every try counts, so that nobody guesses.
async fn demand_code(site: &Site, subjects: &[Subject], code: &str) -> Result<(), SetupRefused> {
    sign_in::count(site, subjects).await.map_err(|refused| match refused {
        SignInRefused::Wait(seconds) => SetupRefused::Wait(seconds),
        SignInRefused::Change(refused) => SetupRefused::Change(refused),
        SignInRefused::Hash(refused) => SetupRefused::Hash(refused),
        SignInRefused::Wrong | SignInRefused::Code => SetupRefused::Code,
    })?;
    let (digest, known) = (secret_digest(code), codes(&mut site.store.view().await?).await?);
    if known.iter().any(|(_, stored)| is_code(stored, &digest)) { Ok(()) } else { Err(SetupRefused::Code) }
}

async fn codes(view: &mut View) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut codes = Vec::new();
    for name in view.secret_names().await?.into_iter().filter(|name| name.starts_with(SECRETS)) {
        if let Some(stored) = view.secret(&name).await? {
            codes.push((name, stored));
        }
    }
    Ok(codes)
}

fn is_code(stored: &[u8], digest: &[u8]) -> bool {
    split(stored).is_some_and(|(known, _)| same_secret(known, digest))
}

/// The hash of a code, and the path of its file.
fn split(stored: &[u8]) -> Option<(&[u8; 32], &[u8])> {
    stored.split_first_chunk()
}

fn forget_stored(stored: &[u8]) {
    let path = split(stored).and_then(|(_, path)| str::from_utf8(path).ok()).map(Path::new);
    // Whoever can write into the database shall not choose what is removed here.
    if let Some(path) = path.filter(|path| path.file_name().is_some_and(|name| name == FILE)) {
        forget(path);
    }
}

fn forget(path: &Path) {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(file = %path.display(), %error, "The set-up code is spent, and its file cannot be removed"),
    }
}

fn read(path: &Path) -> Option<String> {
    let mut code = String::new();
    fs::File::open(path).ok()?.take(LONGEST_FILE).read_to_string(&mut code).ok()?;
    Some(code.trim_end().to_owned())
}

/// Writes a new file that nobody but its owner reads.
fn write(path: &Path, code: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{code}")?;
    file.sync_all()
}
