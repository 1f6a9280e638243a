//! What signs snapshots and freshness statements: a key of its own, apart from those of certificates and tokens.
//!
//! It proves itself by its chain, so a new key needs no word to anybody; see [`cmg_api::control::Signed`].
use std::fmt;

use cmg_api::bytes::Base64;
use cmg_api::control::Signed;
use cmg_core::time::WallTime;
use cmg_credentials::members::signed_bytes;

use crate::issuer::end_of;
use crate::key::{CryptoFailed, PrivateKey, PublicKey};
use crate::packed::{pack, unpack};
use crate::secret::Secret;

/// What [`SnapshotSigner::to_secret`] begins with.
const LABEL: &str = "cmg-snapshot-signer/1";

/// Signs for the site.
pub struct SnapshotSigner {
    key: PrivateKey,
    chain: Vec<Vec<u8>>,
    not_after: WallTime,
}

impl SnapshotSigner {
    pub(crate) fn new(key: PrivateKey, chain: Vec<Vec<u8>>, not_after: WallTime) -> Self {
        Self { key, chain, not_after }
    }

    /// Signs `payload` as what `context` says it is: one of the contexts in [`cmg_api::control`].
    pub fn sign(&self, context: &str, payload: String) -> Result<Signed, CryptoFailed> {
        let signature = Base64(self.key.signature(&signed_bytes(context, payload.as_bytes()))?);
        Ok(Signed { payload, chain: self.chain.iter().cloned().map(Base64).collect(), signature })
    }

    /// When its certificate ends: what is signed counts no longer than that.
    pub fn not_after(&self) -> WallTime {
        self.not_after
    }

    /// Its certificate and the issuers without the root, DER.
    pub fn chain(&self) -> &[Vec<u8>] {
        &self.chain
    }

    /// Everything, for the vault.
    pub fn to_secret(&self) -> Secret {
        let mut fields = vec![self.key.pkcs8()];
        fields.extend(self.chain.iter().map(Vec::as_slice));
        pack(LABEL, &fields)
    }

    /// Reads what [`SnapshotSigner::to_secret`] wrote; none: it is something else.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        let fields = unpack(LABEL, secret.expose())?;
        let (key, chain) = fields.split_first()?;
        let key = PrivateKey::from_pkcs8(key)?;
        let own = chain.first()?;
        if PublicKey::of_certificate(own)? != key.public() {
            return None;
        }
        let not_after = end_of(own)?;
        Some(Self::new(key, chain.iter().map(|der| der.to_vec()).collect(), not_after))
    }
}

impl fmt::Debug for SnapshotSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotSigner")
    }
}
