//! A backup under a passphrase: a few lines in clear that tell how, then the content.
//!
//! The key comes out of the passphrase by Argon2id, as that of a root export does; the content is AES-256-GCM with the lines in clear as
//! associated data.
use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::export::{COST, Cost, SALT_SIZE, SHORTEST_PASSPHRASE};
use crate::key::{CryptoFailed, random};
use crate::secret::Secret;

/// The first line.
const TITLE: &str = "opencmg backup, encrypted under a passphrase";
/// Where the lines in clear end.
const GAP: &[u8] = b"\n\n";
/// The longest head that is looked for.
const LONGEST_HEAD: usize = 1_024;

/// Why nothing is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealRefused {
    /// A passphrase that could be guessed.
    #[error("the passphrase is shorter than {SHORTEST_PASSPHRASE} bytes; take a longer one, such as five words")]
    ShortPassphrase,
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Why an archive does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenRefused {
    /// Not a backup, or one of another version.
    #[error("this is no backup that this version reads; name a file that `cmg site backup` has written")]
    Malformed,
    /// Another passphrase, or changed since.
    #[error("the passphrase does not open the backup, or the file was changed; type the passphrase again, or take another copy")]
    Passphrase,
}

/// Encrypts `plain` under `passphrase`. Takes part of a second, on purpose.
pub fn seal(passphrase: &str, plain: &[u8]) -> Result<Vec<u8>, SealRefused> {
    if passphrase.len() < SHORTEST_PASSPHRASE {
        return Err(SealRefused::ShortPassphrase);
    }
    let (salt, nonce) = (random::<SALT_SIZE>()?, random::<NONCE_LEN>()?);
    let failed = CryptoFailed("the backup could not be encrypted");
    let key = COST.key(passphrase, &salt).ok_or(failed)?;
    let head = head(COST, &salt, &nonce);
    let mut archive = head.clone().into_bytes();
    archive.extend_from_slice(plain);
    let content = &mut archive[head.len()..];
    let tag =
        key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(head.as_bytes()), content).map_err(|_| failed)?;
    archive.extend_from_slice(tag.as_ref());
    Ok(archive)
}

/// Decrypts what [`seal`] made under the same passphrase. Takes part of a second, on purpose.
pub fn open(passphrase: &str, archive: &[u8]) -> Result<Secret, OpenRefused> {
    let end = archive.windows(GAP.len()).take(LONGEST_HEAD).position(|two| two == GAP).ok_or(OpenRefused::Malformed)? + GAP.len();
    let (head, content) = archive.split_at(end);
    let lines = std::str::from_utf8(head).map_err(|_| OpenRefused::Malformed)?;
    let field = |name: &str| lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    if !lines.starts_with(TITLE) || field("Format") != Some("1") || field("Cipher") != Some("AES-256-GCM") {
        return Err(OpenRefused::Malformed);
    }
    let cost = field("Key").and_then(Cost::parse).ok_or(OpenRefused::Malformed)?;
    let bytes = |name: &str| field(name).and_then(|text| BASE64_STANDARD.decode(text).ok()).ok_or(OpenRefused::Malformed);
    let nonce: [u8; NONCE_LEN] = bytes("Nonce")?.try_into().map_err(|_| OpenRefused::Malformed)?;
    let key = cost.key(passphrase, &bytes("Salt")?).ok_or(OpenRefused::Malformed)?;
    let mut content = content.to_vec();
    let plain =
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(head), &mut content).map_err(|_| OpenRefused::Passphrase)?;
    Ok(Secret::new(plain.to_vec()))
}

fn head(cost: Cost, salt: &[u8], nonce: &[u8]) -> String {
    let (cost, salt, nonce) = (cost.text(), BASE64_STANDARD.encode(salt), BASE64_STANDARD.encode(nonce));
    format!("{TITLE}\nFormat: 1\nKey: {cost}\nSalt: {salt}\nCipher: AES-256-GCM\nNonce: {nonce}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "five words that nobody guesses";

    #[test]
    fn a_backup_opens_under_its_passphrase_only() {
        let archive = seal(WORDS, b"everything\n\nand more").unwrap();

        assert_eq!(open(WORDS, &archive).unwrap().expose(), b"everything\n\nand more");
        assert_eq!(open("five other words, just as long", &archive).err(), Some(OpenRefused::Passphrase));
        assert!(!archive.windows(10).any(|ten| ten == b"everything"));
    }

    #[test]
    fn a_changed_backup_does_not_open() {
        let archive = seal(WORDS, b"everything").unwrap();

        for place in [archive.len() - 1, archive.len() - 20] {
            let mut changed = archive.clone();
            changed[place] ^= 1;
            assert_eq!(open(WORDS, &changed).err(), Some(OpenRefused::Passphrase), "{place}");
        }
        assert_eq!(open(WORDS, &archive[10..]).err(), Some(OpenRefused::Malformed));
        assert_eq!(open(WORDS, b"").err(), Some(OpenRefused::Malformed));
    }

    #[test]
    fn a_short_passphrase_is_refused() {
        assert_eq!(seal("secret", b"everything").err(), Some(SealRefused::ShortPassphrase));
    }
}
