//! Keys of the authority and of those it certifies: ECDSA on P-256 and nothing else.
//!
//! Private keys stay in this crate's own type and not in that of the certificate library, which keeps copies in memory.
use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey, UnparsedPublicKey,
};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};
use zeroize::Zeroizing;

use crate::secret::Secret;
use crate::text;

/// The cryptographic library failed where it should not; the word says at what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cryptographic library failed: {0}")]
pub struct CryptoFailed(pub &'static str);

/// Why a certificate signing request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrRefused {
    /// Not one PKCS#10 request in DER.
    #[error("it is no certificate signing request; send PKCS#10 in DER")]
    Malformed,
    /// Its key is another than ECDSA on P-256, or its signature another than with SHA-256.
    #[error("its key cannot be certified; make one for ECDSA on P-256 and sign the request with SHA-256")]
    NotP256,
    /// Whoever made it does not hold the key.
    #[error("its signature does not fit its key; sign the request with the key that it asks a certificate for")]
    Signature,
}

/// A private key, ECDSA on P-256.
pub struct PrivateKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl PrivateKey {
    /// Makes a new key.
    pub fn generate() -> Result<Self, CryptoFailed> {
        let failed = CryptoFailed("a key could not be made");
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| failed)?;
        let document = pair.to_pkcs8v1().map_err(|_| failed)?;
        let pkcs8 = Zeroizing::new(document.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// Reads PKCS#8; none: it is no such key.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).ok()?;
        Some(Self { pair, pkcs8: Zeroizing::new(der.to_vec()) })
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        let mut point = [0; PublicKey::SIZE];
        point.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(point)
    }

    /// The key as PKCS#8 in PEM, what a key file holds.
    pub fn to_pem(&self) -> Secret {
        let pem = text::pem("PRIVATE KEY", &self.pkcs8);
        Secret::new(pem.as_bytes().to_vec())
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// ECDSA with SHA-256, ASN.1.
    pub(crate) fn signature(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        let signature = self.pair.sign(&rand::SystemRandom::new(), message);
        signature.map(|bytes| bytes.as_ref().to_vec()).map_err(|_| CryptoFailed("nothing could be signed"))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

impl PublicKeyData for PrivateKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// A public key, ECDSA on P-256, known to be a point of the curve.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PublicKey::SIZE]);

impl PublicKey {
    /// Bytes of an uncompressed point.
    pub const SIZE: usize = 65;

    /// The key in a certificate signing request (PKCS#10, DER) whose signature is checked. Nothing else in it counts.
    pub fn from_csr(der: &[u8]) -> Result<Self, CsrRefused> {
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(CsrRefused::Malformed);
        };
        let key = Self::of(&request.certification_request_info.subject_pki).ok_or(CsrRefused::NotP256)?;
        if !is_ecdsa_with_sha256(&request.signature_algorithm) {
            return Err(CsrRefused::NotP256);
        }
        if !key.has_signed(request.certification_request_info.raw, &request.signature_value.data) {
            return Err(CsrRefused::Signature);
        }
        Ok(key)
    }

    /// Reads an uncompressed point; none: it is no point of the curve.
    pub fn from_point(bytes: &[u8]) -> Option<Self> {
        let point = bytes.try_into().ok()?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, bytes).ok()?;
        Some(Self(point))
    }

    /// The uncompressed point: 4, x, y.
    pub fn point(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// The key of a certificate.
    pub(crate) fn of_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Self::of(certificate.public_key())
    }

    /// Whether this key made `signature` (ECDSA with SHA-256, ASN.1) over `message`.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.0).verify(message, signature).is_ok()
    }

    fn of(info: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        /// `id-ecPublicKey` and `secp256r1`, as they stand in DER.
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

        let curve = info.algorithm.parameters.as_ref()?.as_oid().ok()?;
        if info.algorithm.algorithm.as_bytes() != EC || curve.as_bytes() != P256 {
            return None;
        }
        Self::from_point(&info.subject_public_key.data)
    }
}

fn is_ecdsa_with_sha256(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    algorithm.algorithm.as_bytes() == [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", text::hex(&self.0))
    }
}

impl PublicKeyData for PublicKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], CryptoFailed> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CryptoFailed("the system gives no random numbers"))?;
    Ok(bytes)
}
