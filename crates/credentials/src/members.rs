//! What the infrastructure authority has said: who somebody is, and what the site has signed.
//!
//! A role counts only in a chain that leads to a root of the infrastructure authority. The site signs its configurations and its
//! statements of freshness with a certificate of the role `snapshot`; so a new signing key needs no word to anybody.
use std::fmt;
use std::time::Duration;

use cmg_core::ids::Role;
use cmg_core::time::WallTime;
use pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use webpki::{EndEntityCert, KeyUsage};

use crate::facts;
use crate::tls::{Believed, role_of};

/// 1.3.6.1.5.5.7.3.3, as coded.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// Most certificates of a chain, and most bytes that they may have together.
const LONGEST_CHAIN: usize = 8;
const LARGEST_CHAIN: usize = 64 << 10;

/// What a certificate of the infrastructure authority must be good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The accepting end of TLS: gateways, management points, site servers.
    Server,
    /// The dialling end of TLS: connection points.
    Client,
    /// Signing configurations.
    Signing,
}

/// Why a chain proves no role, or a text is not the site's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRefused {
    /// There is no certificate, there are too many, or one cannot be read.
    Malformed,
    /// It was not issued by the infrastructure authority.
    Foreign,
    /// It is not valid at this time.
    NotInForce,
    /// It is not good for this purpose.
    WrongPurpose,
    /// It names no role, or more than one, or another one than is needed here.
    WrongRole,
    /// The signature is not the certificate's.
    Signature,
    /// The site has withdrawn the signing key.
    Withdrawn,
}

impl fmt::Display for MemberRefused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Malformed => "its certificates cannot be read",
            Self::Foreign => "its certificate was not issued by the site's infrastructure authority",
            Self::NotInForce => "its certificate is not valid at this time",
            Self::WrongPurpose => "its certificate is for something else",
            Self::WrongRole => "its certificate is for another role",
            Self::Signature => "its signature is wrong",
            Self::Withdrawn => "the site has withdrawn the key that it was signed with",
        })
    }
}

impl std::error::Error for MemberRefused {}

/// The role that `chain` (the leaf first, DER) proves under the infrastructure authority's `roots` (DER) at `now`.
pub fn role(chain: &[impl AsRef<[u8]>], purpose: Purpose, roots: &[Vec<u8>], now: WallTime) -> Result<Role, MemberRefused> {
    let chain = certificates(chain)?;
    let leaf = EndEntityCert::try_from(&chain[0]).map_err(|_| MemberRefused::Malformed)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.0));
    leaf.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors(roots)?, &chain[1..], time, purpose.usage(), None, None)
        .map_err(|error| refused(&error))?;
    role_of(&chain).ok_or(MemberRefused::WrongRole)
}

/// The role that a member's own `chain` proves, for what such a role is used for.
pub fn own_role(chain: &[impl AsRef<[u8]>], roots: &[Vec<u8>], now: WallTime) -> Result<Role, MemberRefused> {
    let purpose = match role_of(&certificates(chain)?).ok_or(MemberRefused::WrongRole)? {
        Role::Gateway(_) | Role::ManagementPoint(_) | Role::SiteServer(_) => Purpose::Server,
        Role::ConnectionPoint(_) => Purpose::Client,
        Role::Snapshot(_) => Purpose::Signing,
    };
    role(chain, purpose, roots, now)
}

/// A text of the site with its signature.
#[derive(Clone, Copy, Debug)]
pub struct Statement<'a, D> {
    /// What is signed.
    pub payload: &'a [u8],
    /// The signer's certificate and its issuers, DER.
    pub chain: &'a [D],
    /// ECDSA on P-256 with SHA-256, ASN.1.
    pub signature: &'a [u8],
}

impl<D: AsRef<[u8]>> Statement<'_, D> {
    /// Whether the site has signed it, as what `context` says, under the `infrastructure` authority at `now`, with a key that it has not
    /// withdrawn.
    pub fn verify<'a>(&self, context: &str, infrastructure: impl Into<Believed<'a>>, now: WallTime) -> Result<(), MemberRefused> {
        let Believed { roots, revoked } = infrastructure.into();
        if !matches!(role(self.chain, Purpose::Signing, roots, now)?, Role::Snapshot(_)) {
            return Err(MemberRefused::WrongRole);
        }
        let chain = certificates(self.chain)?;
        if revoked.name(&chain[0]) {
            return Err(MemberRefused::Withdrawn);
        }
        if !is_for_signing(&chain[0]) {
            return Err(MemberRefused::WrongPurpose);
        }
        let signer = EndEntityCert::try_from(&chain[0]).map_err(|_| MemberRefused::Malformed)?;
        let message = signed_bytes(context, self.payload);
        signer.verify_signature(ECDSA_P256_SHA256, &message, self.signature).map_err(|_| MemberRefused::Signature)
    }
}

/// The bytes under the signature of a statement.
pub fn signed_bytes(context: &str, payload: &[u8]) -> Vec<u8> {
    [context.as_bytes(), &[0], payload].concat()
}

impl Purpose {
    fn usage(self) -> KeyUsage {
        match self {
            Self::Server => KeyUsage::server_auth(),
            Self::Client => KeyUsage::client_auth(),
            Self::Signing => KeyUsage::required_if_present(CODE_SIGNING),
        }
    }
}

/// The public key of a certificate, SubjectPublicKeyInfo in DER; none: it cannot be read.
pub fn public_key(certificate: &[u8]) -> Option<Vec<u8>> {
    facts::parse(certificate).ok().map(|parsed| parsed.public_key().raw.to_vec())
}

/// Whether the certificate itself says so; issuers above it may be silent.
fn is_for_signing(certificate: &[u8]) -> bool {
    let parsed = facts::parse(certificate).ok();
    parsed.is_some_and(|parsed| parsed.extended_key_usage().is_ok_and(|usage| usage.is_some_and(|usage| usage.value.code_signing)))
}

fn certificates(chain: &[impl AsRef<[u8]>]) -> Result<Vec<CertificateDer<'_>>, MemberRefused> {
    let bytes: usize = chain.iter().map(|der| der.as_ref().len()).sum();
    if chain.is_empty() || chain.len() > LONGEST_CHAIN || bytes > LARGEST_CHAIN {
        return Err(MemberRefused::Malformed);
    }
    Ok(chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect())
}

fn anchors(roots: &[Vec<u8>]) -> Result<Vec<TrustAnchor<'static>>, MemberRefused> {
    let anchor = |der: &Vec<u8>| {
        let certificate = CertificateDer::from(der.as_slice());
        webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()).map_err(|_| MemberRefused::Malformed)
    };
    roots.iter().map(anchor).collect()
}

fn refused(error: &webpki::Error) -> MemberRefused {
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => MemberRefused::NotInForce,
        webpki::Error::EmptyEkuExtension | webpki::Error::RequiredEkuNotFoundContext(_) => MemberRefused::WrongPurpose,
        webpki::Error::BadDer | webpki::Error::BadDerTime => MemberRefused::Malformed,
        _ => MemberRefused::Foreign,
    }
}
