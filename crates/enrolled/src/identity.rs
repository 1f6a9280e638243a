//! Who an enrolled program is: its role certificate with the key, the roots that it believes, the key that opens what is sealed to it.
//!
//! The roots are those of the enrolment, and then those that a manifest of the site names. A renewal brings none, since the answer comes
//! through a connection point, which must not be able to make anybody believe another authority.
use std::sync::Arc;

use cmg_api::bytes::Sha256;
use cmg_api::control::Manifest;
use cmg_core::ids::Role;
use cmg_core::problem::Problem;
use cmg_core::time::WallTime;
use cmg_credentials::facts::certificate_facts;
use cmg_credentials::members::{self, MemberRefused};
use cmg_credentials::sealed::SealingKey;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use rcgen::{KeyPair, PublicKeyData};

use crate::data::{AUTHORITY, DataError, DataFolder, ROLE_CHAIN, ROLE_KEY, SEALING_KEY};
use crate::renewal::renewal_due;

/// A new key, until its certificate is in its place.
const NEXT_KEY: &str = "role.key.next";

/// Who this program is.
#[derive(Debug)]
pub struct Identity {
    /// What the certificate says.
    pub role: Role,
    /// The certificate and its issuers without the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// The roots of the infrastructure authority, DER.
    pub roots: Vec<Vec<u8>>,
    /// When the certificate begins to count.
    pub begins: WallTime,
    /// When it ends.
    pub ends: WallTime,
    /// Opens what is sealed to this member.
    pub sealing: SealingKey,
    pub(crate) key: Arc<KeyPair>,
}

impl Identity {
    /// Reads the identity in `folder`; none: the program is not enrolled.
    pub fn load(folder: &DataFolder) -> Result<Option<Self>, DataError> {
        let Some(chain) = folder.read(ROLE_CHAIN)? else { return Ok(None) };
        let chain = certificates(&chain).ok_or_else(|| folder.damaged(ROLE_CHAIN, "it holds no certificates"))?;
        let roots = folder.read(AUTHORITY)?.and_then(|pem| certificates(&pem));
        let roots = roots.ok_or_else(|| folder.damaged(AUTHORITY, "it holds no certificates"))?;
        let sealing = from_hex(folder.text(SEALING_KEY)?.trim()).and_then(|bytes| SealingKey::from_private(&bytes).ok());
        let sealing = sealing.ok_or_else(|| folder.damaged(SEALING_KEY, "it holds no key"))?;
        let key = matching_key(folder, &chain[0])?;
        Self::of(chain, roots, Arc::new(key), sealing).map(Some).map_err(|refused| folder.damaged(ROLE_CHAIN, refused.to_string()))
    }

    /// The kind and the name, as manifests and sealed secrets name a member: `gateway/gw-1`.
    pub fn member(&self) -> String {
        member(&self.role)
    }

    /// When the certificate should be renewed, as [`renewal_due`] says of `draw`; at once where the site issues under another root, which is
    /// the first that it names.
    pub fn due(&self, draw: u64) -> WallTime {
        let first = self.roots.get(..1).unwrap_or_default();
        match members::own_role(&self.chain, first, self.begins) {
            Ok(_) => renewal_due(self.begins, self.ends, draw),
            Err(_) => WallTime(0),
        }
    }

    /// This member with the roots that `manifest` names, which are kept in `folder`; none: those count already. The manifest is the
    /// site's, signed under a root that counted when it came.
    pub fn believing(&self, manifest: &Manifest, folder: &DataFolder) -> Result<Option<Self>, Problem> {
        let roots: Vec<Vec<u8>> = manifest.authorities.iter().map(|root| root.0.clone()).collect();
        if roots.is_empty() || roots == self.roots {
            return Ok(None);
        }
        let problem = |what: String, instead: &str| Problem::new("site.data", what, instead);
        let sealing = SealingKey::from_private(self.sealing.private());
        let sealing = sealing.map_err(|_| problem("the sealing key cannot be read back".to_owned(), "start the program again"))?;
        let next = Self::of(self.chain.clone(), roots, Arc::clone(&self.key), sealing).map_err(|refused| {
            let what = format!("the site counts on another root than the one that this member's certificate leads to: {refused}");
            problem(what, "empty the folder and enrol again with a new code")
        })?;
        let kept = folder.write(AUTHORITY, pem(&next.roots).as_bytes());
        kept.map_err(|error| problem(error.to_string(), "put it right, or name another folder"))?;
        Ok(Some(next))
    }

    /// Puts together what belongs together.
    pub(crate) fn of(chain: Vec<Vec<u8>>, roots: Vec<Vec<u8>>, key: Arc<KeyPair>, sealing: SealingKey) -> Result<Self, MemberRefused> {
        let facts = chain.first().and_then(|leaf| certificate_facts(leaf).ok()).ok_or(MemberRefused::Malformed)?;
        // Whether it has run out is for those to judge to whom it is shown; a program whose certificate did must still start to renew it.
        let role = members::own_role(&chain, &roots, facts.not_before)?;
        if members::public_key(&chain[0]).as_deref() != Some(&key.subject_public_key_info()) {
            return Err(MemberRefused::Signature);
        }
        Ok(Self { role, chain, roots, begins: facts.not_before, ends: facts.not_after, sealing, key })
    }

    /// Writes everything, the certificate last: a folder with a certificate in it is a whole one.
    pub(crate) fn store(&self, folder: &DataFolder) -> Result<(), DataError> {
        folder.write(SEALING_KEY, format!("{}\n", hex(self.sealing.private())).as_bytes())?;
        folder.write(AUTHORITY, pem(&self.roots).as_bytes())?;
        self.store_certificate(folder)
    }

    /// Writes the certificate and its key. Whatever stops the program in between, both belong together when they are read again.
    pub(crate) fn store_certificate(&self, folder: &DataFolder) -> Result<(), DataError> {
        folder.write(NEXT_KEY, self.key.serialize_pem().as_bytes())?;
        folder.write(ROLE_CHAIN, pem(&self.chain).as_bytes())?;
        folder.rename(NEXT_KEY, ROLE_KEY)
    }
}

/// The kind and the name of a role.
pub(crate) fn member(role: &Role) -> String {
    format!("{}/{}", role.kind(), role.name())
}

/// The key of `leaf`: the one in its place, or one that was about to come there.
fn matching_key(folder: &DataFolder, leaf: &[u8]) -> Result<KeyPair, DataError> {
    let wanted = members::public_key(leaf);
    let read = |name| folder.read(name).map(|bytes| bytes.and_then(|bytes| KeyPair::from_pem(&String::from_utf8(bytes).ok()?).ok()));
    for name in [ROLE_KEY, NEXT_KEY] {
        let Some(key) = read(name)?.filter(|key| wanted.as_ref() == Some(&key.subject_public_key_info())) else { continue };
        if name == NEXT_KEY {
            folder.rename(NEXT_KEY, ROLE_KEY)?;
        }
        return Ok(key);
    }
    Err(folder.damaged(ROLE_KEY, "it is not the key of the certificate beside it"))
}

fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).map(|item| item.map(|der| der.to_vec())).collect();
    found.ok().filter(|found| !found.is_empty())
}

fn pem(certificates: &[Vec<u8>]) -> String {
    let block = |der: &Vec<u8>| {
        let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    certificates.iter().map(block).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for; none: they are none.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len() / 2).map(|place| u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()).collect()
}

/// SHA-256, as the protocol writes it.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    Sha256(digest)
}
