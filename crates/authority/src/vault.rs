//! Secrets in the database, encrypted under a key that lies in a file outside it: who has the database alone has no secret.
//!
//! A sealed secret is a version byte, a nonce of 12 random bytes, and AES-256-GCM. Its name is associated data, so that whoever can
//! write into the database cannot put one secret in another's place.
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::key::{CryptoFailed, random};
use crate::secret::Secret;

/// The format of sealed secrets.
const VERSION: u8 = 1;
/// Bytes of the key.
const KEY_SIZE: usize = 32;
/// Longest key file read; a right one has 45 bytes.
const LONGEST_FILE: u64 = 256;

/// Why a key file cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum VaultKeyRefused {
    /// There is a file already, whose key may be in use.
    #[error("{} exists and is not written over; secrets sealed under its key would be lost. Name a new file", .0.display())]
    Exists(PathBuf),
    /// Reading or writing failed.
    #[error("{} cannot be used; name a file that this user can read and write", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others than the owner may read it.
    #[error("{0} has mode {mode:04o}, so others than its owner can use it; wanted is 0600. Run `chmod 600 {0}`", .path.display())]
    Loose {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What it holds is no key.
    #[error("{} holds no vault key: 32 bytes in base64 on one line; bring back the file from a backup", .0.display())]
    NoKey(PathBuf),
    /// No key could be made.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Why a sealed secret does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// Sealed by a version of the program that this one does not know.
    #[error("the secret has a format of a newer version; start that version")]
    Version,
    /// Sealed under another key or another name, or changed since.
    #[error("the secret does not open: another key file, another name, or changed bytes; use the key file that belongs to this database")]
    Sealed,
}

/// The key that seals secrets.
pub struct VaultKey(LessSafeKey);

impl VaultKey {
    /// Makes a new key and writes it to a new file at `path`, mode 0600.
    pub fn create(path: &Path) -> Result<Self, VaultKeyRefused> {
        let key = Zeroizing::new(random::<KEY_SIZE>()?);
        let mut text = Zeroizing::new(BASE64_STANDARD.encode(*key));
        text.push('\n');
        write_new_secret(path, text.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => VaultKeyRefused::Exists(path.to_owned()),
            _ => unusable(path, source),
        })?;
        Ok(Self::of(key.as_slice())?)
    }

    /// Writes the text of a key file, out of a backup, to a new file at `path`, mode 0600.
    pub fn write_text(path: &Path, text: &str) -> io::Result<()> {
        write_new_secret(path, text.as_bytes())
    }

    /// Reads the key from the file at `path`, which nobody but its owner may use.
    pub fn read(path: &Path) -> Result<Self, VaultKeyRefused> {
        let file = File::open(path).map_err(|source| unusable(path, source))?;
        demand_closed(path, &file)?;
        let mut text = Zeroizing::new(String::with_capacity(LONGEST_FILE as usize));
        match file.take(LONGEST_FILE).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(VaultKeyRefused::NoKey(path.to_owned())),
            Err(source) => return Err(unusable(path, source)),
        }
        let key = BASE64_STANDARD.decode(text.trim_end()).map(Zeroizing::new);
        let key = key.ok().filter(|key| key.len() == KEY_SIZE).ok_or_else(|| VaultKeyRefused::NoKey(path.to_owned()))?;
        Ok(Self::of(key.as_slice())?)
    }

    /// Encrypts `plain`, to be opened under the same `name` only.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let content = &mut sealed[1 + NONCE_LEN..];
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), associated(name), content)
            .map_err(|_| CryptoFailed("nothing could be encrypted"))?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Decrypts what [`VaultKey::seal`] made under the same `name`.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Secret, OpenRefused> {
        let (version, rest) = sealed.split_first().ok_or(OpenRefused::Sealed)?;
        if *version != VERSION {
            return Err(OpenRefused::Version);
        }
        let (nonce, content) = rest.split_first_chunk::<NONCE_LEN>().ok_or(OpenRefused::Sealed)?;
        let mut bytes = Zeroizing::new(content.to_vec());
        let plain = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), associated(name), &mut bytes)
            .map_err(|_| OpenRefused::Sealed)?
            .len();
        bytes.truncate(plain);
        Ok(Secret::from(bytes))
    }

    fn of(key: &[u8]) -> Result<Self, CryptoFailed> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| CryptoFailed("the vault key was refused"))?;
        Ok(Self(LessSafeKey::new(key)))
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey")
    }
}

fn associated(name: &str) -> Aad<Vec<u8>> {
    Aad::from([b"cmg-vault", [VERSION].as_slice(), name.as_bytes()].concat())
}

fn unusable(path: &Path, source: io::Error) -> VaultKeyRefused {
    VaultKeyRefused::Unusable { path: path.to_owned(), source }
}

/// Writes a new file that nobody but its owner may read, and waits until the disk has it and its name.
pub(crate) fn write_new_secret(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Asks the opened file, not the path, so that nothing can be swapped in between.
#[cfg(unix)]
fn demand_closed(path: &Path, file: &File) -> Result<(), VaultKeyRefused> {
    use std::os::unix::fs::PermissionsExt;

    let mode = file.metadata().map_err(|source| unusable(path, source))?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(VaultKeyRefused::Loose { path: path.to_owned(), mode }) }
}

/// Elsewhere access lists decide, which the installer sets.
#[cfg(not(unix))]
fn demand_closed(_path: &Path, _file: &File) -> Result<(), VaultKeyRefused> {
    Ok(())
}
