//! What a certificate shall say: start from a kind, then bend it for the test at hand.

use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rcgen::{PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm};

use crate::error::LabError;

/// The site name in the laboratory's role certificates.
pub const SITE: &str = "lab";

/// The type of a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256, what everything uses unless told otherwise: quick to make and to verify.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits; takes a tenth of a second or more to make.
    Rsa2048,
    /// RSA of 4096 bits; takes a second or more to make.
    Rsa4096,
    /// Ed25519.
    Ed25519,
}

impl KeyType {
    /// Makes a new key.
    pub(crate) fn generate(self) -> Result<KeyPair, LabError> {
        match self {
            Self::Rsa4096 => Ok(KeyPair::generate_rsa_for(self.algorithm(), RsaKeySize::_4096)?),
            _ => Ok(KeyPair::generate_for(self.algorithm())?),
        }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
            Self::EcdsaP384 => &PKCS_ECDSA_P384_SHA384,
            Self::Rsa2048 | Self::Rsa4096 => &PKCS_RSA_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
        }
    }
}

/// What a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A gateway instance.
    Gateway,
    /// A CMG connection point.
    ConnectionPoint,
    /// A management point.
    ManagementPoint,
    /// A site server.
    SiteServer,
}

impl Role {
    /// Its name on the command line and in file names, and of those with a role certificate in URI SANs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::ConnectionPoint => "connection-point",
            Self::ManagementPoint => "management-point",
            Self::SiteServer => "site",
        }
    }
}

/// The content of a certificate before it is issued.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) common_name: String,
    pub(crate) names: Vec<String>,
    pub(crate) uris: Vec<String>,
    pub(crate) usages: Vec<ExtendedKeyUsagePurpose>,
    pub(crate) not_before: SystemTime,
    pub(crate) not_after: SystemTime,
    pub(crate) serial: Option<Vec<u8>>,
    pub(crate) key: KeyType,
}

impl Profile {
    /// A TLS server: host names or addresses, server authentication.
    pub fn server(names: &[&str]) -> Self {
        let mut profile = Self::bare(names.first().copied().unwrap_or("server"));
        profile.names = names.iter().map(|name| (*name).to_owned()).collect();
        profile.usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        profile
    }

    /// A client: client authentication.
    pub fn client(common_name: &str) -> Self {
        let mut profile = Self::bare(common_name);
        profile.usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        profile
    }

    /// One end of the tunnel: the role as a URI SAN, server and client authentication.
    pub fn role(role: Role, name: &str) -> Self {
        let mut profile = Self::bare(name);
        profile.uris = vec![format!("spiffe://{SITE}/{}/{name}", role.as_str())];
        profile.usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        profile
    }

    /// What signs a site's configurations.
    pub fn snapshot_signer(name: &str) -> Self {
        let mut profile = Self::bare(name);
        profile.uris = vec![format!("spiffe://{SITE}/snapshot/{name}")];
        profile.usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        profile
    }

    /// Ended an hour ago.
    #[must_use]
    pub fn expired(self) -> Self {
        let now = SystemTime::now();
        self.valid(now - days(1), now - hours(1))
    }

    /// Begins in an hour.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        let now = SystemTime::now();
        self.valid(now + hours(1), now + days(1))
    }

    /// Valid from one moment to another, both cut to whole seconds.
    #[must_use]
    pub fn valid(mut self, not_before: SystemTime, not_after: SystemTime) -> Self {
        self.not_before = not_before;
        self.not_after = not_after;
        self
    }

    /// Without the extended key usage extension.
    #[must_use]
    pub fn without_usage(mut self) -> Self {
        self.usages.clear();
        self
    }

    /// For server authentication only, whatever it was for.
    #[must_use]
    pub fn for_servers_only(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// With one more host name or address.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.names.push(name.to_owned());
        self
    }

    /// With one more URI as subject alternative name.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// With this serial number, big-endian, at most 20 bytes.
    #[must_use]
    pub fn serial(mut self, serial: &[u8]) -> Self {
        self.serial = Some(serial.to_vec());
        self
    }

    /// With a key of this type.
    #[must_use]
    pub fn key(mut self, key: KeyType) -> Self {
        self.key = key;
        self
    }

    /// Valid since yesterday for a year, ECDSA P-256, for nothing in particular.
    fn bare(common_name: &str) -> Self {
        let now = SystemTime::now();
        Self {
            common_name: common_name.to_owned(),
            names: Vec::new(),
            uris: Vec::new(),
            usages: Vec::new(),
            not_before: now - days(1),
            not_after: now + days(365),
            serial: None,
            key: KeyType::EcdsaP256,
        }
    }
}

pub(crate) fn days(count: u64) -> Duration {
    hours(24 * count)
}

pub(crate) fn hours(count: u64) -> Duration {
    Duration::from_secs(3600 * count)
}
