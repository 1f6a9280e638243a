//! Proofs of possession (RFC 9449) as a client makes them: a key of its own, and a small signed token for every request.

use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Map, Value, json};

use crate::error::LabError;
use crate::token::{base64url, unix};

/// A client's key, ECDSA on P-256.
pub struct ProofKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

impl ProofKey {
    /// Makes a key.
    pub fn new() -> Result<Self, LabError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| LabError::Key("no key for proofs"))?;
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Ok(Self { x: base64url(x), y: base64url(y), pair })
    }

    /// The thumbprint (RFC 7638): `jkt` of a token that is bound to it.
    pub fn thumbprint(&self) -> String {
        let Self { x, y, .. } = self;
        base64url(digest(&SHA256, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()))
    }

    /// A proof for one request with `token`, made now, that has not been made before.
    pub fn proof(&self, method: &str, url: &str, token: &str, nonce: Option<&str>) -> Result<String, LabError> {
        let mut claims = Self::claims(method, url, token)?;
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), nonce.into());
        }
        self.sign(&claims)
    }

    /// The claims of a good proof without a nonce.
    pub fn claims(method: &str, url: &str, token: &str) -> Result<Map<String, Value>, LabError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| LabError::Key("no random numbers"))?;
        let ath = base64url(digest(&SHA256, token.as_bytes()));
        let claims = json!({ "htm": method, "htu": url, "iat": unix(SystemTime::now()), "jti": base64url(id), "ath": ath });
        Ok(claims.as_object().cloned().unwrap_or_default())
    }

    /// Signs claims as they stand.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, LabError> {
        self.sign_as("ES256", claims)
    }

    /// The same, and says that it was by another algorithm.
    pub fn sign_as(&self, algorithm: &str, claims: &Map<String, Value>) -> Result<String, LabError> {
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y });
        let header = json!({ "typ": "dpop+jwt", "alg": algorithm, "jwk": jwk });
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(Value::Object(claims.clone()).to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| LabError::Key("a proof is not signed"))?;
        Ok(format!("{signed}.{}", base64url(signature)))
    }
}
