//! The public keys that tokens are checked with, parsed once.
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use cmg_core::identity::TokenKind;
use cmg_core::problem::Problem;
use cmg_core::trust::{Algorithm, TokenKey};

/// Most clock skew allowed, in seconds.
const LARGEST_LEEWAY: u64 = 300;

/// One key, with what it decides.
pub(super) struct Key {
    pub(super) id: String,
    pub(super) issuer: String,
    pub(super) kind: TokenKind,
    /// Seconds.
    pub(super) leeway: u64,
    public_keys: Vec<(Algorithm, ParsedPublicKey)>,
}

impl Key {
    /// The key for `algorithm`, where it may be used with it.
    pub(super) fn public_key(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.public_keys.iter().find(|(known, _)| *known == algorithm).map(|(_, key)| key)
    }
}

pub(super) fn load(keys: &[TokenKey]) -> Result<Vec<Key>, Vec<Problem>> {
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    for (place, key) in keys.iter().enumerate() {
        let mut public_keys = Vec::new();
        if key.algorithms.is_empty() {
            let at = format!("token_key[{place}].algorithms");
            problems.push(Problem::new(at, "no algorithm is named", "name at least one, for example [\"RS256\"]"));
        }
        for algorithm in &key.algorithms {
            match ParsedPublicKey::new(verification(*algorithm), &key.public_key) {
                Ok(public_key) => public_keys.push((*algorithm, public_key)),
                Err(_) => {
                    let what = format!("the key cannot be used with {}", algorithm.name());
                    let instead = "RS256 and PS256 want RSA of 2048 bits or more, ES256 P-256, ES384 P-384, EdDSA Ed25519";
                    problems.push(Problem::new(format!("token_key[{place}].key"), what, instead));
                }
            }
        }
        loaded.push(Key {
            id: key.id.clone(),
            issuer: key.issuer.clone(),
            kind: key.kind,
            leeway: key.leeway.min(LARGEST_LEEWAY),
            public_keys,
        });
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

fn verification(algorithm: Algorithm) -> &'static dyn VerificationAlgorithm {
    match algorithm {
        Algorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDsa => &signature::ED25519,
    }
}
