//! What gateways say about themselves, on its way through connection points: verified, so that none of those speaks in their place.
//!
//! Whether the certificate was revoked meanwhile is the caller's to look at.
use cmg_api::control::{MemberStatus, STATUS_CONTEXT, Signed};
use cmg_core::ids::{GatewayId, Role};
use cmg_core::time::WallTime;
use cmg_credentials::members::{self, MemberRefused, Purpose, signed_bytes};

use crate::certificate::sha256;
use crate::key::PublicKey;

/// What a gateway has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidStatus {
    /// Which gateway instance.
    pub gateway: GatewayId,
    /// SHA-256 of the certificate that it has signed under.
    pub fingerprint: [u8; 32],
    /// What it says.
    pub status: MemberStatus,
}

/// Why something is no gateway's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusRefused {
    /// The certificate beside it does not count: over, or another authority's.
    #[error("the certificate beside it does not count")]
    Certificate(#[source] MemberRefused),
    /// The certificate beside it is that of another kind of member.
    #[error("the certificate beside it is no gateway's")]
    NoGateway,
    /// Whoever has signed it does not hold the certificate's key, or it was changed.
    #[error("the signature is not by the key of the certificate beside it")]
    Signature,
    /// It is signed, and not what a status is.
    #[error("it is no status that this version reads")]
    Unreadable,
}

/// Reads what a gateway of the infrastructure authority (`roots`, DER) has signed.
pub fn check_status(signed: &Signed, roots: &[Vec<u8>], now: WallTime) -> Result<SaidStatus, StatusRefused> {
    let chain: Vec<_> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
    let gateway = match members::role(&chain, Purpose::Client, roots, now).map_err(StatusRefused::Certificate)? {
        Role::Gateway(gateway) => gateway,
        Role::ConnectionPoint(_) | Role::ManagementPoint(_) | Role::SiteServer(_) | Role::Snapshot(_) => {
            return Err(StatusRefused::NoGateway);
        }
    };
    let own = chain.first().copied().unwrap_or_default();
    let key = PublicKey::of_certificate(own).ok_or(StatusRefused::Signature)?;
    if !key.has_signed(&signed_bytes(STATUS_CONTEXT, signed.payload.as_bytes()), &signed.signature.0) {
        return Err(StatusRefused::Signature);
    }
    let status = serde_json::from_str(&signed.payload).map_err(|_| StatusRefused::Unreadable)?;
    Ok(SaidStatus { gateway, fingerprint: sha256(own), status })
}
