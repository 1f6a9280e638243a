//! Public keys as JSON web keys (RFC 7517): those that tokens are bound to and that proofs are signed with.
//!
//! One key has one text here: numbers of the right length, base64 for URLs without padding and without spare bits, nothing private.
//! So a thumbprint (RFC 7638) names a key and no spelling of it.
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::trust::Algorithm;
use serde_json::Value;

use crate::text::{base64url, sha256};

/// Members that only private and symmetric keys have.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// Smallest and largest modulus of RSA, in bytes.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;
/// Largest modulus of RSA in proofs, in bytes: of those the client chooses the key, and whoever is asked pays for it with every request.
const LARGEST_OF_PROOFS: usize = 512;
/// The exponent of RSA that everybody uses, 65537: the largest that counts in proofs.
const USUAL_EXPONENT: [u8; 3] = [1, 0, 1];

/// Why a JSON web key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkRefused {
    /// A private or symmetric key.
    #[error("the key is not only the public half; send `kty` and the public members only")]
    Private,
    /// A kind of key or a curve that is not used here.
    #[error("the key is none that this site uses; take EC on P-256 or P-384, RSA of 2048 to 8192 bits, or Ed25519")]
    Kind,
    /// RSA that is larger than counts in proofs.
    #[error("the key costs too much to verify with; take RSA of 2048 to 4096 bits with the exponent 65537, or EC")]
    Costly,
    /// A member is missing, or is not what it should be.
    #[error("the key is not well formed; write its numbers in full length, in base64 for URLs without padding")]
    Malformed,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    P256([u8; 65]),
    P384([u8; 97]),
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ed25519([u8; 32]),
}

impl Jwk {
    /// Reads a public key.
    pub fn parse(jwk: &Value) -> Result<Self, JwkRefused> {
        let members = jwk.as_object().ok_or(JwkRefused::Malformed)?;
        if PRIVATE.iter().any(|name| members.contains_key(*name)) {
            return Err(JwkRefused::Private);
        }
        let text = |name| jwk.get(name).and_then(Value::as_str).ok_or(JwkRefused::Malformed);
        let number = |name| URL_SAFE_NO_PAD.decode(text(name)?).map_err(|_| JwkRefused::Malformed);
        let kind = match text("kty")? {
            "EC" => match text("crv")? {
                "P-256" => Kind::P256(point(&number("x")?, &number("y")?)?),
                "P-384" => Kind::P384(point(&number("x")?, &number("y")?)?),
                _ => return Err(JwkRefused::Kind),
            },
            "RSA" => rsa(number("n")?, number("e")?)?,
            "OKP" if text("crv")? == "Ed25519" => Kind::Ed25519(number("x")?.try_into().map_err(|_| JwkRefused::Malformed)?),
            _ => return Err(JwkRefused::Kind),
        };
        Ok(Self(kind))
    }

    /// A key on P-256 by its uncompressed point: 4, x, y.
    pub fn p256(point: [u8; 65]) -> Self {
        Self(Kind::P256(point))
    }

    /// SHA-256 thumbprint (RFC 7638), base64 for URLs: `jkt`.
    pub fn thumbprint(&self) -> String {
        base64url(&sha256(self.to_json().as_bytes()))
    }

    /// The members that make the key and no other, as RFC 7638 writes them: in alphabetical order, without blanks.
    pub fn to_json(&self) -> String {
        match &self.0 {
            Kind::P256(point) => curve("P-256", &point[1..]),
            Kind::P384(point) => curve("P-384", &point[1..]),
            Kind::Rsa { modulus, exponent } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, base64url(exponent), base64url(modulus))
            }
            Kind::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, base64url(key)),
        }
    }

    /// Whether verifying with it costs more than strangers may ask for.
    pub(crate) fn is_costly(&self) -> bool {
        match &self.0 {
            Kind::Rsa { modulus, exponent } => {
                let is_usual = exponent.len() < USUAL_EXPONENT.len() || *exponent == USUAL_EXPONENT;
                modulus.len() > LARGEST_OF_PROOFS || !is_usual
            }
            Kind::P256(_) | Kind::P384(_) | Kind::Ed25519(_) => false,
        }
    }

    /// Whether this key made `signature` over `message`; none: it is not a key for `algorithm`.
    pub(crate) fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Option<bool> {
        let verified = match (&self.0, algorithm) {
            (Kind::P256(point), Algorithm::Es256) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature),
            (Kind::P384(point), Algorithm::Es384) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).verify(message, signature),
            (Kind::Ed25519(key), Algorithm::EdDsa) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            (Kind::Rsa { modulus, exponent }, Algorithm::Rs256) => {
                PublicKeyComponents { n: modulus, e: exponent }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Kind::Rsa { modulus, exponent }, Algorithm::Ps256) => {
                PublicKeyComponents { n: modulus, e: exponent }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Kind::P256(_) | Kind::P384(_) | Kind::Ed25519(_) | Kind::Rsa { .. }, _) => return None,
        };
        Some(verified.is_ok())
    }
}

/// SHA-256 thumbprint (RFC 7638) of a public JSON web key, base64 for URLs.
pub fn jwk_thumbprint(jwk: &Value) -> Result<String, JwkRefused> {
    Jwk::parse(jwk).map(|key| key.thumbprint())
}

/// An uncompressed point of `N` bytes.
fn point<const N: usize>(x: &[u8], y: &[u8]) -> Result<[u8; N], JwkRefused> {
    if x.len() != y.len() {
        return Err(JwkRefused::Malformed);
    }
    [&[4], x, y].concat().try_into().map_err(|_| JwkRefused::Malformed)
}

fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Result<Kind, JwkRefused> {
    let minimal = |number: &[u8]| number.first().is_some_and(|first| *first != 0);
    if !minimal(&modulus) || !minimal(&exponent) || exponent.len() > 4 {
        return Err(JwkRefused::Malformed);
    }
    if MODULUS.contains(&modulus.len()) { Ok(Kind::Rsa { modulus, exponent }) } else { Err(JwkRefused::Kind) }
}

fn curve(name: &str, coordinates: &[u8]) -> String {
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    format!(r#"{{"crv":"{name}","kty":"EC","x":"{}","y":"{}"}}"#, base64url(x), base64url(y))
}
