//! Bearer tokens (JWT) of a laboratory: a signing key made here, good tokens, and (in `flaw`) every bad one.
//!
//! Claims have the shape of ConfigMgr's bulk registration token; the site token's is not public, so it borrows it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKey;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaSignatureEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Map, Value, json};

use crate::error::LabError;

/// The issuer in the laboratory's tokens.
pub const ISSUER: &str = "urn:sccm:oauth2:b0a7e5d2-5f0c-4d53-9a44-0c6b7f3e1a10";
/// The audience in the laboratory's tokens.
pub const AUDIENCE: &str = "urn:sccm:service";
/// The hierarchy that issues them.
const HIERARCHY: &str = "b0a7e5d2-5f0c-4d53-9a44-0c6b7f3e1a10";

/// A signature algorithm for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA PKCS#1 with SHA-256, what ConfigMgr uses.
    Rs256,
    /// RSA PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The name in token headers and configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A key that signs tokens.
pub struct TokenSigner {
    /// What headers carry as `kid`.
    pub key_id: String,
    /// What claims carry as `iss`.
    pub issuer: String,
    algorithm: Algorithm,
    key: SigningKey,
    public_key_pem: String,
}

enum SigningKey {
    Rsa(Box<RsaKey>, &'static RsaSignatureEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TokenSigner {
    /// Makes a key for the algorithm. RSA keys have 2048 bits.
    pub fn new(key_id: &str, algorithm: Algorithm) -> Result<Self, LabError> {
        let kind = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => &PKCS_RSA_SHA256,
            Algorithm::Es256 => &PKCS_ECDSA_P256_SHA256,
            Algorithm::Es384 => &PKCS_ECDSA_P384_SHA384,
            Algorithm::EdDsa => &PKCS_ED25519,
        };
        let pair = KeyPair::generate_for(kind)?;
        let key = SigningKey::from_pkcs8(pair.serialized_der(), algorithm)?;

        Ok(Self { key_id: key_id.to_owned(), issuer: ISSUER.to_owned(), algorithm, key, public_key_pem: pair.public_key_pem() })
    }

    /// The algorithm of this key.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key (SPKI), PEM: what gateways and connection points are given.
    pub fn public_key_pem(&self) -> &str {
        &self.public_key_pem
    }

    /// A site token, good from now.
    pub fn site_token(&self, subject: &str, audience: &str, lifetime: Duration) -> Result<String, LabError> {
        self.sign(&self.claims("SiteToken", subject, audience, lifetime), &json!({}))
    }

    /// A site token that is bound (`cnf`) to a key or a certificate, good from now.
    pub fn bound_token(&self, subject: &str, audience: &str, lifetime: Duration, confirmation: Value) -> Result<String, LabError> {
        let mut claims = self.claims("SiteToken", subject, audience, lifetime);
        claims.insert("cnf".to_owned(), confirmation);
        self.sign(&claims, &json!({}))
    }

    /// A bulk registration token, good from now.
    pub fn bulk_token(&self, subject: &str, audience: &str, lifetime: Duration) -> Result<String, LabError> {
        self.sign(&self.claims("BulkRegistration", subject, audience, lifetime), &json!({}))
    }

    /// The claims of a good token.
    pub fn claims(&self, kind: &str, subject: &str, audience: &str, lifetime: Duration) -> Map<String, Value> {
        let now = unix(SystemTime::now());
        let claims = json!({
            "iss": self.issuer,
            "aud": audience,
            "sub": subject,
            "nbf": now,
            "iat": now,
            "exp": now + lifetime.as_secs(),
            "SCCMTokenCategory": "SCCMPreAuthToken",
            "Authority": "SCCM",
            "License": "SCCM",
            "Type": kind,
            "TenantId": HIERARCHY,
            "UniqueId": subject,
        });
        match claims {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    /// Signs claims under a header of `typ`, `alg` and `kid`, to which `header` adds or replaces members.
    pub fn sign(&self, claims: &Map<String, Value>, header: &Value) -> Result<String, LabError> {
        let mut members = json!({ "typ": "JWT", "alg": self.algorithm.as_str(), "kid": self.key_id });
        if let (Some(members), Some(extra)) = (members.as_object_mut(), header.as_object()) {
            members.extend(extra.clone());
        }
        self.sign_text(&members.to_string(), &Value::Object(claims.clone()).to_string())
    }

    /// Signs header and claims as they stand, valid JSON or not.
    pub fn sign_text(&self, header: &str, claims: &str) -> Result<String, LabError> {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", base64url(signature)))
    }
}

impl SigningKey {
    fn from_pkcs8(pkcs8: &[u8], algorithm: Algorithm) -> Result<Self, LabError> {
        let key = match algorithm {
            Algorithm::Rs256 => Self::Rsa(rsa(pkcs8)?, &signature::RSA_PKCS1_SHA256),
            Algorithm::Ps256 => Self::Rsa(rsa(pkcs8)?, &signature::RSA_PSS_SHA256),
            Algorithm::Es256 => Self::Ecdsa(ecdsa(pkcs8, &signature::ECDSA_P256_SHA256_FIXED_SIGNING)?),
            Algorithm::Es384 => Self::Ecdsa(ecdsa(pkcs8, &signature::ECDSA_P384_SHA384_FIXED_SIGNING)?),
            Algorithm::EdDsa => Self::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(refused)?),
        };
        Ok(key)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, LabError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).map_err(refused)?;
                Ok(signature)
            }
            Self::Ecdsa(key) => Ok(key.sign(&random, message).map_err(refused)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

fn rsa(pkcs8: &[u8]) -> Result<Box<RsaKey>, LabError> {
    Ok(Box::new(RsaKey::from_pkcs8(pkcs8).map_err(refused)?))
}

fn ecdsa(pkcs8: &[u8], algorithm: &'static signature::EcdsaSigningAlgorithm) -> Result<EcdsaKeyPair, LabError> {
    EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).map_err(refused)
}

fn refused<E>(_: E) -> LabError {
    LabError::Key("the cryptographic library refused it")
}

/// Base64 for URLs, without padding, as in every part of a token.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unix(when: SystemTime) -> u64 {
    when.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
