//! What a certificate says, as text that may go into headers and logs.
//!
//! Reads only; but for [`is_issued_by`], nothing here checks a signature. A certificate that says more than the bounds below is refused, never cut short:
//! two cut names could become the same name.
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use aws_lc_rs::digest;
use cmg_core::identity::CertificateFacts;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use pki_types::SubjectPublicKeyInfoDer;
use x509_parser::asn1_rs::{Any, Oid, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use crate::signed::Signed;
use crate::text;
use crate::validity::Span;

/// Longest distinguished name, as text. Real ones stay under 300 characters.
const NAME_LIMIT: usize = 2048;
/// Longest list of alternative names, as text, all together.
const ALTERNATIVES_LIMIT: usize = 8192;

/// Reads the facts of the certificate `der`.
pub fn certificate_facts(der: &[u8]) -> Result<CertificateFacts, Refusal> {
    facts_of(&parse(der)?, der)
}

/// Whether the certificate `issuer` signed the certificate `der`, and is named in it as who did. Nothing else is looked at.
pub fn is_issued_by(der: &[u8], issuer: &[u8]) -> bool {
    let (Ok(certificate), Ok(issuer)) = (parse(der), parse(issuer)) else { return false };
    let key = SubjectPublicKeyInfoDer::from(issuer.public_key().raw);
    certificate.issuer().as_raw() == issuer.subject().as_raw() && Signed::parse(der).is_some_and(|signed| signed.is_signed_by(&key))
}

pub(crate) fn facts_of(certificate: &X509Certificate<'_>, der: &[u8]) -> Result<CertificateFacts, Refusal> {
    let span = span_of(certificate);
    Ok(CertificateFacts {
        subject: name(certificate.subject())?,
        common_name: common_name(certificate.subject())?,
        issuer: name(certificate.issuer())?,
        serial: serial(certificate.raw_serial()),
        thumbprint: hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, der),
        thumbprint_sha256: hash(&digest::SHA256, der),
        alternative_names: alternative_names(certificate)?,
        not_before: span.from,
        not_after: span.until,
    })
}

/// Parses exactly one certificate.
pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Refusal> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Refusal::CertificateMalformed),
    }
}

pub(crate) fn span_of(certificate: &X509Certificate<'_>) -> Span {
    let validity = certificate.validity();
    Span { from: wall_time(validity.not_before.timestamp()), until: wall_time(validity.not_after.timestamp()) }
}

/// Seconds since 1970; earlier is 1970.
pub(crate) fn wall_time(seconds: i64) -> WallTime {
    WallTime(u64::try_from(seconds).unwrap_or(0))
}

/// A distinguished name in the order in which the certificate has it, `CN=pc1, O=Example`.
pub(crate) fn name(name: &X509Name<'_>) -> Result<String, Refusal> {
    let mut text = String::new();
    for (place, part) in name.iter_rdn().enumerate() {
        if place > 0 {
            text.push_str(", ");
        }
        for (place, attribute) in part.iter().enumerate() {
            if place > 0 {
                text.push('+');
            }
            text.push_str(&attribute_name(attribute.attr_type()));
            text.push('=');
            text::push_name_value(&mut text, &attribute_value(attribute.attr_value()));
            bounded(text.len(), NAME_LIMIT)?;
        }
    }
    Ok(text)
}

fn common_name(subject: &X509Name<'_>) -> Result<Option<String>, Refusal> {
    let Some(attribute) = subject.iter_common_name().next() else {
        return Ok(None);
    };
    let text = text::printable(&attribute_value(attribute.attr_value()));
    bounded(text.len(), NAME_LIMIT)?;
    Ok(Some(text))
}

/// Serial number in upper-case hex without leading zeros.
pub(crate) fn serial(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(text::UPPER_HEX[usize::from(half)]);
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]);
    let mut text = String::with_capacity(bytes.len() * 2);
    text.extend(digits.skip_while(|digit| *digit == '0'));
    if text.is_empty() { "0".to_owned() } else { text }
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, Refusal> {
    let extension = certificate.subject_alternative_name().map_err(|_| Refusal::CertificateMalformed)?;
    let Some(extension) = extension else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = extension.value.general_names.iter().filter_map(alternative_name).collect();
    bounded(names.iter().map(String::len).sum(), ALTERNATIVES_LIMIT)?;
    Ok(names)
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(dns) => Some(labelled("DNS:", dns)),
        GeneralName::URI(uri) => Some(labelled("URI:", uri)),
        GeneralName::RFC822Name(mail) => Some(labelled("email:", mail)),
        GeneralName::IPAddress(address) => ip_address(address),
        GeneralName::OtherName(..)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn labelled(label: &str, value: &str) -> String {
    let mut text = String::with_capacity(label.len() + value.len());
    text.push_str(label);
    text::push_printable(&mut text, value.as_bytes());
    text
}

fn ip_address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(format!("IP:{}", Ipv4Addr::from(v4)));
    }
    let v6 = <[u8; 16]>::try_from(bytes).ok()?;
    Some(format!("IP:{}", Ipv6Addr::from(v6)))
}

fn attribute_name(kind: &Oid<'_>) -> Cow<'static, str> {
    let short = match kind.as_bytes() {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "STREET",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        _ => return Cow::Owned(kind.to_id_string()),
    };
    Cow::Borrowed(short)
}

/// The value as UTF-8 where its type says how it is coded, else as it stands.
fn attribute_value<'a>(value: &Any<'a>) -> Cow<'a, [u8]> {
    if value.tag() != Tag::BmpString {
        return Cow::Borrowed(value.data);
    }
    let units = value.data.chunks(2).map(|pair| u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    let text: String = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Cow::Owned(text.into_bytes())
}

fn bounded(length: usize, limit: usize) -> Result<(), Refusal> {
    if length > limit { Err(Refusal::CertificateMalformed) } else { Ok(()) }
}

fn hash<const N: usize>(algorithm: &'static digest::Algorithm, der: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest::digest(algorithm, der).as_ref());
    out
}
