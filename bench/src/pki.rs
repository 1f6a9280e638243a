//! The benchmark's certificates: P-256 throughout, one authority for roles, another (root and issuing) for clients,
//! a CRL of each client authority. Every system reads the same files. Nothing here is checked by the load generator.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose as Eku, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use crate::Result;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// The host name that clients ask for.
pub(crate) const HOST: &str = "cmg.test";

/// How many devices there are: twice as many as our programs remember verified certificates, so that going through all
/// of them in turn always meets a stranger.
pub(crate) const CLIENTS: usize = 8_192;

/// Serial numbers on the issuing authority's CRL, besides none of the above.
const REVOKED: u64 = 100;
const FIRST_REVOKED: u64 = 1_000_000;

/// The directory that holds the files.
#[derive(Clone)]
pub(crate) struct Pki {
    pub(crate) dir: PathBuf,
}

impl Pki {
    /// Makes every key and certificate anew and writes them to `dir`.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let pki = Self { dir: dir.to_owned() };
        pki.infrastructure()?;
        pki.server()?;
        pki.clients()?;
        Ok(pki)
    }

    fn infrastructure(&self) -> Result<()> {
        let authority = root("bench infrastructure")?;
        self.write("infrastructure-ca.pem", &authority.pem())?;
        for (role, name) in [("gateway", "gateway-1"), ("connection-point", "connection-point-1")] {
            let mut params = leaf(name, &[Eku::ServerAuth, Eku::ClientAuth]);
            params.subject_alt_names =
                vec![SanType::URI(format!("spiffe://bench/{role}/{name}").try_into()?), SanType::DnsName(name.try_into()?)];
            self.issue(name, &params, &authority)?;
        }
        Ok(())
    }

    fn server(&self) -> Result<()> {
        let authority = root("bench servers")?;
        self.write("server-root.pem", &authority.pem())?;
        let mut params = leaf(HOST, &[Eku::ServerAuth]);
        params.subject_alt_names =
            vec![SanType::DnsName(HOST.try_into()?), SanType::DnsName("localhost".try_into()?), SanType::IpAddress([127, 0, 0, 1].into())];
        self.issue("server", &params, &authority)
    }

    fn clients(&self) -> Result<()> {
        let root = root("bench clients root")?;
        let issuing = CertifiedIssuer::signed_by(authority("bench clients issuing"), KeyPair::generate()?, &root)?;
        self.write("clients-root.pem", &root.pem())?;
        self.write("clients-issuing.pem", &issuing.pem())?;
        self.write("clients-authorities.pem", &format!("{}{}", root.pem(), issuing.pem()))?;

        let (root_crl, issuing_crl) = (crl(&root, 0)?, crl(&issuing, REVOKED)?);
        self.write("clients-root.crl", &root_crl)?;
        self.write("clients-issuing.crl", &issuing_crl)?;
        self.write("clients-all.crl", &format!("{root_crl}{issuing_crl}"))?;

        let mut bundle = String::new();
        for number in 1..=CLIENTS as u64 {
            bundle += &client(number, &issuing)?;
        }
        self.write("clients.pem", &bundle)?;
        self.write("revoked.pem", &client(FIRST_REVOKED, &issuing)?)
    }

    fn issue(&self, name: &str, params: &CertificateParams, authority: &Issuer<'_, KeyPair>) -> Result<()> {
        let key = KeyPair::generate()?;
        self.write(&format!("{name}.pem"), &params.signed_by(&key, authority)?.pem())?;
        self.write(&format!("{name}.key"), &key.serialize_pem())
    }

    /// Every file is as private as a key must be, which is simpler than telling them apart.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(fs::write(path, text)?)
    }
}

/// Certificate, then key: one client of the bundle.
fn client(serial: u64, issuing: &Authority) -> Result<String> {
    let mut params = leaf(&format!("device-{serial:07}"), &[Eku::ClientAuth]);
    params.serial_number = Some(serial.into());
    let key = KeyPair::generate()?;
    Ok(format!("{}{}", params.signed_by(&key, issuing)?.pem(), key.serialize_pem()))
}

fn crl(issuer: &Authority, revoked: u64) -> Result<String> {
    let (this_update, next_update) = (date_time_ymd(2024, 1, 1), date_time_ymd(2044, 1, 1));
    let entry = |serial| RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: this_update,
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update,
        next_update,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: (FIRST_REVOKED..FIRST_REVOKED + revoked).map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(params.signed_by(issuer)?.pem()?)
}

fn root(name: &str) -> Result<Authority> {
    Ok(CertifiedIssuer::self_signed(authority(name), KeyPair::generate()?)?)
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str, usages: &[Eku]) -> CertificateParams {
    let mut params = named(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages.to_vec();
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2044, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
