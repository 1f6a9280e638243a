//! How a program becomes a member: it knows a one-time code, and makes its keys itself.
//!
//! What is proven to the site: whoever asks knows the code, and asks for this key on this connection. So nobody between can read the
//! code or put in another key. What is proven to the new member: the answer's roots are those whose digest the code pins, and its
//! certificate is for this key and this name.
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use cmg_api::EnrolmentCode;
use cmg_api::bytes::{Base64, Sha256};
use cmg_api::control::{EnrolRequest, Enrolled};
use cmg_core::ids::{ConnectionPointId, GatewayId, ManagementPointId, Role, is_name};
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_credentials::load::{Disk, Files};
use cmg_credentials::members::{MemberRefused, own_role};
use cmg_credentials::sealed::SealingKey;
use cmg_process::file;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use thiserror::Error;

use crate::data::{DataError, DataFolder};
use crate::identity::{Identity, from_hex, hex, sha256};

/// Bytes of the secret in a code.
const SECRET: usize = 16;

/// Why a code is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// It was not made by a site.
    #[error("the enrolment code is damaged: {0}; make a new one at the site")]
    Malformed(&'static str),
    /// The system has no randomness, or the cryptography failed.
    #[error("keys cannot be made")]
    Keys,
}

/// Why an answer makes nobody a member.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// It does not lead to the root that the code pins.
    #[error("the answer holds no root with the digest in the enrolment code: somebody else than the site has answered")]
    OtherRoot,
    /// Its certificate is not sound.
    #[error("the answer's certificate is of no use: {0}")]
    Refused(#[from] MemberRefused),
    /// Its certificate is for somebody else.
    #[error("the answer's certificate is for {0}")]
    OtherMember(String),
    /// The cryptography failed.
    #[error("keys cannot be read back")]
    Keys,
    /// It cannot be kept.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Reads the code in the file at `path`, which the configuration key `key` names and nobody but its owner may read.
pub fn read_code(key: &str, path: &Path) -> Result<EnrolmentCode, Problem> {
    let bytes = Disk.read_secret(key, path)?;
    let text = String::from_utf8(bytes).ok();
    let code = text.and_then(|text| file::parse(&text).finish().ok());
    code.ok_or_else(|| {
        Problem::new(
            key,
            format!("{} is no enrolment code", path.display()),
            "name the file that the site wrote for this member, unchanged",
        )
    })
}

/// A program that wants to become a member.
#[derive(Debug)]
pub struct Applicant {
    role: Role,
    root: Sha256,
    secret: hmac::Key,
    key: Arc<KeyPair>,
    sealing: SealingKey,
}

/// The keys of an applicant: they last from the first time that it asks to the certificate, restarts included. The answer may be lost,
/// and the site tells it once more for the same keys only.
const KEYS: &str = "enrolling.keys";

/// Why nobody can apply.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The code is of no use.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl Applicant {
    /// Whoever the code was made for, with the keys in `folder` where they were made for this code, else with new ones, which it keeps.
    pub fn kept(code: &EnrolmentCode, folder: &DataFolder) -> Result<Self, ApplyError> {
        let mut applicant = Self::new(code)?;
        let whose = hex(&sha256(format!("{}/{} {}", code.kind, code.name, code.code).as_bytes()).0);
        match folder.read(KEYS)?.and_then(|bytes| keys_in(&bytes, &whose)) {
            Some((key, sealing)) => (applicant.key, applicant.sealing) = (Arc::new(key), sealing),
            None => {
                let (sealing, key) = (hex(applicant.sealing.private()), applicant.key.serialize_pem());
                folder.write(KEYS, format!("{whose}\n{sealing}\n{key}").as_bytes())?;
            }
        }
        Ok(applicant)
    }

    /// Makes the keys of whoever the code was made for.
    pub fn new(code: &EnrolmentCode) -> Result<Self, CodeError> {
        let role = role_named(&code.kind, &code.name).ok_or(CodeError::Malformed("it names no member"))?;
        let secret = from_hex(&code.code).filter(|secret| secret.len() == SECRET);
        let secret = secret.ok_or(CodeError::Malformed("its secret is not 32 hexadecimal digits"))?;
        Ok(Self {
            role,
            root: code.root,
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            key: Arc::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| CodeError::Keys)?),
            sealing: SealingKey::generate().map_err(|_| CodeError::Keys)?,
        })
    }

    /// Who it wants to be.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// SHA-256 of the root that counts for it.
    pub fn root(&self) -> [u8; 32] {
        self.root.0
    }

    /// Asks for a certificate over the connection whose TLS exports `exporter`; empty where the site itself is asked.
    pub fn request(&self, exporter: &[u8]) -> Result<EnrolRequest, CodeError> {
        let mut request = EnrolRequest {
            kind: self.role.kind().to_owned(),
            name: self.role.name().to_owned(),
            csr: Base64(csr(&self.key).ok_or(CodeError::Keys)?),
            sealing_key: Base64(self.sealing.public().to_vec()),
            exporter: Base64(exporter.to_vec()),
            mac: Base64::default(),
        };
        request.mac = Base64(hmac::sign(&self.secret, &request.proven()).as_ref().to_vec());
        Ok(request)
    }

    /// Takes the answer in at `now`, and keeps in `folder` what it makes of this program.
    pub fn accept(&self, answer: &Enrolled, folder: &DataFolder, now: WallTime) -> Result<Identity, EnrolError> {
        let roots: Vec<_> = answer.authorities.iter().map(|der| der.0.clone()).filter(|der| sha256(der) == self.root).collect();
        if roots.is_empty() {
            return Err(EnrolError::OtherRoot);
        }
        let chain: Vec<_> = answer.chain.iter().map(|der| der.0.clone()).collect();
        let found = own_role(&chain, &roots, now)?;
        if found != self.role {
            return Err(EnrolError::OtherMember(crate::identity::member(&found)));
        }
        let sealing = SealingKey::from_private(self.sealing.private()).map_err(|_| EnrolError::Keys)?;
        let identity = Identity::of(chain, roots, Arc::clone(&self.key), sealing)?;
        identity.store(folder)?;
        folder.remove(KEYS)?;
        Ok(identity)
    }
}

/// The keys in a file, if it was written for the code of the digest `whose`.
fn keys_in(bytes: &[u8], whose: &str) -> Option<(KeyPair, SealingKey)> {
    let (of, rest) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    let (sealing, key) = rest.split_once('\n').filter(|_| of == whose)?;
    Some((KeyPair::from_pem(key).ok()?, SealingKey::from_private(&from_hex(sealing)?).ok()?))
}

/// The role of the member of that kind and name; none: there can be none.
fn role_named(kind: &str, name: &str) -> Option<Role> {
    if !is_name(name) {
        return None;
    }
    match kind {
        "gateway" => Some(Role::Gateway(GatewayId::new(name))),
        "connection-point" => Some(Role::ConnectionPoint(ConnectionPointId::new(name))),
        "management-point" => Some(Role::ManagementPoint(ManagementPointId::new(name))),
        _ => None,
    }
}

/// A request for a certificate of `key`. The site writes everything else that is in one.
pub(crate) fn csr(key: &KeyPair) -> Option<Vec<u8>> {
    CertificateParams::default().serialize_request(key).ok().map(|csr| csr.der().to_vec())
}
