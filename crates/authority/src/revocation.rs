//! Revocation lists of the site's own authorities.
use cmg_core::time::WallTime;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, SigningKey, date_time_ymd};

use crate::certificate::at;
use crate::issuer::IssueRefused;
use crate::key::CryptoFailed;

/// A certificate to be named in a revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedCertificate {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Since when.
    pub at: WallTime,
}

/// A list by `issuer`, DER; `number` must rise from list to list.
pub(crate) fn signed_list(
    issuer: &rcgen::Issuer<'_, impl SigningKey>,
    revoked: &[RevokedCertificate],
    number: u64,
    now: WallTime,
    next_update: WallTime,
) -> Result<Vec<u8>, IssueRefused> {
    if next_update <= now {
        return Err(IssueRefused::NextUpdate);
    }
    let epoch = date_time_ymd(1970, 1, 1);
    let entry = |entry: &RevokedCertificate| {
        let serial = serial_bytes(&entry.serial).ok_or_else(|| IssueRefused::Serial(entry.serial.clone()))?;
        Ok(RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: at(epoch, entry.at),
            reason_code: None,
            invalidity_date: None,
        })
    };
    let params = CertificateRevocationListParams {
        this_update: at(epoch, now),
        next_update: at(epoch, next_update),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect::<Result<_, IssueRefused>>()?,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(issuer).map_err(|_| CryptoFailed("no revocation list could be signed"))?;
    Ok(list.der().to_vec())
}

/// The bytes of a serial number whose leading zeros may be missing.
fn serial_bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let even = if hexadecimal.len().is_multiple_of(2) { hexadecimal.to_owned() } else { format!("0{hexadecimal}") };
    crate::text::from_hex(&even).map(|bytes| bytes.to_vec()).filter(|bytes| !bytes.is_empty())
}
