//! What the certificates of a path say they are for.
use cmg_core::refusal::Refusal;
use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter};
use x509_parser::certificate::X509Certificate;

const CLIENT_AUTH: KeyPurposeId<'static> = KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]);
const ANY_PURPOSE: KeyPurposeId<'static> = KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]);

/// A leaf must say that it is for client authentication; silence or "any purpose" is not enough.
pub(super) fn demand_client(leaf: &X509Certificate<'_>) -> Result<(), Refusal> {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if usage.value.client_auth => Ok(()),
        _ => Err(Refusal::CertificatePurpose),
    }
}

/// What each certificate of a path may say: authorities often say nothing, or "any purpose".
pub(super) struct ClientPurpose;

impl ExtendedKeyUsageValidator for ClientPurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut silent = true;
        for purpose in purposes {
            let purpose = purpose?;
            silent = false;
            if purpose == CLIENT_AUTH || purpose == ANY_PURPOSE {
                return Ok(());
            }
        }
        if silent { Ok(()) } else { Err(Error::EmptyEkuExtension) }
    }
}
