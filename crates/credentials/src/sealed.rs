//! Secrets on their way to one member: sealed to its key, so that nobody in between, the connection point among them, can read them.
//!
//! HPKE (RFC 9180) in base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM. A sealed secret is the length of the
//! encapsulated key (two bytes, big-endian), that key, and the ciphertext. The associated data name the member and the secret, so that
//! a sealed secret counts nowhere else and as nothing else.
use std::fmt;

use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P256_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};

/// What the keys are used for: part of every derivation.
const INFO: &[u8] = b"cmg-sealed/1";

/// Why a secret cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The key is no key on P-256.
    Key,
    /// It was sealed to another key, another member or under another name, or it was changed on the way.
    NotForMe,
    /// The system has no randomness.
    Randomness,
}

impl fmt::Display for SealError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Key => "the key is no key on P-256",
            Self::NotForMe => "it was sealed to another key, or it was changed on the way",
            Self::Randomness => "the system has no randomness",
        })
    }
}

impl std::error::Error for SealError {}

/// The key that opens what was sealed to one member.
pub struct SealingKey {
    private: HpkePrivateKey,
    public: Vec<u8>,
}

impl SealingKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, SealError> {
        let private = PrivateKey::generate(&ECDH_P256).map_err(|_| SealError::Randomness)?;
        let bytes: EcPrivateKeyBin<'_> = private.as_be_bytes().map_err(|_| SealError::Randomness)?;
        Self::from_private(bytes.as_ref())
    }

    /// The key whose private scalar is these 32 bytes.
    pub fn from_private(bytes: &[u8]) -> Result<Self, SealError> {
        let private = PrivateKey::from_private_key(&ECDH_P256, bytes).map_err(|_| SealError::Key)?;
        let public = private.compute_public_key().map_err(|_| SealError::Key)?.as_ref().to_vec();
        Ok(Self { private: HpkePrivateKey::from(bytes.to_vec()), public })
    }

    /// The private scalar, 32 bytes, for the file that keeps it.
    pub fn private(&self) -> &[u8] {
        self.private.secret_bytes()
    }

    /// What secrets are sealed to: an uncompressed point, 65 bytes.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// Opens what was sealed to `member` (`gateway/gw-1`) under `name`.
    pub fn open(&self, member: &str, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (length, rest) = sealed.split_first_chunk().ok_or(SealError::NotForMe)?;
        let (key, ciphertext) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(SealError::NotForMe)?;
        let key = EncapsulatedSecret(key.to_vec());
        let opened = DH_KEM_P256_HKDF_SHA256_AES_256.open(&key, INFO, &associated(member, name), ciphertext, &self.private);
        opened.map_err(|_| SealError::NotForMe)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[secret]")
    }
}

/// Seals `plain` to `member` (`gateway/gw-1`), whose public key is an uncompressed point, under `name`.
pub fn seal(public: &[u8], member: &str, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
    let public = HpkePublicKey(public.to_vec());
    let sealed = DH_KEM_P256_HKDF_SHA256_AES_256.seal(INFO, &associated(member, name), plain, &public);
    let (EncapsulatedSecret(key), ciphertext) = sealed.map_err(|_| SealError::Key)?;
    let length = u16::try_from(key.len()).map_err(|_| SealError::Key)?;
    Ok([&length.to_be_bytes()[..], &key, &ciphertext].concat())
}

fn associated(member: &str, name: &str) -> Vec<u8> {
    [member.as_bytes(), &[0], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] = b"-----BEGIN PRIVATE KEY-----";

    fn a_key() -> SealingKey {
        SealingKey::generate().expect("randomness")
    }

    #[test]
    fn what_is_sealed_to_a_member_opens_there() {
        let key = a_key();
        let sealed = seal(key.public(), "gateway/gw-1", "web", PLAIN).expect("a sound key");
        let same = SealingKey::from_private(key.private()).expect("a sound key");

        assert_eq!(same.open("gateway/gw-1", "web", &sealed).as_deref(), Ok(PLAIN));
        assert_eq!((key.public().len(), same.public()), (65, key.public()));
    }

    #[test]
    fn it_opens_for_nobody_else_and_as_nothing_else() {
        let key = a_key();
        let sealed = seal(key.public(), "gateway/gw-1", "web", PLAIN).expect("a sound key");

        assert_eq!(a_key().open("gateway/gw-1", "web", &sealed), Err(SealError::NotForMe));
        assert_eq!(key.open("gateway/gw-2", "web", &sealed), Err(SealError::NotForMe));
        assert_eq!(key.open("gateway/gw-1", "other", &sealed), Err(SealError::NotForMe));
    }

    #[test]
    fn it_opens_at_no_changed_byte_and_at_no_cut() {
        let key = a_key();
        let sealed = seal(key.public(), "gateway/gw-1", "web", PLAIN).expect("a sound key");

        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("gateway/gw-1", "web", &changed).is_err(), "byte {at}");
            assert!(key.open("gateway/gw-1", "web", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_secret_is_sealed_to_sound_keys_only() {
        assert_eq!(seal(&[4; 65], "gateway/gw-1", "web", PLAIN), Err(SealError::Key));
        assert!(matches!(SealingKey::from_private(&[0; 32]), Err(SealError::Key)));
    }
}
