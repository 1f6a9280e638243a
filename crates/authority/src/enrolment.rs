//! How a member gets its first certificate and each one after that.
//!
//! What is proven at first: whoever asks knows the code, and asks for this key on this connection; so nobody between the member and
//! the site can read the code or put in another key. What is proven later: whoever asks holds the key of a certificate in force,
//! and it gets that certificate's role again and no other.
//!
//! Absent on purpose: that a code is spent once and that a certificate was not revoked. Whoever has the database sees to both.
use std::fmt;

use aws_lc_rs::hmac;
use cmg_api::EnrolmentCode;
use cmg_api::bytes::Sha256;
use cmg_api::control::{EnrolRequest, RenewRequest};
use cmg_core::ids::{ConnectionPointId, GatewayId, ManagementPointId, Role, is_name};
use cmg_core::time::WallTime;
use cmg_credentials::facts;
use cmg_credentials::members::{self, MemberRefused, Purpose};

use crate::certificate::DAY;
use crate::key::{CryptoFailed, CsrRefused, PublicKey, random};
use crate::text;

/// How long a code counts, in seconds: 24 hours.
pub const CODE_LIFETIME: u64 = DAY;

/// Bytes that TLS exports to bind an enrolment to its connection.
const EXPORTER_SIZE: usize = 32;

/// What can be a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A gateway instance.
    Gateway,
    /// A CMG connection point.
    ConnectionPoint,
    /// A management point.
    ManagementPoint,
}

impl MemberKind {
    /// The name in codes and requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::ConnectionPoint => "connection-point",
            Self::ManagementPoint => "management-point",
        }
    }

    /// The kind called `name`.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Gateway, Self::ConnectionPoint, Self::ManagementPoint].into_iter().find(|kind| kind.name() == name)
    }

    /// The role of the member called `name`.
    pub fn role(self, name: &str) -> Role {
        match self {
            Self::Gateway => Role::Gateway(GatewayId::new(name)),
            Self::ConnectionPoint => Role::ConnectionPoint(ConnectionPointId::new(name)),
            Self::ManagementPoint => Role::ManagementPoint(ManagementPointId::new(name)),
        }
    }
}

/// Why no code is made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeRefused {
    /// A name that no member can have.
    #[error("`{0}` cannot name a member; use 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit")]
    Name(String),
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Makes a code for one member, for [`CODE_LIFETIME`]; `root` is the digest of the infrastructure root. Keep it in the vault:
/// whoever reads it before it is spent can be that member.
pub fn new_code(
    kind: MemberKind,
    name: &str,
    root: [u8; 32],
    now: WallTime,
    site_servers: Vec<String>,
) -> Result<EnrolmentCode, CodeRefused> {
    if !is_name(name) {
        return Err(CodeRefused::Name(name.to_owned()));
    }
    Ok(EnrolmentCode {
        kind: kind.name().to_owned(),
        name: name.to_owned(),
        root: Sha256(root),
        code: text::hex(&random::<16>()?),
        ends: now.0.saturating_add(CODE_LIFETIME),
        site_servers,
    })
}

/// What a new member has proven.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Who it is.
    pub role: Role,
    /// The key to certify.
    pub key: PublicKey,
    /// The key that secrets are sealed to.
    pub sealing_key: PublicKey,
}

/// Why a new member gets no certificate. The member learns no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentRefused {
    /// The code is over.
    #[error("the code ended; make a new one")]
    Ended,
    /// The code was made for another kind or name.
    #[error("the code was made for another member; make one for this member")]
    OtherMember,
    /// What it sent was not made with the code, or was changed, or came over another connection.
    #[error(
        "the request was not made with this code on this connection; give the member its own code file, and look for who changes traffic"
    )]
    Mac,
    /// The connection's exporter is missing, or there is one where none belongs.
    #[error(
        "the request names no connection that its kind enrols over; a gateway is enrolled by a connection point; other members ask directly"
    )]
    Exporter,
    /// The request for a certificate is not sound.
    #[error(transparent)]
    Csr(#[from] CsrRefused),
    /// The sealing key is no point of P-256.
    #[error("the sealing key is no uncompressed point of P-256")]
    SealingKey,
}

/// Checks `request` against the code that was made for its member. The HMAC comes first: nothing else of a stranger's counts.
pub fn check_enrolment(request: &EnrolRequest, code: &EnrolmentCode, now: WallTime) -> Result<Enrolment, EnrolmentRefused> {
    if now.0 >= code.ends {
        return Err(EnrolmentRefused::Ended);
    }
    let secret = text::from_hex(&code.code).filter(|secret| secret.len() == 16).ok_or(EnrolmentRefused::Mac)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    hmac::verify(&key, &request.proven(), &request.mac.0).map_err(|_| EnrolmentRefused::Mac)?;

    if request.kind != code.kind || request.name != code.name || !is_name(&code.name) {
        return Err(EnrolmentRefused::OtherMember);
    }
    let kind = MemberKind::named(&code.kind).ok_or(EnrolmentRefused::OtherMember)?;
    let exporter = match kind {
        MemberKind::Gateway => EXPORTER_SIZE,
        MemberKind::ConnectionPoint | MemberKind::ManagementPoint => 0,
    };
    if request.exporter.0.len() != exporter {
        return Err(EnrolmentRefused::Exporter);
    }
    Ok(Enrolment {
        role: kind.role(&code.name),
        key: PublicKey::from_csr(&request.csr.0)?,
        sealing_key: PublicKey::from_point(&request.sealing_key.0).ok_or(EnrolmentRefused::SealingKey)?,
    })
}

/// What a member that renews has proven.
#[derive(Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Who it is.
    pub role: Role,
    /// The key to certify.
    pub key: PublicKey,
    /// The key that secrets are sealed to.
    pub sealing_key: PublicKey,
    /// Serial number of the certificate in force, upper-case hexadecimal without leading zeros: look whether it was revoked.
    pub serial: String,
    /// SHA-256 of the certificate in force.
    pub fingerprint: [u8; 32],
}

/// Why a member gets no new certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewalRefused {
    /// The certificate that it shows does not count: over, or another authority's.
    #[error("the certificate that it shows does not count; enrol the member again with a new code")]
    Certificate(#[source] MemberRefused),
    /// Its certificate is that of a site server or of what signs snapshots.
    #[error("the certificate that it shows is no member's")]
    NoMember,
    /// Whoever asks does not hold the key in force, or what was asked for was changed.
    #[error("the signature is not by the key of the certificate that it shows")]
    Signature,
    /// The request for a certificate is not sound.
    #[error(transparent)]
    Csr(#[from] CsrRefused),
    /// The sealing key is no point of P-256.
    #[error("the sealing key is no uncompressed point of P-256")]
    SealingKey,
}

/// Checks that `request` comes from a member of the infrastructure authority (`roots`, DER) whose certificate is in force at `now`.
pub fn check_renewal(request: &RenewRequest, roots: &[Vec<u8>], now: WallTime) -> Result<Renewal, RenewalRefused> {
    let chain: Vec<_> = request.chain.iter().map(|der| der.0.as_slice()).collect();
    let role = match members::role(&chain, Purpose::Client, roots, now).map_err(RenewalRefused::Certificate)? {
        role @ (Role::Gateway(_) | Role::ConnectionPoint(_) | Role::ManagementPoint(_)) => role,
        Role::SiteServer(_) | Role::Snapshot(_) => return Err(RenewalRefused::NoMember),
    };
    let in_force = chain.first().copied().unwrap_or_default();
    let key_in_force = PublicKey::of_certificate(in_force).ok_or(RenewalRefused::Signature)?;
    if !key_in_force.has_signed(&request.proven(), &request.signature.0) {
        return Err(RenewalRefused::Signature);
    }
    let facts = facts::certificate_facts(in_force).map_err(|_| RenewalRefused::Certificate(MemberRefused::Malformed))?;
    Ok(Renewal {
        role,
        key: PublicKey::from_csr(&request.csr.0)?,
        sealing_key: PublicKey::from_point(&request.sealing_key.0).ok_or(RenewalRefused::SealingKey)?,
        serial: facts.serial,
        fingerprint: facts.thumbprint_sha256,
    })
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Enrolment({}/{})", self.role.kind(), self.role.name())
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Renewal({}/{})", self.role.kind(), self.role.name())
    }
}
