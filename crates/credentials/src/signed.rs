//! The outer form that certificates and revocation lists share: what is signed, how, and the signature.
use pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_parser::asn1_rs::Any;
use x509_parser::prelude::FromDer;

/// A signed structure in its three parts.
pub(crate) struct Signed<'a> {
    /// The part that is signed, whole.
    pub(crate) content: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let (_, outer) = element(der)?;
        let (after_content, _) = element(outer.data)?;
        let content = &outer.data[..outer.data.len() - after_content.len()];
        let (rest, algorithm) = element(after_content)?;
        let (_, signature) = element(rest)?;
        // A bit string begins with the number of bits that its last byte leaves unused.
        let signature = signature.data.strip_prefix(&[0])?;
        Some(Self { content, algorithm: algorithm.data, signature })
    }

    /// Whether `key` made the signature.
    pub(crate) fn is_signed_by(&self, key: &SubjectPublicKeyInfoDer<'_>) -> bool {
        let Ok(key) = RawPublicKeyEntity::try_from(key) else {
            return false;
        };
        webpki::ALL_VERIFICATION_ALGS
            .iter()
            .filter(|candidate| candidate.signature_alg_id().as_ref() == self.algorithm)
            .any(|candidate| key.verify_signature(*candidate, self.content, self.signature).is_ok())
    }
}

/// The first element of `der`, and what follows it.
pub(crate) fn element(der: &[u8]) -> Option<(&[u8], Any<'_>)> {
    Any::from_der(der).ok()
}
