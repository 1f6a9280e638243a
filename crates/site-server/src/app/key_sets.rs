//! Key sets of issuers (RFC 7517): those public keys in them that can be used here, as members read keys.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use cmg_api::Algorithm;
use cmg_credentials::Jwk;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A key that was fetched from an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerKey {
    /// The issuer that it was fetched for: of a resource that names another one from here on it does not count.
    pub issuer: String,
    /// Its id.
    pub id: String,
    /// The public key, PEM.
    pub pem: String,
    /// The algorithms that it can be used with.
    pub algorithms: Vec<Algorithm>,
}

/// The keys of a set that can be used here; others are left out, as RFC 7517 says.
pub(crate) fn keys(set: &[u8], issuer: &str) -> Result<Vec<IssuerKey>, String> {
    let set: Value = serde_json::from_slice(set).map_err(|error| format!("it is no key set: {error}"))?;
    let listed = set["keys"].as_array().ok_or("it is no key set")?;
    Ok(listed.iter().filter(|jwk| jwk["use"].as_str().is_none_or(|purpose| purpose == "sig")).filter_map(|jwk| key(jwk, issuer)).collect())
}

fn key(jwk: &Value, issuer: &str) -> Option<IssuerKey> {
    let id = jwk["kid"].as_str().filter(|id| !id.is_empty() && !id.chars().any(char::is_control))?.to_owned();
    Jwk::parse(jwk).ok()?;
    let part = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    let (info, fitting) = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("RSA", _) => (rsa_info(&part("n")?, &part("e")?), vec![Algorithm::Rs256, Algorithm::Ps256]),
        ("EC", Some("P-256")) => (curve_info(P256, &part("x")?, &part("y")?), vec![Algorithm::Es256]),
        ("EC", Some("P-384")) => (curve_info(P384, &part("x")?, &part("y")?), vec![Algorithm::Es384]),
        _ => return None,
    };
    let named = jwk["alg"].as_str();
    let algorithms = fitting.into_iter().filter(|algorithm| named.is_none_or(|named| serde_json::json!(algorithm) == named)).collect();
    Some(IssuerKey { issuer: issuer.to_owned(), id, pem: pem(&info), algorithms })
}

const RSA_ENCRYPTION: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `AlgorithmIdentifier` of `id-ecPublicKey` on P-256.
const P256: &[u8] = &[0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// `AlgorithmIdentifier` of `id-ecPublicKey` on P-384.
const P384: &[u8] = &[0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

/// `SubjectPublicKeyInfo` of an RSA key, DER.
fn rsa_info(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = der(0x30, &[integer(modulus), integer(exponent)].concat());
    info(RSA_ENCRYPTION, &key)
}

/// `SubjectPublicKeyInfo` of a point, DER.
fn curve_info(algorithm: &[u8], x: &[u8], y: &[u8]) -> Vec<u8> {
    info(algorithm, &[&[4], x, y].concat())
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    der(0x30, &[algorithm, &der(0x03, &[&[0], key].concat())].concat())
}

/// A positive number.
fn integer(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => der(0x02, &[&[0], bytes].concat()),
        _ => der(0x02, bytes),
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        out.push(0x80 | significant.len() as u8);
    }
    out.extend_from_slice(significant);
    out.extend_from_slice(content);
    out
}

fn pem(info: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(info);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
