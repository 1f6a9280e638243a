//! What every certificate of the authority has in common: a serial number nobody can guess, a start a little in the past, key
//! identifiers, and an end no later than that of its issuer.
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use cmg_core::time::WallTime;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, SanType,
    SerialNumber, date_time_ymd,
};

use crate::key::{CryptoFailed, random};
use crate::text;

/// How far in the past validity begins, in seconds: clocks of members are not exact.
pub const BACKDATED: u64 = 300;
/// Seconds of a day.
pub(crate) const DAY: u64 = 86_400;
/// Seconds of a year, leap days counted.
pub(crate) const YEAR: u64 = 31_557_600;

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate and its issuers without the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// Serial number, upper-case hexadecimal without leading zeros.
    pub serial: String,
    /// Valid from.
    pub not_before: WallTime,
    /// Valid until.
    pub not_after: WallTime,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
}

impl Issued {
    /// The chain as PEM, what a file of certificates holds.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|der| certificate_pem(der)).collect()
    }
}

/// A certificate, DER, as PEM.
pub fn certificate_pem(der: &[u8]) -> String {
    text::pem("CERTIFICATE", der).to_string()
}

/// When a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: WallTime,
    pub(crate) until: WallTime,
}

impl Validity {
    /// From now, backdated, for `seconds`.
    pub(crate) fn of(seconds: u64, now: WallTime) -> Self {
        Self { from: WallTime(now.0.saturating_sub(BACKDATED)), until: WallTime(now.0.saturating_add(seconds)) }
    }

    /// Cut to end no later than `end`.
    pub(crate) fn ending_by(self, end: WallTime) -> Self {
        Self { until: self.until.min(end), ..self }
    }
}

/// A certificate before it is signed, with the serial number drawn.
pub(crate) struct Draft {
    pub(crate) params: CertificateParams,
    pub(crate) serial: [u8; 16],
    pub(crate) validity: Validity,
}

impl Draft {
    /// For an authority, below which there may be `below` more.
    pub(crate) fn authority(site: &str, name: &str, below: u8, validity: Validity) -> Result<Self, CryptoFailed> {
        let mut draft = Self::new(name, validity)?;
        draft.params.distinguished_name.push(DnType::OrganizationName, format!("opencmg site {site}"));
        draft.params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
        draft.params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(draft)
    }

    /// For one holder, who may sign only.
    pub(crate) fn leaf(
        name: &str,
        names: Vec<SanType>,
        usages: &[ExtendedKeyUsagePurpose],
        validity: Validity,
    ) -> Result<Self, CryptoFailed> {
        let mut draft = Self::new(name, validity)?;
        draft.params.subject_alt_names = names;
        draft.params.is_ca = IsCa::ExplicitNoCa;
        draft.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        draft.params.extended_key_usages = usages.to_vec();
        Ok(draft)
    }

    fn new(name: &str, validity: Validity) -> Result<Self, CryptoFailed> {
        let serial = random_serial()?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, name);
        let mut params = CertificateParams::default();
        params.distinguished_name = subject;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_identifier_method = KeyIdMethod::Sha256;
        params.use_authority_key_identifier_extension = true;
        params.not_before = at(date_time_ymd(1970, 1, 1), validity.from);
        params.not_after = at(date_time_ymd(1970, 1, 1), validity.until);
        Ok(Self { params, serial, validity })
    }

    /// What is told about the draft once it is the first certificate of `chain`.
    pub(crate) fn issued(&self, chain: Vec<Vec<u8>>) -> Issued {
        Issued {
            serial: text::hex(&self.serial).to_uppercase(),
            not_before: self.validity.from,
            not_after: self.validity.until,
            fingerprint: sha256(chain.first().map_or(&[], Vec::as_slice)),
            chain,
        }
    }
}

/// A URI as subject alternative name; none: it has characters that a URI cannot have.
pub(crate) fn uri(text: &str) -> Option<SanType> {
    Ia5String::try_from(text).ok().map(SanType::URI)
}

/// The moment `when` in the date type of the certificate library, whose epoch is given.
pub(crate) fn at<Date: std::ops::Add<Duration, Output = Date>>(epoch: Date, when: WallTime) -> Date {
    epoch + Duration::from_secs(when.0)
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// Positive and of one length: the highest bit is clear, the next set, and the other 126 are random.
fn random_serial() -> Result<[u8; 16], CryptoFailed> {
    let mut serial = random::<16>()?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}
