//! The device's key: made here, kept here, never sent. It signs a proof of possession (RFC 9449) for every request that shows its token.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::time::WallTime;
use serde_json::{Value, json};

use crate::disk::{Disk, DiskError};

/// Its file in the client's folder: PKCS#8, DER.
const FILE: &str = "device.key";

/// ECDSA on P-256.
pub struct DeviceKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

/// What one proof is about.
pub struct Proof<'a> {
    /// The method of the request.
    pub method: &'a str,
    /// The URL that is asked for, without query.
    pub url: &'a str,
    /// The token beside it.
    pub token: &'a str,
    /// The nonce that the other end has given on this connection.
    pub nonce: Option<&'a str>,
    /// About now, by the clock of the other end as far as it is known.
    pub at: WallTime,
}

impl DeviceKey {
    /// The key on disk; made where there is none.
    pub fn load_or_make(disk: &Disk) -> Result<Self, DiskError> {
        if let Some(known) = Self::load(disk)? {
            return Ok(known);
        }
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        disk.write(FILE, made.map_err(|_| disk.damaged(FILE, "no key could be made"))?.as_ref())?;
        Self::load(disk)?.ok_or_else(|| disk.damaged(FILE, "it has vanished"))
    }

    /// The key on disk; none: there is none.
    pub fn load(disk: &Disk) -> Result<Option<Self>, DiskError> {
        let Some(bytes) = disk.read(FILE)? else { return Ok(None) };
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes);
        pair.map(|pair| Some(Self::of(pair))).map_err(|_| disk.damaged(FILE, "it holds no key; remove it, and install anew"))
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        // An uncompressed point: a byte that says so, and two coordinates of 32 bytes.
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        Self { x: base64url(x), y: base64url(y), pair }
    }

    /// The thumbprint (RFC 7638): `jkt` of a token that is bound to it.
    pub fn thumbprint(&self) -> String {
        let Self { x, y, .. } = self;
        base64url(digest(&SHA256, format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#).as_bytes()))
    }

    /// A proof that has not been made before; none where the system has no random numbers.
    pub fn prove(&self, proof: &Proof<'_>) -> Option<String> {
        let random = SystemRandom::new();
        let mut id = [0; 16];
        random.fill(&mut id).ok()?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": { "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y } });
        let ath = base64url(digest(&SHA256, proof.token.as_bytes()));
        let mut claims = json!({ "htm": proof.method, "htu": proof.url, "iat": proof.at.0, "jti": base64url(id), "ath": ath });
        if let Some(nonce) = proof.nonce {
            claims["nonce"] = Value::from(nonce);
        }
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let signature = self.pair.sign(&random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", base64url(signature)))
    }
}

fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use cmg_credentials::dpop::{Request, verify};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_key_stays_and_its_proofs_count() {
        let dir = TempDir::new().unwrap();
        let disk = Disk::open(&dir.path().join("a")).unwrap();
        let thumbprint = DeviceKey::load_or_make(&disk).unwrap().thumbprint();

        let key = DeviceKey::load_or_make(&disk).unwrap();
        let (url, at) = ("https://cmg.example.com/cmg/v1/policy", WallTime(1_000));
        let proof = key.prove(&Proof { method: "GET", url, token: "t", nonce: Some("n"), at }).unwrap();

        let asked = Request { method: "GET", url, access_token: Some("t"), nonces: &["n"] };
        assert_eq!(verify(&proof, asked, at, 60).unwrap().jkt, thumbprint);
        assert_eq!(key.thumbprint(), thumbprint);
    }
}
