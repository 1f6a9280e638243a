//! Keys that sign the site's tokens, apart from those of certificates and snapshots.
//!
//! Each has a self-signed certificate, which nobody verifies: ConfigMgr names a token's key by the thumbprint of one. A key signs
//! several kinds of token. Which kind, the id in the token's signed header says, so that none can pass for another:
//!
//! | kind | header | id |
//! |---|---|---|
//! | bulk registration | `x5t`, as ConfigMgr's has it | thumbprint |
//! | client | `kid` | thumbprint, `.site` |
//! | CCM | `kid` | thumbprint, `.ccm` |
use std::fmt;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256};
use cmg_core::identity::TokenKind;
use cmg_core::time::WallTime;
use cmg_core::trust::{Algorithm, TokenKey};
use rcgen::{PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::certificate::{Draft, Validity, YEAR};
use crate::issuer::end_of;
use crate::key::{CryptoFailed, PrivateKey};
use crate::packed::{pack, unpack};
use crate::secret::Secret;
use crate::text;

/// How long a key signs tokens, in seconds: 2 years.
const LIFETIME: u64 = 2 * YEAR;
/// What [`TokenSigner::to_secret`] begins with.
const LABEL: &str = "cmg-token-signer/1";
/// A failure that only a broken library has.
const FAILED: CryptoFailed = CryptoFailed("a token key could not be used");

/// How the site signs tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSA of 2048 bits, PKCS#1 with SHA-256: what ConfigMgr uses.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl SigningAlgorithm {
    /// The name in RFC 7518.
    pub fn name(self) -> &'static str {
        Algorithm::from(self).name()
    }

    fn named(name: &[u8]) -> Option<Self> {
        [Self::Rs256, Self::Es256].into_iter().find(|algorithm| algorithm.name().as_bytes() == name)
    }
}

impl From<SigningAlgorithm> for Algorithm {
    fn from(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Rs256 => Self::Rs256,
            SigningAlgorithm::Es256 => Self::Es256,
        }
    }
}

/// A key that signs tokens of one hierarchy.
pub struct TokenSigner {
    algorithm: SigningAlgorithm,
    hierarchy: String,
    key: SigningKey,
    certificate: Vec<u8>,
    thumbprint: String,
    not_after: WallTime,
}

impl TokenSigner {
    /// Makes a key for the hierarchy (a GUID in lower case), for two years. An RSA key takes up to a second.
    pub fn generate(algorithm: SigningAlgorithm, hierarchy: &str, now: WallTime) -> Result<Self, CryptoFailed> {
        let key = SigningKey::generate(algorithm)?;
        let draft = Draft::leaf(&format!("tokens of {hierarchy}"), Vec::new(), &[], Validity::of(LIFETIME, now))?;
        let certificate = key.self_signed(&draft)?;
        Self::new(algorithm, hierarchy, key, certificate).ok_or(FAILED)
    }

    /// What the header of a token of `kind` names: none for kinds that the site does not issue.
    pub fn key_id(&self, kind: TokenKind) -> Option<String> {
        match kind {
            TokenKind::Bulk => Some(self.thumbprint.clone()),
            TokenKind::Site | TokenKind::Ccm => Some(format!("{}.{}", self.thumbprint, kind.name())),
            TokenKind::OidcDevice | TokenKind::OidcUser => None,
        }
    }

    /// What verifies this key's tokens of `kind`, with `leeway` seconds of clock skew: none for kinds that the site does not issue.
    pub fn token_key(&self, kind: TokenKind, leeway: u64) -> Option<TokenKey> {
        Some(TokenKey {
            id: self.key_id(kind)?,
            issuer: self.issuer(),
            algorithms: vec![self.algorithm.into()],
            public_key: self.key.public_der().ok()?,
            kind,
            leeway,
        })
    }

    /// SHA-1 of the certificate, base64 for URLs: `x5t`.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// How it signs.
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The hierarchy in its tokens.
    pub fn hierarchy(&self) -> &str {
        &self.hierarchy
    }

    /// `iss` of its tokens.
    pub fn issuer(&self) -> String {
        format!("urn:sccm:oauth2:{}", self.hierarchy)
    }

    /// When it stops signing. What it signed until then counts to its own end, so keep the public key that long.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// The certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The public key in PEM, for a `[[token_key]]`.
    pub fn public_key_pem(&self) -> Result<String, CryptoFailed> {
        Ok(text::pem("PUBLIC KEY", &self.key.public_der()?).to_string())
    }

    /// Everything, for the vault.
    pub fn to_secret(&self) -> Secret {
        let name = self.algorithm.name().as_bytes();
        pack(LABEL, &[name, self.hierarchy.as_bytes(), &self.certificate, self.key.pkcs8()])
    }

    /// Reads what [`TokenSigner::to_secret`] wrote; none: it is something else.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let fields = unpack(LABEL, secret.expose())?;
        let [algorithm, hierarchy, certificate, key] = fields.as_slice() else { return None };
        let algorithm = SigningAlgorithm::named(algorithm)?;
        let key = SigningKey::from_pkcs8(algorithm, Zeroizing::new(key.to_vec())).ok()?;
        Self::new(algorithm, std::str::from_utf8(hierarchy).ok()?, key, certificate.to_vec())
    }

    /// A token: `header` and `claims` as they are, and the signature.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String, CryptoFailed> {
        let part = |value: &Value| text::base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", text::base64url(&signature)))
    }

    fn new(algorithm: SigningAlgorithm, hierarchy: &str, key: SigningKey, certificate: Vec<u8>) -> Option<Self> {
        let thumbprint = text::base64url(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate).as_ref());
        let not_after = end_of(&certificate)?;
        Some(Self { algorithm, hierarchy: hierarchy.to_owned(), key, certificate, thumbprint, not_after })
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigner({} {})", self.algorithm.name(), self.thumbprint)
    }
}

/// The private key. Tokens want ECDSA signatures of fixed length, certificates in ASN.1, so ECDSA is there twice.
enum SigningKey {
    Rsa(RsaKey),
    Ecdsa { fixed: Box<EcdsaKeyPair>, key: PrivateKey },
}

impl SigningKey {
    fn generate(algorithm: SigningAlgorithm) -> Result<Self, CryptoFailed> {
        let pkcs8 = match algorithm {
            SigningAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| FAILED)?;
                let der = pair.as_der().map_err(|_| FAILED)?;
                Zeroizing::new(der.as_ref().to_vec())
            }
            SigningAlgorithm::Es256 => Zeroizing::new(PrivateKey::generate()?.pkcs8().to_vec()),
        };
        Self::from_pkcs8(algorithm, pkcs8)
    }

    fn from_pkcs8(algorithm: SigningAlgorithm, pkcs8: Zeroizing<Vec<u8>>) -> Result<Self, CryptoFailed> {
        match algorithm {
            SigningAlgorithm::Rs256 => {
                let pair = rsa::KeyPair::from_pkcs8(&pkcs8).map_err(|_| FAILED)?;
                Ok(Self::Rsa(RsaKey { pair: Box::new(pair), pkcs8 }))
            }
            SigningAlgorithm::Es256 => {
                let fixed = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).map_err(|_| FAILED)?;
                Ok(Self::Ecdsa { fixed: Box::new(fixed), key: PrivateKey::from_pkcs8(&pkcs8).ok_or(FAILED)? })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        match self {
            Self::Rsa(key) => key.signature(message),
            Self::Ecdsa { fixed, .. } => {
                let signature = fixed.sign(&SystemRandom::new(), message);
                signature.map(|bytes| bytes.as_ref().to_vec()).map_err(|_| FAILED)
            }
        }
    }

    fn self_signed(&self, draft: &Draft) -> Result<Vec<u8>, CryptoFailed> {
        let signed = match self {
            Self::Rsa(key) => draft.params.self_signed(key),
            Self::Ecdsa { key, .. } => draft.params.self_signed(key),
        };
        signed.map(|certificate| certificate.der().to_vec()).map_err(|_| FAILED)
    }

    /// SubjectPublicKeyInfo, DER.
    fn public_der(&self) -> Result<Vec<u8>, CryptoFailed> {
        let der = match self {
            Self::Rsa(key) => key.pair.public_key().as_der(),
            Self::Ecdsa { fixed, .. } => fixed.public_key().as_der(),
        };
        der.map(|der| der.as_ref().to_vec()).map_err(|_| FAILED)
    }

    fn pkcs8(&self) -> &[u8] {
        match self {
            Self::Rsa(key) => &key.pkcs8,
            Self::Ecdsa { key, .. } => key.pkcs8(),
        }
    }
}

struct RsaKey {
    pair: Box<rsa::KeyPair>,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl RsaKey {
    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).map_err(|_| FAILED)?;
        Ok(signature)
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl rcgen::SigningKey for RsaKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
