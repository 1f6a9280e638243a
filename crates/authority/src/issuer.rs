//! The keys that issue day by day: one for the infrastructure, one for clients. Each is certified by a root whose key is not at hand.
//!
//! The two are types of their own, so that no client can be given a role. A caller says who somebody is and shows a public key;
//! nothing that the holder wrote into a request reaches a certificate.
use std::net::IpAddr;

use cmg_core::ids::{Role, is_name};
use cmg_core::time::WallTime;
use pki_types::CertificateDer;
use rcgen::string::Ia5String;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

pub use crate::certificate::BACKDATED;
use crate::certificate::{DAY, Draft, Issued, Validity, YEAR, uri};
use crate::key::{CryptoFailed, PrivateKey, PublicKey};
use crate::packed::{pack, unpack};
use crate::revocation::{RevokedCertificate, signed_list};
use crate::secret::Secret;
use crate::signing::SnapshotSigner;

/// How long a role certificate counts, in seconds: 90 days. Members renew after 60.
pub const ROLE_LIFETIME: u64 = 90 * DAY;
/// How long a snapshot signing key counts, in seconds: 2 years.
const SNAPSHOT_LIFETIME: u64 = 2 * YEAR;
/// Both ends of the tunnel and of the control connection may dial.
const ROLE_USAGES: [ExtendedKeyUsagePurpose; 2] = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];

/// Why no certificate or list is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueRefused {
    /// A name that cannot stand in a certificate.
    #[error("`{0}` cannot stand in a certificate; names have 1 to 64 of A-Z a-z 0-9 . _ - and begin with a letter or digit")]
    Name(String),
    /// A DNS name that is none.
    #[error("`{0}` is no DNS name; write it without scheme and port, international names as xn--")]
    DnsName(String),
    /// Another role gets its certificate in another way.
    #[error("a {0} does not get its certificate like a gateway or a connection point")]
    NoMember(&'static str),
    /// The issuing key's own certificate is over.
    #[error("the issuing certificate ended; run `cmg site renew-issuers` with the export of the root keys")]
    IssuerEnded,
    /// What a new issuing key issued would end too soon.
    #[error(
        "the root ends within 90 days, and whatever a new issuing key issues would end with it; the site needs a new root (`cmg site add-root`)"
    )]
    RootEnds,
    /// A serial number that is no hexadecimal.
    #[error("`{0}` is no serial number; write hexadecimal digits")]
    Serial(String),
    /// A list whose next update is not after it was made.
    #[error("the next update of a revocation list must lie in the future")]
    NextUpdate,
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// Issues role certificates: gateways, connection points, management points, site servers, and what signs snapshots.
pub struct InfrastructureIssuer(pub(crate) Issuing);

/// Issues certificates of clients where there is no other authority for them.
pub struct ClientIssuer(pub(crate) Issuing);

impl InfrastructureIssuer {
    /// What [`InfrastructureIssuer::to_secret`] begins with.
    const LABEL: &'static str = "cmg-infrastructure-issuer/1";

    /// A certificate for a gateway instance or a connection point, for [`ROLE_LIFETIME`]: either end of a TLS connection.
    pub fn member(&self, role: &Role, key: &PublicKey, now: WallTime) -> Result<Issued, IssueRefused> {
        match role {
            Role::Gateway(_) | Role::ConnectionPoint(_) => self.role(role, Vec::new(), &ROLE_USAGES, ROLE_LIFETIME, key, now),
            Role::ManagementPoint(_) | Role::SiteServer(_) | Role::Snapshot(_) => Err(IssueRefused::NoMember(role.kind())),
        }
    }

    /// A certificate for the management point `name`, for [`ROLE_LIFETIME`]; `host` is the DNS name that connection points dial.
    pub fn management_point(&self, name: &str, host: &str, key: &PublicKey, now: WallTime) -> Result<Issued, IssueRefused> {
        let role = Role::ManagementPoint(cmg_core::ids::ManagementPointId::new(name));
        self.role(&role, vec![dns_name(host)?], &ROLE_USAGES, ROLE_LIFETIME, key, now)
    }

    /// A certificate for the site server `name`, for [`ROLE_LIFETIME`]; the names and addresses are those that it is dialled by.
    pub fn site_server(
        &self,
        name: &str,
        dns_names: &[String],
        addresses: &[IpAddr],
        key: &PublicKey,
        now: WallTime,
    ) -> Result<Issued, IssueRefused> {
        let role = Role::SiteServer(cmg_core::ids::SiteServerId::new(name));
        let mut names = dns_names.iter().map(|name| dns_name(name)).collect::<Result<Vec<_>, _>>()?;
        names.extend(addresses.iter().copied().map(SanType::IpAddress));
        self.role(&role, names, &ROLE_USAGES, ROLE_LIFETIME, key, now)
    }

    /// A new key that signs snapshots for two years; `number` tells it from the one before.
    pub fn snapshot_signer(&self, number: u32, now: WallTime) -> Result<SnapshotSigner, IssueRefused> {
        let key = PrivateKey::generate()?;
        let role = Role::Snapshot(number.to_string());
        let issued = self.role(&role, Vec::new(), &[ExtendedKeyUsagePurpose::CodeSigning], SNAPSHOT_LIFETIME, &key.public(), now)?;
        Ok(SnapshotSigner::new(key, issued.chain, issued.not_after))
    }

    /// A list of what this key issued and what counts no more.
    pub fn revocation_list(
        &self,
        revoked: &[RevokedCertificate],
        number: u64,
        now: WallTime,
        next_update: WallTime,
    ) -> Result<Vec<u8>, IssueRefused> {
        signed_list(&self.0.issuer, revoked, number, now, next_update)
    }

    /// The issuing certificate, DER: what members send after their own.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// The name of the site, as in role URIs.
    pub fn site(&self) -> &str {
        &self.0.site
    }

    /// When the issuing certificate ends.
    pub fn not_after(&self) -> WallTime {
        self.0.not_after
    }

    /// Everything, for the vault.
    pub fn to_secret(&self) -> Secret {
        self.0.to_secret(Self::LABEL)
    }

    /// Reads what [`InfrastructureIssuer::to_secret`] wrote; none: it is something else.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        Issuing::from_secret(Self::LABEL, secret).map(Self)
    }

    fn role(
        &self,
        role: &Role,
        more_names: Vec<SanType>,
        usages: &[ExtendedKeyUsagePurpose],
        lifetime: u64,
        key: &PublicKey,
        now: WallTime,
    ) -> Result<Issued, IssueRefused> {
        let name = role.name();
        let role_uri = Some(role.to_uri(&self.0.site)).filter(|_| is_name(name)).as_deref().and_then(uri);
        let mut names = vec![role_uri.ok_or_else(|| IssueRefused::Name(name.to_owned()))?];
        names.extend(more_names);
        self.0.leaf(name, names, usages, lifetime, key, now)
    }
}

impl ClientIssuer {
    /// What [`ClientIssuer::to_secret`] begins with.
    const LABEL: &'static str = "cmg-client-issuer/1";

    /// A certificate for the client `id`, for `lifetime` seconds: client authentication, `spiffe://<site>/client/<id>`.
    pub fn client(&self, id: &str, key: &PublicKey, lifetime: u64, now: WallTime) -> Result<Issued, IssueRefused> {
        let client_uri = Some(format!("spiffe://{}/client/{id}", self.0.site)).filter(|_| is_name(id)).as_deref().and_then(uri);
        let names = vec![client_uri.ok_or_else(|| IssueRefused::Name(id.to_owned()))?];
        self.0.leaf(id, names, &[ExtendedKeyUsagePurpose::ClientAuth], lifetime, key, now)
    }

    /// A list of what this key issued and what counts no more.
    pub fn revocation_list(
        &self,
        revoked: &[RevokedCertificate],
        number: u64,
        now: WallTime,
        next_update: WallTime,
    ) -> Result<Vec<u8>, IssueRefused> {
        signed_list(&self.0.issuer, revoked, number, now, next_update)
    }

    /// The issuing certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.0.certificate
    }

    /// When the issuing certificate ends.
    pub fn not_after(&self) -> WallTime {
        self.0.not_after
    }

    /// Everything, for the vault.
    pub fn to_secret(&self) -> Secret {
        self.0.to_secret(Self::LABEL)
    }

    /// Reads what [`ClientIssuer::to_secret`] wrote; none: it is something else.
    pub fn from_secret(secret: &Secret) -> Option<Self> {
        Issuing::from_secret(Self::LABEL, secret).map(Self)
    }
}

impl std::fmt::Debug for InfrastructureIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InfrastructureIssuer({})", self.0.site)
    }
}

impl std::fmt::Debug for ClientIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClientIssuer({})", self.0.site)
    }
}

/// An issuing key with its certificate.
pub(crate) struct Issuing {
    site: String,
    certificate: Vec<u8>,
    not_after: WallTime,
    issuer: rcgen::Issuer<'static, PrivateKey>,
}

impl Issuing {
    /// Joins a key with its certificate; none: the certificate cannot be read, or belongs to another key.
    pub(crate) fn new(site: &str, certificate: Vec<u8>, key: PrivateKey) -> Option<Self> {
        if PublicKey::of_certificate(&certificate)? != key.public() {
            return None;
        }
        let not_after = end_of(&certificate)?;
        let issuer = rcgen::Issuer::from_ca_cert_der(&CertificateDer::from(certificate.as_slice()), key).ok()?;
        Some(Self { site: site.to_owned(), certificate, not_after, issuer })
    }

    fn leaf(
        &self,
        name: &str,
        names: Vec<SanType>,
        usages: &[ExtendedKeyUsagePurpose],
        lifetime: u64,
        key: &PublicKey,
        now: WallTime,
    ) -> Result<Issued, IssueRefused> {
        if now >= self.not_after {
            return Err(IssueRefused::IssuerEnded);
        }
        let draft = Draft::leaf(name, names, usages, Validity::of(lifetime, now).ending_by(self.not_after))?;
        let certificate = draft.params.signed_by(key, &self.issuer).map_err(|_| CryptoFailed("no certificate could be signed"))?;
        Ok(draft.issued(vec![certificate.der().to_vec(), self.certificate.clone()]))
    }

    fn to_secret(&self, label: &str) -> Secret {
        pack(label, &[self.site.as_bytes(), &self.certificate, self.issuer.key().pkcs8()])
    }

    fn from_secret(label: &str, secret: &Secret) -> Option<Self> {
        let fields = unpack(label, secret.expose())?;
        let [site, certificate, key] = fields.as_slice() else { return None };
        Self::new(std::str::from_utf8(site).ok()?, certificate.to_vec(), PrivateKey::from_pkcs8(key)?)
    }
}

/// When the certificate `der` ends.
pub(crate) fn end_of(der: &[u8]) -> Option<WallTime> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok().map(WallTime)
}

fn dns_name(name: &str) -> Result<SanType, IssueRefused> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let good = name.len() <= 253 && name.split('.').all(is_label);
    let text = Some(name).filter(|_| good).and_then(|name| Ia5String::try_from(name).ok());
    text.map(SanType::DnsName).ok_or_else(|| IssueRefused::DnsName(name.to_owned()))
}
