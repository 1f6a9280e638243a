//! The roots of the site's authority. Their keys exist while a site is made or an issuing key is renewed, and otherwise only in a file
//! encrypted under a passphrase (`export`).
use std::fmt;

use cmg_core::ids::is_name;
use cmg_core::time::WallTime;
use pki_types::CertificateDer;
use rcgen::ExtendedKeyUsagePurpose;

use crate::certificate::{Draft, Validity, YEAR, sha256};
use crate::issuer::{ClientIssuer, InfrastructureIssuer, IssueRefused, Issuing, ROLE_LIFETIME, end_of};
use crate::key::{CryptoFailed, PrivateKey, PublicKey, random};
use crate::revocation::signed_list;
use crate::signing::SnapshotSigner;
use crate::text;
use crate::token_signer::{SigningAlgorithm, TokenSigner};

/// How long a root counts, in seconds: 20 years.
const ROOT_LIFETIME: u64 = 20 * YEAR;
/// How long an issuing key counts, in seconds: 5 years.
const ISSUING_LIFETIME: u64 = 5 * YEAR;
/// What the infrastructure issues for. Those who verify a signature want code signing named by each certificate below the root.
const INFRASTRUCTURE_USAGES: [ExtendedKeyUsagePurpose; 3] =
    [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::CodeSigning];

/// Everything that a new site begins with.
#[derive(Debug)]
pub struct NewSite {
    /// The hierarchy that tokens name: a random GUID in lower case.
    pub hierarchy: String,
    /// The roots with their keys: export them, then let go of them.
    pub roots: Roots,
    /// Issues role certificates.
    pub infrastructure: InfrastructureIssuer,
    /// Issues client certificates.
    pub clients: ClientIssuer,
    /// The revocation list of the client root, DER.
    pub client_root_list: Vec<u8>,
    /// Signs snapshots.
    pub snapshots: SnapshotSigner,
    /// Signs tokens with RS256, which is what ConfigMgr's clients and servers know.
    pub rs256: TokenSigner,
    /// Signs tokens with ES256, which is smaller and quicker.
    pub es256: TokenSigner,
}

impl NewSite {
    /// Makes all keys of the site `site_code`. Takes up to a second, for the RSA key.
    pub fn generate(site_code: &str, now: WallTime) -> Result<Self, IssueRefused> {
        let roots = Roots::generate(site_code, now)?;
        let infrastructure = roots.infrastructure_issuer(now)?;
        let hierarchy = text::guid(random()?);
        Ok(Self {
            clients: roots.client_issuer(now)?,
            client_root_list: roots.client_root_list(now)?,
            snapshots: infrastructure.snapshot_signer(1, now)?,
            rs256: TokenSigner::generate(SigningAlgorithm::Rs256, &hierarchy, now)?,
            es256: TokenSigner::generate(SigningAlgorithm::Es256, &hierarchy, now)?,
            infrastructure,
            roots,
            hierarchy,
        })
    }
}

/// Both roots with their keys.
pub struct Roots {
    pub(crate) site: String,
    pub(crate) infrastructure: Root,
    pub(crate) clients: Root,
}

impl Roots {
    /// Makes both for the site `site_code`, for 20 years.
    pub fn generate(site_code: &str, now: WallTime) -> Result<Self, IssueRefused> {
        Self::called(site_code, ["infrastructure root", "client root"].map(str::to_owned), now)
    }

    /// Makes both for a site that has roots. Their names carry a random part, so that they are told apart.
    pub fn generate_another(site_code: &str, now: WallTime) -> Result<Self, IssueRefused> {
        let number = text::hex(&random::<4>()?);
        Self::called(site_code, ["infrastructure root", "client root"].map(|kind| format!("{kind} {number}")), now)
    }

    fn called(site_code: &str, [infrastructure, clients]: [String; 2], now: WallTime) -> Result<Self, IssueRefused> {
        if !is_name(site_code) {
            return Err(IssueRefused::Name(site_code.to_owned()));
        }
        Ok(Self {
            site: site_code.to_owned(),
            infrastructure: Root::generate(site_code, &infrastructure, now)?,
            clients: Root::generate(site_code, &clients, now)?,
        })
    }

    /// The site that they are for.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The certificate of the infrastructure root, DER.
    pub fn infrastructure_certificate(&self) -> &[u8] {
        &self.infrastructure.certificate
    }

    /// SHA-256 of the infrastructure root, which enrolment codes pin.
    pub fn infrastructure_digest(&self) -> [u8; 32] {
        sha256(&self.infrastructure.certificate)
    }

    /// The certificate of the client root, DER.
    pub fn client_certificate(&self) -> &[u8] {
        &self.clients.certificate
    }

    /// A new issuing key for the infrastructure, for five years. What the one before has issued counts on.
    pub fn infrastructure_issuer(&self, now: WallTime) -> Result<InfrastructureIssuer, IssueRefused> {
        let issuing = self.infrastructure.issuing(&self.site, "infrastructure issuer", &INFRASTRUCTURE_USAGES, now)?;
        Ok(InfrastructureIssuer(issuing))
    }

    /// A new issuing key for clients, for five years. What the one before has issued counts on.
    pub fn client_issuer(&self, now: WallTime) -> Result<ClientIssuer, IssueRefused> {
        let issuing = self.clients.issuing(&self.site, "client issuer", &[ExtendedKeyUsagePurpose::ClientAuth], now)?;
        Ok(ClientIssuer(issuing))
    }

    /// The revocation list of the client root. It names nothing and counts as long as the root, whose key is seldom at hand: where a
    /// list is demanded of every issuer, the issuing certificates are covered.
    pub fn client_root_list(&self, now: WallTime) -> Result<Vec<u8>, IssueRefused> {
        let (root, end) = (self.clients.issuer()?, self.clients.end()?);
        signed_list(&root, &[], now.0, now, end)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.site)
    }
}

/// A root: its certificate and its key.
pub(crate) struct Root {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: PrivateKey,
}

impl Root {
    fn generate(site: &str, kind: &str, now: WallTime) -> Result<Self, CryptoFailed> {
        let key = PrivateKey::generate()?;
        let draft = Draft::authority(site, &format!("{site} {kind}"), 1, Validity::of(ROOT_LIFETIME, now))?;
        let certificate = draft.params.self_signed(&key).map_err(|_| CryptoFailed("no root could be signed"))?;
        Ok(Self { certificate: certificate.der().to_vec(), key })
    }

    /// Joins a key with its certificate; none: they do not belong together.
    pub(crate) fn new(certificate: &[u8], key: PrivateKey) -> Option<Self> {
        let same = PublicKey::of_certificate(certificate)? == key.public();
        same.then(|| Self { certificate: certificate.to_vec(), key })
    }

    /// When it ends.
    fn end(&self) -> Result<WallTime, CryptoFailed> {
        end_of(&self.certificate).ok_or(CryptoFailed("the end of a root cannot be read"))
    }

    fn issuer(&self) -> Result<rcgen::Issuer<'static, &PrivateKey>, CryptoFailed> {
        let certificate = CertificateDer::from(self.certificate.as_slice());
        rcgen::Issuer::from_ca_cert_der(&certificate, &self.key).map_err(|_| CryptoFailed("a root cannot be read"))
    }

    /// Certifies a new issuing key. Its name carries a random part, so that no two look alike.
    fn issuing(&self, site: &str, kind: &str, usages: &[ExtendedKeyUsagePurpose], now: WallTime) -> Result<Issuing, IssueRefused> {
        let end = self.end()?;
        // What it issues ends no later than it does, and it ends no later than the root.
        if end.0 < now.0.saturating_add(ROLE_LIFETIME) {
            return Err(IssueRefused::RootEnds);
        }
        let key = PrivateKey::generate()?;
        let name = format!("{site} {kind} {}", text::hex(&random::<4>()?));
        let mut draft = Draft::authority(site, &name, 0, Validity::of(ISSUING_LIFETIME, now).ending_by(end))?;
        draft.params.extended_key_usages = usages.to_vec();
        let failed = CryptoFailed("no issuing certificate could be signed");
        let certificate = draft.params.signed_by(&key, &self.issuer()?).map_err(|_| failed)?;
        Issuing::new(site, certificate.der().to_vec(), key).ok_or(failed.into())
    }
}
