//! Signatures of clients: RSA with PKCS #1 v1.5 and SHA-256, written as a little-endian number in hexadecimal, as CryptoAPI has it.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256;
use x509_parser::prelude::FromDer;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use crate::xml::of_hex;
use crate::{Fault, utf16};

/// The shortest key, in bytes of its modulus.
const SHORTEST: usize = 256;

/// The key that a client signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientKey {
    /// Big-endian, no leading zero.
    modulus: Vec<u8>,
    /// Big-endian, no leading zero.
    exponent: Vec<u8>,
}

impl ClientKey {
    /// The key in a certificate, DER. The certificate itself proves nothing: clients sign their own.
    pub fn of_certificate(der: &[u8]) -> Result<Self, Fault> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Fault::Malformed("the certificate"))?;
        if !rest.is_empty() {
            return Err(Fault::Malformed("the certificate"));
        }
        let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() else { return Err(Fault::WeakKey) };
        let key = Self { modulus: number(key.modulus), exponent: number(key.exponent) };
        if key.modulus.len() < SHORTEST { Err(Fault::WeakKey) } else { Ok(key) }
    }

    /// Whether this key has made `signature`, in hexadecimal, over `message`. `what` names it in the fault.
    pub fn verify(&self, message: &[u8], signature: &str, what: &'static str) -> Result<(), Fault> {
        let mut signature = of_hex(signature.trim()).ok_or(Fault::Malformed(what))?;
        signature.reverse();
        let key = PublicKeyComponents { n: &self.modulus, e: &self.exponent };
        key.verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature).map_err(|_| Fault::Signature(what))
    }

    /// Whether this key has made `signature` over a text in UTF-16 with a NUL behind it.
    pub(crate) fn verify_text(&self, text: &str, signature: &str, what: &'static str) -> Result<(), Fault> {
        self.verify(&utf16::with_nul(text), signature, what)
    }
}

fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().skip_while(|byte| **byte == 0).copied().collect()
}

/// The key as a PUBLICKEYBLOB of CryptoAPI, as `PublicKey` has it.
pub fn public_key_blob(key: &ClientKey) -> Vec<u8> {
    let mut exponent = [0; 4];
    for (place, byte) in exponent.iter_mut().zip(key.exponent.iter().rev()) {
        *place = *byte;
    }
    let bits = (key.modulus.len() as u32) * 8;
    let mut blob = vec![6, 2, 0, 0, 0, 0xa4, 0, 0];
    blob.extend_from_slice(b"RSA1");
    blob.extend_from_slice(&bits.to_le_bytes());
    blob.extend_from_slice(&exponent);
    blob.extend(key.modulus.iter().rev());
    blob
}

/// What `ClientToken` says: who, and when, in seconds since 1970. It counts once `ClientTokenSignature` is verified by
/// [`ClientKey::verify`] over the value in UTF-16 with a NUL behind it, which [`client_token`] does.
pub fn client_token(key: &ClientKey, value: &str, signature: &str) -> Result<(), Fault> {
    key.verify_text(value, signature, "ClientToken")
}
