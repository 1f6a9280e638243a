//! What an authority gives out, ready to be used in memory or written to files.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use rcgen::{KeyPair, SigningKey};

use crate::error::LabError;
use crate::file;

/// A certificate with its key.
#[derive(Clone)]
pub struct Issued {
    /// The certificate alone.
    pub certificate_pem: String,
    /// The certificate and the authorities above it, without the root.
    pub chain_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// The certificate alone, DER.
    pub der: Vec<u8>,
    /// Serial number, big-endian.
    pub serial: Vec<u8>,
}

/// Where a certificate and its key were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The chain, PEM.
    pub chain: PathBuf,
    /// The private key, PEM, mode 0600.
    pub key: PathBuf,
}

impl Issued {
    /// Writes `<stem>.pem` (the chain) and `<stem>.key` (mode 0600) into a folder.
    pub fn write(&self, folder: &Path, stem: &str) -> Result<IssuedFiles, LabError> {
        let files = IssuedFiles { chain: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        file::write(&files.chain, &self.chain_pem)?;
        file::write_secret(&files.key, &self.key_pem)?;
        Ok(files)
    }

    /// Signs with the key: ECDSA with SHA-256, ASN.1, where it is one on P-256.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, LabError> {
        Ok(KeyPair::from_pem(&self.key_pem)?.sign(message)?)
    }

    /// Serial number as lower-case hexadecimal digits.
    pub fn serial_hex(&self) -> String {
        hex(&self.serial)
    }

    /// SHA-1 of the certificate as lower-case hexadecimal digits, the thumbprint Windows shows.
    pub fn thumbprint(&self) -> String {
        hex(digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.der).as_ref())
    }

    /// SHA-256 of the certificate as lower-case hexadecimal digits.
    pub fn thumbprint_sha256(&self) -> String {
        hex(digest::digest(&SHA256, &self.der).as_ref())
    }
}

/// A certificate revocation list.
#[derive(Clone)]
pub struct RevocationList {
    /// PEM form.
    pub pem: String,
    /// DER form.
    pub der: Vec<u8>,
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
