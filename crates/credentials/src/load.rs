//! Certificates, keys, lists and PFX files, read into what the rest of the program works with.
//!
//! `files` is where they come from, `key` the configuration key that named one; every problem carries it.
use std::path::Path;
use std::sync::Arc;

use cmg_core::ids::Role;
use cmg_core::problem::Problem;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use pki_types::pem::PemObject;
use pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::CertifiedKey;

use crate::{facts, tls};

pub use crate::files::{Disk, Files};

/// A server certificate with its key.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// DNS names of the certificate, lower case; `*.example` stays as it is.
    pub names: Vec<String>,
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
}

/// A role certificate with its key: what one end of a tunnel shows the other.
#[derive(Clone, Debug)]
pub struct RoleIdentity {
    /// What the certificate says its holder is.
    pub role: Role,
    /// The chain and the key.
    pub key: Arc<CertifiedKey>,
}

/// The two files of a certificate: the configuration keys that named them, and their paths.
#[derive(Clone, Copy, Debug)]
pub struct PairFiles<'a> {
    /// Configuration key of the chain.
    pub chain_key: &'a str,
    /// PEM file: the certificate first, then its issuers.
    pub chain: &'a Path,
    /// Configuration key of the private key.
    pub private_key_key: &'a str,
    /// PEM file, closed to others than its owner.
    pub private_key: &'a Path,
}

/// Reads a server certificate from PEM files.
pub fn read_server_identity(files: &dyn Files, pair: PairFiles<'_>) -> Result<ServerIdentity, Problem> {
    server_identity(pair.chain_key, pair.chain, read_pair(files, pair)?)
}

/// Reads a server certificate from a PFX (PKCS#12) file with the password in `password_file`.
pub fn read_server_identity_pfx(
    files: &dyn Files,
    key: &str,
    pfx: &Path,
    password_key: &str,
    password_file: &Path,
) -> Result<ServerIdentity, Problem> {
    let (chain, private_key) = read_pfx(files, key, pfx, password_key, password_file)?;
    server_identity(key, pfx, certified(key, pfx, chain, private_key)?)
}

/// Reads a chain, the certificate first, and its private key from a PFX (PKCS#12) file with the password in `password_file`.
pub fn read_pfx(
    files: &dyn Files,
    key: &str,
    pfx: &Path,
    password_key: &str,
    password_file: &Path,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Problem> {
    let bytes = files.read_secret(key, pfx)?;
    let password = read_password(files, password_key, password_file)?;
    let store = KeyStore::from_pkcs12(&bytes, &password, Pkcs12ImportPolicy::Strict).map_err(|error| {
        let what = format!("{} cannot be opened: {error}", pfx.display());
        Problem::new(key, what, "name a PFX file and the file with its password")
    })?;
    let Some((_, entry)) = store.private_key_chain() else {
        let what = format!("{} holds no private key with its certificate", pfx.display());
        return Err(Problem::new(key, what, "export the certificate with its private key"));
    };
    let chain = entry.certs().iter().map(|certificate| CertificateDer::from(certificate.as_der().to_vec())).collect();
    let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(entry.key().as_der().to_vec()));
    Ok((chain, private_key))
}

/// Reads a role certificate from PEM files.
pub fn read_role_identity(files: &dyn Files, pair: PairFiles<'_>) -> Result<RoleIdentity, Problem> {
    let key = read_pair(files, pair)?;
    let Some(role) = tls::role_of(&key.cert) else {
        let what = format!("{} names no role", pair.chain.display());
        let instead = "use a certificate with exactly one URI spiffe://<site>/gateway/<name> or spiffe://<site>/connection-point/<name>";
        return Err(Problem::new(pair.chain_key, what, instead));
    };
    Ok(RoleIdentity { role, key })
}

/// Reads a certificate and its key from PEM files, for instance what a connection point shows to a server.
pub fn read_pair(files: &dyn Files, pair: PairFiles<'_>) -> Result<Arc<CertifiedKey>, Problem> {
    let chain = read_certificates(files, pair.chain_key, pair.chain)?.into_iter().map(CertificateDer::from).collect();
    let private_key = read_private_key(files, pair.private_key_key, pair.private_key)?;
    certified(pair.private_key_key, pair.private_key, chain, private_key)
}

/// Reads certificates from a file of one DER or any number of PEM certificates.
pub fn read_certificates(files: &dyn Files, key: &str, path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    let found = der_or_pem(files, key, path, "certificate", |pem| {
        CertificateDer::pem_slice_iter(pem).map(|item| item.map(|der| der.to_vec())).collect()
    })?;
    for der in &found {
        facts::parse(der).map_err(|_| {
            let what = format!("{} holds a certificate that cannot be read", path.display());
            Problem::new(key, what, "name a file of X.509 certificates")
        })?;
    }
    Ok(found)
}

/// Reads revocation lists from a file of one DER or any number of PEM lists.
pub fn read_lists(files: &dyn Files, key: &str, path: &Path) -> Result<Vec<Vec<u8>>, Problem> {
    der_or_pem(files, key, path, "revocation list", |pem| {
        CertificateRevocationListDer::pem_slice_iter(pem).map(|item| item.map(|der| der.to_vec())).collect()
    })
}

/// Reads a public key, SubjectPublicKeyInfo in DER, from a PEM public key or a certificate.
pub fn read_public_key(files: &dyn Files, key: &str, path: &Path) -> Result<Vec<u8>, Problem> {
    let bytes = files.read(key, path)?;
    if let Ok(public_key) = SubjectPublicKeyInfoDer::from_pem_slice(&bytes) {
        return Ok(public_key.to_vec());
    }
    let certificates = read_certificates(files, key, path).ok();
    let first = certificates.as_ref().and_then(|found| found.first()).and_then(|der| facts::parse(der).ok());
    let Some(certificate) = first else {
        let what = format!("{} holds no public key", path.display());
        return Err(Problem::new(key, what, "name a PEM file with a PUBLIC KEY or a CERTIFICATE"));
    };
    Ok(certificate.public_key().raw.to_vec())
}

type PemResult = Result<Vec<Vec<u8>>, pki_types::pem::Error>;

fn der_or_pem(
    files: &dyn Files,
    key: &str,
    path: &Path,
    what: &str,
    from_pem: impl Fn(&[u8]) -> PemResult,
) -> Result<Vec<Vec<u8>>, Problem> {
    const SEQUENCE: u8 = 0x30;

    let bytes = files.read(key, path)?;
    if bytes.first() == Some(&SEQUENCE) {
        return Ok(vec![bytes]);
    }
    let found = from_pem(&bytes).map_err(|error| {
        let what = format!("{} is no PEM file: {error}", path.display());
        Problem::new(key, what, "name a PEM or DER file")
    })?;
    if found.is_empty() {
        let missing = format!("{} holds no {what}", path.display());
        return Err(Problem::new(key, missing, format!("name a file with at least one {what}, PEM or DER")));
    }
    Ok(found)
}

fn read_private_key(files: &dyn Files, key: &str, path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = files.read_secret(key, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let encrypted = bytes.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY");
        let (what, instead) = if encrypted {
            ("an encrypted key", "decrypt it (`openssl pkey -in OLD -out NEW`), or use a PFX file with a password file")
        } else {
            ("no private key", "name a PEM file with a PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY")
        };
        Problem::new(key, format!("{} holds {what}", path.display()), instead)
    })
}

/// A password stands in the first line of its file.
fn read_password(files: &dyn Files, key: &str, path: &Path) -> Result<String, Problem> {
    let bytes = files.read_secret(key, path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(key, format!("{} is not UTF-8", path.display()), "write the password as UTF-8 text"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn certified(
    key: &str,
    path: &Path,
    chain: Vec<CertificateDer<'static>>,
    private_key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, Problem> {
    let signing = tls::provider().key_provider.load_private_key(private_key).map_err(|error| {
        let what = format!("the key in {} cannot be used: {error}", path.display());
        Problem::new(key, what, "use an RSA key of 2048 bits or more, or an ECDSA key on P-256 or P-384")
    })?;
    let certified = CertifiedKey::new(chain, signing);
    certified.keys_match().map_err(|error| {
        let what = format!("the key in {} does not belong to the certificate: {error}", path.display());
        Problem::new(key, what, "name the key that the certificate was issued for, the certificate first in its file")
    })?;
    Ok(Arc::new(certified))
}

fn server_identity(key: &str, path: &Path, certified: Arc<CertifiedKey>) -> Result<ServerIdentity, Problem> {
    let names = certified.end_entity_cert().ok().and_then(tls::dns_names).ok_or_else(|| {
        let what = format!("the certificate in {} cannot be read", path.display());
        Problem::new(key, what, "use an X.509 version 3 certificate")
    })?;
    Ok(ServerIdentity { names, key: certified })
}
