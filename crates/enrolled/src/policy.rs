//! The policy of clients, verified: by the roots that a client holds, and never an older one than it holds.
//!
//! A client that holds no root yet has two ways: it was told the SHA-256 of a root at its installation, or it believes the roots in the
//! first policy, because TLS has proven the service that this came from. Ever after, the roots of the policy in force verify the next.
//! Its own clock decides only whether the signer's certificate counts.
use aws_lc_rs::digest::{SHA256, digest};
use cmg_api::control::{GenerationId, Signed};
use cmg_api::policy::{LARGEST_POLICY, POLICY_CONTEXT, Policy};
use cmg_core::time::WallTime;
use cmg_credentials::members::{MemberRefused, Statement};
use thiserror::Error;

/// Why a policy does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyRefused {
    /// More bytes than any policy has.
    #[error("it has {0} bytes, more than any policy")]
    TooLarge(usize),
    /// It ends too early.
    #[error("it is cut off")]
    Truncated,
    /// It is no signed policy.
    #[error("it cannot be read; update this program")]
    Unreadable,
    /// The site has not signed it: another site has, or it was forged, or the clock is wrong.
    #[error("the site has not signed it: {0}")]
    Unsigned(#[from] MemberRefused),
    /// The root that was told at the installation is not among its roots.
    #[error("it is of another site than the one that was named at the installation")]
    OtherRoot,
    /// It is not newer than the one that is held.
    #[error("its generation {offered} is not newer than {known}")]
    Older {
        /// Its generation.
        offered: GenerationId,
        /// The one that is held.
        known: GenerationId,
    },
}

/// The policy in `text`, if the site under `roots` (DER) has signed it and it is newer than `known`.
///
/// `text` is what a management point answered, at most [`LARGEST_POLICY`] bytes. For a policy that was kept on disk `now` is the time when
/// it was accepted, since the signer's certificate may have ended while the device slept.
pub fn policy(text: &[u8], known: GenerationId, roots: &[Vec<u8>], now: WallTime) -> Result<Policy, PolicyRefused> {
    let signed = read(text)?;
    let policy = verified(&signed, roots, now)?;
    if policy.generation <= known {
        return Err(PolicyRefused::Older { offered: policy.generation, known });
    }
    Ok(policy)
}

/// The first policy of a client that holds no root: believed by the root with the SHA-256 `site_root`, or, where none was named, by its own
/// roots, which says no more than that it is whole.
pub fn first_policy(text: &[u8], site_root: Option<&[u8; 32]>, now: WallTime) -> Result<Policy, PolicyRefused> {
    let signed = read(text)?;
    let mut roots: Vec<Vec<u8>> = content(&signed)?.roots.into_iter().map(|root| root.0).collect();
    if let Some(wanted) = site_root {
        roots.retain(|root| digest(&SHA256, root).as_ref() == wanted);
        if roots.is_empty() {
            return Err(PolicyRefused::OtherRoot);
        }
    }
    verified(&signed, &roots, now)
}

fn read(text: &[u8]) -> Result<Signed, PolicyRefused> {
    if text.len() > LARGEST_POLICY {
        return Err(PolicyRefused::TooLarge(text.len()));
    }
    serde_json::from_slice(text).map_err(|error| if error.is_eof() { PolicyRefused::Truncated } else { PolicyRefused::Unreadable })
}

fn verified(signed: &Signed, roots: &[Vec<u8>], now: WallTime) -> Result<Policy, PolicyRefused> {
    let chain: Vec<&[u8]> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
    Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 }.verify(POLICY_CONTEXT, roots, now)?;
    content(signed)
}

fn content(signed: &Signed) -> Result<Policy, PolicyRefused> {
    serde_json::from_str(&signed.payload).map_err(|_| PolicyRefused::Unreadable)
}
