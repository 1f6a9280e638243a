//! A member's next certificate: asked for when two thirds of the life of the one in force are over, with a new key, signed by the old.
use std::sync::Arc;

use cmg_api::bytes::Base64;
use cmg_api::control::{Enrolled, RenewRequest};
use cmg_core::time::WallTime;
use cmg_credentials::members::own_role;
use cmg_credentials::sealed::SealingKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};

use crate::application::{CodeError, EnrolError, csr};
use crate::data::DataFolder;
use crate::identity::{Identity, member};

/// When a certificate that counts from `begins` to `ends` should be renewed: after two thirds of its life, 60 of 90 days, and up to one
/// ninetieth of it later, as `draw` (a uniform random number) says, so that members which were enrolled together do not all ask at once.
pub fn renewal_due(begins: WallTime, ends: WallTime, draw: u64) -> WallTime {
    let life = ends.0.saturating_sub(begins.0);
    let later = ((u128::from(life / 90) * u128::from(draw)) >> 64) as u64;
    WallTime(begins.0.saturating_add(life / 3 * 2).saturating_add(later))
}

/// A renewal under way.
#[derive(Debug)]
pub struct Renewal {
    key: KeyPair,
    /// What the site is asked.
    pub request: RenewRequest,
}

impl Renewal {
    /// Makes a new key, and asks for its certificate in the name of `identity`. The key for what is sealed stays, so that the last good
    /// snapshot can still be opened.
    pub fn new(identity: &Identity) -> Result<Self, CodeError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CodeError::Keys)?;
        let mut request = RenewRequest {
            csr: Base64(csr(&key).ok_or(CodeError::Keys)?),
            sealing_key: Base64(identity.sealing.public().to_vec()),
            chain: identity.chain.iter().cloned().map(Base64).collect(),
            signature: Base64::default(),
        };
        request.signature = Base64(identity.key.sign(&request.proven()).map_err(|_| CodeError::Keys)?);
        Ok(Self { key, request })
    }

    /// Takes the answer in at `now`, and keeps it in `folder` in the place of the certificate of `identity`.
    pub fn accept(self, answer: &Enrolled, identity: &Identity, folder: &DataFolder, now: WallTime) -> Result<Identity, EnrolError> {
        let chain: Vec<_> = answer.chain.iter().map(|der| der.0.clone()).collect();
        let found = own_role(&chain, &identity.roots, now)?;
        if found != identity.role {
            return Err(EnrolError::OtherMember(member(&found)));
        }
        let sealing = SealingKey::from_private(identity.sealing.private()).map_err(|_| EnrolError::Keys)?;
        let renewed = Identity::of(chain, identity.roots.clone(), Arc::new(self.key), sealing)?;
        renewed.store_certificate(folder)?;
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    #[test]
    fn a_certificate_of_90_days_is_renewed_on_the_61st() {
        let due = |draw| renewal_due(WallTime(100 * DAY), WallTime(190 * DAY), draw).0;

        assert_eq!(due(0), 160 * DAY);
        assert_eq!(due(u64::MAX / 2), 160 * DAY + DAY / 2 - 1);
        assert!((160 * DAY..161 * DAY).contains(&due(u64::MAX)));
    }

    #[test]
    fn a_certificate_without_a_life_is_due_at_once() {
        assert_eq!(renewal_due(WallTime(7), WallTime(7), u64::MAX), WallTime(7));
        assert_eq!(renewal_due(WallTime(7), WallTime(3), u64::MAX), WallTime(7));
    }
}
