//! Whom an end of a tunnel believes: what the infrastructure authority has issued, but for certificates that were revoked since.
use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// Role certificates that count no more although they have not ended, by their SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevokedMembers(Arc<BTreeSet<[u8; 32]>>);

impl RevokedMembers {
    /// Whether the certificate (DER) is one of them.
    pub fn name(&self, certificate: &[u8]) -> bool {
        !self.0.is_empty() && digest(&SHA256, certificate).as_ref().try_into().is_ok_and(|digest: [u8; 32]| self.0.contains(&digest))
    }
}

impl FromIterator<[u8; 32]> for RevokedMembers {
    fn from_iter<T: IntoIterator<Item = [u8; 32]>>(digests: T) -> Self {
        Self(Arc::new(digests.into_iter().collect()))
    }
}

/// Whom an end of a tunnel believes.
#[derive(Clone, Debug)]
pub struct Believed<'a> {
    /// Roots of the infrastructure authority, DER.
    pub roots: &'a [Vec<u8>],
    /// What they have issued and counts no more.
    pub revoked: RevokedMembers,
}

/// Nothing was revoked.
impl<'a> From<&'a [Vec<u8>]> for Believed<'a> {
    fn from(roots: &'a [Vec<u8>]) -> Self {
        Self { roots, revoked: RevokedMembers::default() }
    }
}

impl<'a> From<&'a Vec<Vec<u8>>> for Believed<'a> {
    fn from(roots: &'a Vec<Vec<u8>>) -> Self {
        roots.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Vec<u8>; N]> for Believed<'a> {
    fn from(roots: &'a [Vec<u8>; N]) -> Self {
        roots.as_slice().into()
    }
}
