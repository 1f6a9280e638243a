//! Certificate authorities of a laboratory: a root, issuing authorities below it, and the certificates and
//! revocation lists that they give out, good ones and every kind of bad one.
//!
//! Nothing here is for production: keys live in memory and nobody is asked for proof.

use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertificateSigningRequestParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

use crate::error::LabError;
use crate::issued::{Issued, RevocationList};
use crate::profile::{KeyType, Profile, days, hours};

/// A certificate authority: a root, or one that a root has certified.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// PEM of this authority and those above it, without the root; what a server sends after its own certificate.
    chain_pem: String,
}

impl Authority {
    /// A self-signed authority with an ECDSA P-256 key.
    pub fn root(common_name: &str) -> Result<Self, LabError> {
        Self::root_with(common_name, KeyType::EcdsaP256)
    }

    /// A self-signed authority with a key of the given type.
    pub fn root_with(common_name: &str, key: KeyType) -> Result<Self, LabError> {
        let issuer = CertifiedIssuer::self_signed(authority_params(common_name)?, key.generate()?)?;
        Ok(Self { issuer, chain_pem: String::new() })
    }

    /// An authority certified by this one, with an ECDSA P-256 key.
    pub fn issuing(&self, common_name: &str) -> Result<Self, LabError> {
        let params = authority_params(common_name)?;
        let issuer = CertifiedIssuer::signed_by(params, KeyType::EcdsaP256.generate()?, &self.issuer)?;
        let chain_pem = issuer.pem() + &self.chain_pem;
        Ok(Self { issuer, chain_pem })
    }

    /// This authority's own certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// This authority's own certificate, DER.
    pub fn certificate_der(&self) -> &[u8] {
        self.issuer.der()
    }

    /// This authority's private key, PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Gives out a certificate with a new key.
    pub fn issue(&self, profile: &Profile) -> Result<Issued, LabError> {
        let key = profile.key.generate()?;
        let serial = profile.serial.clone().map_or_else(random_serial, Ok)?;
        let certificate = leaf_params(profile, &serial)?.signed_by(&key, &*self.issuer)?;
        let certificate_pem = certificate.pem();

        Ok(Issued {
            chain_pem: format!("{certificate_pem}{}", self.chain_pem),
            certificate_pem,
            key_pem: key.serialize_pem(),
            der: certificate.der().to_vec(),
            serial,
        })
    }

    /// Gives out a certificate, DER, for the key in a signing request, of which nothing else counts.
    pub fn certify(&self, profile: &Profile, request: &[u8]) -> Result<Vec<u8>, LabError> {
        let request = CertificateSigningRequestParams::from_der(&request.into())?;
        let certificate = leaf_params(profile, &random_serial()?)?.signed_by(&request.public_key, &*self.issuer)?;
        Ok(certificate.der().to_vec())
    }

    /// A certificate for a TLS server with these host names or addresses.
    pub fn server(&self, names: &[&str]) -> Result<Issued, LabError> {
        self.issue(&Profile::server(names))
    }

    /// A certificate for a client.
    pub fn client(&self, common_name: &str) -> Result<Issued, LabError> {
        self.issue(&Profile::client(common_name))
    }

    /// A revocation list in force: made an hour ago, good for a month.
    pub fn crl(&self, revoked: &[&[u8]]) -> Result<RevocationList, LabError> {
        let now = SystemTime::now();
        self.crl_between(revoked, now - hours(1), now + days(30))
    }

    /// A revocation list whose next update is a day overdue.
    pub fn stale_crl(&self, revoked: &[&[u8]]) -> Result<RevocationList, LabError> {
        let now = SystemTime::now();
        self.crl_between(revoked, now - days(30), now - days(1))
    }

    /// A revocation list with the given `thisUpdate` and `nextUpdate`.
    pub fn crl_between(&self, revoked: &[&[u8]], this_update: SystemTime, next_update: SystemTime) -> Result<RevocationList, LabError> {
        let epoch = date_time_ymd(1970, 1, 1);
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(epoch, this_update),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: at(epoch, this_update),
            next_update: at(epoch, next_update),
            crl_number: SerialNumber::from(since_epoch(this_update).as_secs()),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let crl = params.signed_by(&self.issuer)?;

        Ok(RevocationList { pem: crl.pem()?, der: crl.der().to_vec() })
    }
}

fn authority_params(common_name: &str) -> Result<CertificateParams, LabError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationName, "opencmg laboratory");
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = at(epoch, now - days(2));
    params.not_after = at(epoch, now + days(3650));
    Ok(params)
}

fn leaf_params(profile: &Profile, serial: &[u8]) -> Result<CertificateParams, LabError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::new(profile.names.clone())?;
    for uri in &profile.uris {
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
    }
    params.distinguished_name.push(DnType::CommonName, profile.common_name.as_str());
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = profile.usages.clone();
    params.use_authority_key_identifier_extension = true;
    params.not_before = at(epoch, profile.not_before);
    params.not_after = at(epoch, profile.not_after);
    Ok(params)
}

/// Fifteen random bytes behind a fixed one, so that the number is positive and always of one length.
fn random_serial() -> Result<Vec<u8>, LabError> {
    let mut serial = vec![0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| LabError::Key("no randomness"))?;
    serial[0] = 0x4c;
    Ok(serial)
}

/// The moment `when` in the date type of the certificate library, whose epoch is given.
fn at<Date: Add<Duration, Output = Date>>(epoch: Date, when: SystemTime) -> Date {
    epoch + Duration::from_secs(since_epoch(when).as_secs())
}

fn since_epoch(when: SystemTime) -> Duration {
    when.duration_since(UNIX_EPOCH).unwrap_or_default()
}
