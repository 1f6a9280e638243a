//! The root keys in a text file, encrypted under a passphrase. Written once; the site does not keep them.
//!
//! The file tells in clear how it is encrypted and shows the root certificates. The key comes out of the passphrase by Argon2id, the
//! content is AES-256-GCM with everything in clear before it as associated data. The certificates that count are those inside.
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::key::{CryptoFailed, PrivateKey, random};
use crate::packed::{pack, unpack};
use crate::root::{Root, Roots};
use crate::text;
use crate::vault::write_new_secret;

/// Shortest passphrase, in bytes: the file may lie anywhere for years.
pub const SHORTEST_PASSPHRASE: usize = 12;

/// The first line. What is told in clear stands before the PEM block, where other programs that read PEM pass over it.
const TITLE: &str = "opencmg root keys, encrypted under a passphrase";
const BEGIN: &str = "-----BEGIN OPENCMG ROOT KEYS-----";
const END: &str = "-----END OPENCMG ROOT KEYS-----";
const LABEL: &str = "cmg-roots/1";
pub(crate) const SALT_SIZE: usize = 16;
/// The second choice of RFC 9106: 64 MiB, 3 passes, 4 lanes.
pub(crate) const COST: Cost = Cost { kibibytes: 64 << 10, passes: 3, lanes: 4 };
/// The most that a file may ask for, so that a wrong one cannot exhaust the machine.
const HIGHEST: Cost = Cost { kibibytes: 1 << 20, passes: 32, lanes: 16 };
/// Largest file read; a right one has some 3 KB.
const LARGEST: u64 = 64 << 10;

/// Why the root keys are not exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportRefused {
    /// A passphrase that could be guessed.
    #[error("the passphrase is shorter than {SHORTEST_PASSPHRASE} bytes; take a longer one, such as five words")]
    ShortPassphrase,
    /// There is a file already.
    #[error("{} exists and is not written over; name a new file", .0.display())]
    Exists(PathBuf),
    /// Writing failed.
    #[error("{} cannot be written; name a new file in a folder that this user can write into", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Why an export does not open.
#[derive(Debug, thiserror::Error)]
pub enum ImportRefused {
    /// Reading failed.
    #[error("{} cannot be read; name the export of the root keys", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not an export, or one of another version.
    #[error("this is no export of root keys that this version reads; name the file that was written when the site was made")]
    Malformed,
    /// Another passphrase, or changed since.
    #[error("the passphrase does not open the export, or the file was changed; type the passphrase again, or take another copy")]
    Passphrase,
}

/// An export: text that may be shown and copied.
#[derive(Clone, PartialEq, Eq)]
pub struct RootExport(String);

impl RootExport {
    /// Encrypts `roots` under `passphrase`. Takes part of a second, on purpose.
    pub fn seal(roots: &Roots, passphrase: &str) -> Result<Self, ExportRefused> {
        if passphrase.len() < SHORTEST_PASSPHRASE {
            return Err(ExportRefused::ShortPassphrase);
        }
        let (salt, nonce) = (random::<SALT_SIZE>()?, random::<NONCE_LEN>()?);
        let clear = head(&roots.site, COST, &salt, &nonce);
        let content = packed(roots);
        let failed = CryptoFailed("the export could not be encrypted");
        let key = COST.key(passphrase, &salt).ok_or(failed)?;
        let mut sealed = Zeroizing::new(content.expose().to_vec());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(clear.as_bytes()), &mut sealed).map_err(|_| failed)?;
        let body = [sealed.as_slice(), tag.as_ref()].concat();

        let mut text = clear;
        text::push_lines(&mut text, &body);
        text.push_str(END);
        text.push('\n');
        for root in [&roots.infrastructure, &roots.clients] {
            text.push_str(&text::pem("CERTIFICATE", &root.certificate));
        }
        Ok(Self(text))
    }

    /// Writes the export to a new file at `path`, mode 0600.
    pub fn write(&self, path: &Path) -> Result<(), ExportRefused> {
        write_new_secret(path, self.0.as_bytes()).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => ExportRefused::Exists(path.to_owned()),
            _ => ExportRefused::Unwritable { path: path.to_owned(), source },
        })
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, ImportRefused> {
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
        read.map_err(|source| ImportRefused::Unreadable { path: path.to_owned(), source })?;
        Ok(Self::from_text(&text))
    }

    /// An export that came as text. Ends of lines may be those of Windows.
    pub fn from_text(text: &str) -> Self {
        Self(text.replace("\r\n", "\n"))
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Decrypts the roots, to certify new issuing keys. Takes part of a second, on purpose.
    pub fn open(&self, passphrase: &str) -> Result<Roots, ImportRefused> {
        let sealed = Sealed::parse(&self.0).ok_or(ImportRefused::Malformed)?;
        let key = sealed.cost.key(passphrase, &sealed.salt).ok_or(ImportRefused::Malformed)?;
        let mut content = Zeroizing::new(sealed.content);
        let nonce = Nonce::assume_unique_for_key(sealed.nonce);
        let plain = key.open_in_place(nonce, Aad::from(sealed.clear.as_bytes()), &mut content).map_err(|_| ImportRefused::Passphrase)?;
        unpacked(plain).ok_or(ImportRefused::Malformed)
    }
}

impl fmt::Debug for RootExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootExport")
    }
}

/// What Argon2id costs.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    kibibytes: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    pub(crate) fn key(self, passphrase: &str, salt: &[u8]) -> Option<LessSafeKey> {
        let params = Params::new(self.kibibytes, self.passes, self.lanes, None).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice()).ok()?;
        UnboundKey::new(&AES_256_GCM, key.as_slice()).ok().map(LessSafeKey::new)
    }

    pub(crate) fn text(self) -> String {
        let Self { kibibytes, passes, lanes } = self;
        format!("argon2id v=19 m={kibibytes} t={passes} p={lanes}")
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix("argon2id v=19 m=")?.split(' ');
        let kibibytes = numbers.next()?.parse().ok()?;
        let passes = numbers.next()?.strip_prefix("t=")?.parse().ok()?;
        let lanes = numbers.next()?.strip_prefix("p=")?.parse().ok()?;
        let bounded = kibibytes <= HIGHEST.kibibytes && passes <= HIGHEST.passes && lanes <= HIGHEST.lanes;
        (bounded && numbers.next().is_none()).then_some(Self { kibibytes, passes, lanes })
    }
}

/// What stands in clear before the content, to its last byte.
fn head(site: &str, cost: Cost, salt: &[u8], nonce: &[u8]) -> String {
    let (cost, salt, nonce) = (cost.text(), BASE64_STANDARD.encode(salt), BASE64_STANDARD.encode(nonce));
    format!("{TITLE}\nFormat: 1\nSite: {site}\nKey: {cost}\nSalt: {salt}\nCipher: AES-256-GCM\nNonce: {nonce}\n\n{BEGIN}\n")
}

/// An export, taken apart.
struct Sealed<'a> {
    clear: &'a str,
    cost: Cost,
    salt: [u8; SALT_SIZE],
    nonce: [u8; NONCE_LEN],
    content: Vec<u8>,
}

impl<'a> Sealed<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let text = &text[text.find(TITLE)?..];
        let (clear, rest) = text.split_at_checked(text.find(BEGIN)? + BEGIN.len() + 1)?;
        let body: String = rest[..rest.find(END)?].split_ascii_whitespace().collect();
        let field = |name: &str| clear.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        if field("Format") != Some("1") || field("Cipher") != Some("AES-256-GCM") {
            return None;
        }
        let decoded = |text: &str| BASE64_STANDARD.decode(text).ok();
        Some(Self {
            clear,
            cost: Cost::parse(field("Key")?)?,
            salt: decoded(field("Salt")?)?.try_into().ok()?,
            nonce: decoded(field("Nonce")?)?.try_into().ok()?,
            content: decoded(&body)?,
        })
    }
}

fn packed(roots: &Roots) -> crate::secret::Secret {
    let (infrastructure, clients) = (&roots.infrastructure, &roots.clients);
    let fields: [&[u8]; 5] =
        [roots.site.as_bytes(), &infrastructure.certificate, infrastructure.key.pkcs8(), &clients.certificate, clients.key.pkcs8()];
    pack(LABEL, &fields)
}

fn unpacked(plain: &[u8]) -> Option<Roots> {
    let fields = unpack(LABEL, plain)?;
    let [site, infrastructure, infrastructure_key, clients, client_key] = fields.as_slice() else { return None };
    Some(Roots {
        site: String::from_utf8(site.to_vec()).ok()?,
        infrastructure: Root::new(infrastructure, PrivateKey::from_pkcs8(infrastructure_key)?)?,
        clients: Root::new(clients, PrivateKey::from_pkcs8(client_key)?)?,
    })
}
