//! What people and scripts prove themselves with to the site: passwords, API tokens, sessions.
//!
//! A password is weak, so it is stored under Argon2id. A token or session secret has 256 random bits, so its SHA-256 is enough, and
//! quick to look up.
use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::certificate::sha256;
use crate::key::{CryptoFailed, random};
use crate::text;

/// Longest password, in bytes: what a stranger sends is hashed.
pub const LONGEST_PASSWORD: usize = 1024;
/// What API tokens begin with, so that scanners for leaked secrets know them.
pub const API_TOKEN_PREFIX: &str = "cmg_";

/// Why a password cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Empty or too long. How good a password must be is for the caller to say.
    #[error("a password has 1 to {LONGEST_PASSWORD} bytes")]
    Length,
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Hashes a password for storing: a PHC string with its own salt and parameters.
///
/// Blocks for some tens of milliseconds and takes 19 MiB, so call it where blocking is allowed and bound how many run at once.
pub fn hash_password(password: &str) -> Result<String, PasswordRefused> {
    demand_length(password)?;
    let salt = random::<16>()?;
    let hash = argon2()?.hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| CryptoFailed("a password could not be hashed"))?;
    Ok(hash.to_string())
}

/// Whether `password` is the one that `hash` was made of. False where `hash` is no PHC string.
///
/// Blocks like [`hash_password`].
pub fn verify_password(password: &str, hash: &str) -> bool {
    let (Ok(()), Ok(hash), Ok(argon2)) = (demand_length(password), PasswordHash::new(hash), argon2()) else {
        return false;
    };
    argon2.verify_password(password.as_bytes(), &hash).is_ok()
}

/// A secret that is shown once, and what is stored of it.
pub struct NewSecret {
    /// What the holder gets.
    pub text: Zeroizing<String>,
    /// What is stored.
    pub digest: [u8; 32],
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret")
    }
}

/// A new API token: `cmg_` and 256 random bits in base64 for URLs.
pub fn new_api_token() -> Result<NewSecret, CryptoFailed> {
    new_secret(API_TOKEN_PREFIX)
}

/// A new session secret: 256 random bits in base64 for URLs.
pub fn new_session() -> Result<NewSecret, CryptoFailed> {
    new_secret("")
}

/// What is stored of an API token or session secret.
pub fn secret_digest(text: &str) -> [u8; 32] {
    sha256(text.as_bytes())
}

/// Whether two secrets or digests are equal, in a time that does not depend on where they differ.
pub fn same_secret(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

fn new_secret(prefix: &str) -> Result<NewSecret, CryptoFailed> {
    let bytes = Zeroizing::new(random::<32>()?);
    let encoded = Zeroizing::new(text::base64url(bytes.as_slice()));
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + encoded.len()));
    text.push_str(prefix);
    text.push_str(&encoded);
    let digest = secret_digest(&text);
    Ok(NewSecret { text, digest })
}

fn demand_length(password: &str) -> Result<(), PasswordRefused> {
    if (1..=LONGEST_PASSWORD).contains(&password.len()) { Ok(()) } else { Err(PasswordRefused::Length) }
}

/// The least that OWASP recommends: 19 MiB, 2 passes, 1 lane.
fn argon2() -> Result<Argon2<'static>, CryptoFailed> {
    let params = Params::new(19 << 10, 2, 1, None).map_err(|_| CryptoFailed("Argon2id was refused its parameters"))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}
