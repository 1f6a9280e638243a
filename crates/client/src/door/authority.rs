//! The device's own authority: agents that ask for `https` through the proxy believe it, and nobody else has to.
//!
//! Its certificate is limited (RFC 5280, name constraints) to the names of the policy, so that whoever steals its key can speak for
//! none but those, to none but agents that were told to believe it. It never goes into the system's store. Where the policy names other
//! servers, the certificate is made anew with the same key, and the file that agents read is replaced.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use cmg_api::policy::Policy;
use pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use thiserror::Error;

use crate::disk::{Disk, DiskError};
use crate::origin::Origin;

/// Its key and its certificate in the client's folder.
const KEY: &str = "door.key";
const CERTIFICATE: &str = "door-authority.pem";

/// How long its certificates count, and how far they reach back, since clocks differ.
const LIFE: Duration = Duration::from_secs(397 * 86_400);
const LEEWAY: Duration = Duration::from_secs(86_400);

/// When certificates are made anew, at the latest.
const AGE: Duration = Duration::from_secs(30 * 86_400);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum DoorAuthorityError {
    /// The folder cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A certificate cannot be made.
    #[error("a certificate of the device's own authority cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up at the door")]
    Tls(#[from] rustls::Error),
}

/// The device's own authority.
pub struct DoorAuthority {
    disk: Disk,
    key: KeyPair,
    made: Mutex<Option<Made>>,
}

/// Certificates for one set of names.
struct Made {
    names: Vec<String>,
    at: SystemTime,
    params: CertificateParams,
    servers: BTreeMap<String, Arc<ServerConfig>>,
}

impl DoorAuthority {
    /// The authority in the client's folder; made where there is none.
    pub fn open(disk: &Disk) -> Result<Self, DoorAuthorityError> {
        let key = match disk.read(KEY)? {
            Some(pem) => KeyPair::from_pem(&String::from_utf8_lossy(&pem))?,
            None => {
                let key = KeyPair::generate()?;
                disk.write(KEY, key.serialize_pem().as_bytes())?;
                key
            }
        };
        Ok(Self { disk: disk.clone(), key, made: Mutex::default() })
    }

    /// Where its certificate is, for agents.
    pub fn file(&self) -> PathBuf {
        self.disk.path(CERTIFICATE)
    }

    /// Writes its certificate for the names of this policy, so that agents have it before they ask.
    pub fn follow(&self, policy: &Policy) -> Result<(), DoorAuthorityError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        self.for_names(names_of(policy), &mut made).map(|_| ())
    }

    /// TLS for one server of the policy.
    pub fn server(&self, origin: &Origin, policy: &Policy) -> Result<Arc<ServerConfig>, DoorAuthorityError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.for_names(names_of(policy), &mut made)?;
        if let Some(known) = made.servers.get(&origin.host) {
            return Ok(Arc::clone(known));
        }
        let config = Arc::new(self.issue(made, &origin.host)?);
        made.servers.insert(origin.host.clone(), Arc::clone(&config));
        Ok(config)
    }

    fn for_names<'m>(&self, names: Vec<String>, made: &'m mut Option<Made>) -> Result<&'m mut Made, DoorAuthorityError> {
        let now = SystemTime::now();
        let counts = |made: &Made| made.names == names && now.duration_since(made.at).is_ok_and(|age| age < AGE);
        let made = match made.take().filter(counts) {
            Some(known) => made.insert(known),
            None => {
                let params = authority_params(&names, now)?;
                let certificate = params.self_signed(&self.key)?;
                self.disk.write(CERTIFICATE, certificate.pem().as_bytes())?;
                made.insert(Made { names, at: now, params, servers: BTreeMap::new() })
            }
        };
        Ok(made)
    }

    fn issue(&self, made: &Made, host: &str) -> Result<ServerConfig, DoorAuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        (params.not_before, params.not_after) = validity(made.at);
        let certificate = params.signed_by(&key, &Issuer::from_params(&made.params, &self.key))?;
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        Ok(config.with_safe_default_protocol_versions()?.with_no_client_auth().with_single_cert(chain, secret)?)
    }
}

fn names_of(policy: &Policy) -> Vec<String> {
    let origins = policy.servers.iter().flat_map(|server| &server.origins).filter_map(|origin| Origin::parse(origin));
    let mut names: Vec<String> = origins.map(|origin| origin.host).collect();
    names.sort();
    names.dedup();
    names
}

fn authority_params(names: &[String], now: SystemTime) -> Result<CertificateParams, DoorAuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "cmg client, this device only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // A kind of name of which none is permitted would be unlimited; so there is a host that nobody has, and a network likewise.
    let nobody = [GeneralSubtree::DnsName("invalid".to_owned()), GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 32))];
    let permitted_subtrees = names.iter().map(|name| subtree(name)).chain(nobody).collect();
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
    (params.not_before, params.not_after) = validity(now);
    Ok(params)
}

fn subtree(name: &str) -> GeneralSubtree {
    match name.parse() {
        Ok(IpAddr::V4(address)) => GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix(address.octets(), 32)),
        Ok(IpAddr::V6(address)) => GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(address.octets(), 128)),
        Err(_) => GeneralSubtree::DnsName(name.to_owned()),
    }
}

fn validity(now: SystemTime) -> (time::OffsetDateTime, time::OffsetDateTime) {
    ((now - LEEWAY).into(), (now + LIFE).into())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use pki_types::{ServerName, UnixTime};
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use tempfile::TempDir;

    use super::*;

    /// What an agent that believes the authority says to a certificate for `host`.
    fn believed(authority: &DoorAuthority, names: &[&str], host: &str) -> bool {
        let mut made = None;
        let made = authority.for_names(names.iter().map(|name| (*name).to_owned()).collect(), &mut made).unwrap();
        let certificate = made.params.self_signed(&authority.key).unwrap();
        let leaf_key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&made.params, &authority.key)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build().unwrap();
        let now = UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let name = ServerName::try_from(host.to_owned()).unwrap();
        rustls::client::danger::ServerCertVerifier::verify_server_cert(&*verifier, leaf.der(), &[], &name, &[], now).is_ok()
    }

    #[test]
    fn the_authority_counts_for_the_names_of_the_policy_only() {
        let dir = TempDir::new().unwrap();
        let authority = DoorAuthority::open(&Disk::open(&dir.path().join("data")).unwrap()).unwrap();

        for (names, host, counts) in [
            (&["wiki.corp.example"][..], "wiki.corp.example", true),
            (&["wiki.corp.example"], "bank.example", false),
            (&["wiki.corp.example"], "10.0.0.1", false),
            (&["10.0.0.1"], "10.0.0.1", true),
            (&["10.0.0.1"], "10.0.0.2", false),
            (&["10.0.0.1"], "bank.example", false),
            (&[], "bank.example", false),
        ] {
            assert_eq!(believed(&authority, names, host), counts, "{names:?} {host}");
        }
    }

    #[test]
    fn the_key_stays_and_the_certificate_follows_the_policy() {
        let dir = TempDir::new().unwrap();
        let disk = Disk::open(&dir.path().join("data")).unwrap();
        let first = DoorAuthority::open(&disk).unwrap();
        believed(&first, &["a.example"], "a.example");
        let before = disk.read(CERTIFICATE).unwrap();

        let again = DoorAuthority::open(&disk).unwrap();
        believed(&again, &["b.example"], "b.example");

        assert_eq!(first.key.serialize_der(), again.key.serialize_der());
        assert_ne!(disk.read(CERTIFICATE).unwrap(), before);
    }
}
