//! How a server is told who is asking.
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cmg_core::identity::{CertificateFacts, TokenFacts};
use cmg_core::server::{Forwarded, IdentityField};
use cmg_http1::push_field;
use cmg_tunnel::ClaimedCredential;

use crate::claim::Asker;

/// Writes one administrator's header; a field that this client does not have is left out.
pub(crate) fn push_identity(name: &str, field: &IdentityField, asker: &Asker, out: &mut Vec<u8>) {
    if let Some(value) = value(field, asker).filter(|value| cmg_http1::is_field_value(value.as_bytes())) {
        push_field(name.as_bytes(), value.as_bytes(), out);
    }
}

fn value(field: &IdentityField, asker: &Asker) -> Option<String> {
    match (field, asker) {
        (IdentityField::Verify, Asker::Certificate(_) | Asker::Token(_)) => Some("SUCCESS".to_owned()),
        (IdentityField::Verify, Asker::Nobody) => Some("NONE".to_owned()),
        (_, Asker::Certificate(facts)) => of_certificate(field, facts),
        (_, Asker::Token(facts)) => of_token(field, facts),
        (_, Asker::Nobody) => None,
    }
}

fn of_certificate(field: &IdentityField, facts: &CertificateFacts) -> Option<String> {
    match field {
        IdentityField::Subject => Some(facts.subject.clone()),
        IdentityField::CommonName => facts.common_name.clone(),
        IdentityField::Issuer => Some(facts.issuer.clone()),
        IdentityField::Serial => Some(facts.serial.clone()),
        IdentityField::Thumbprint => Some(hex(&facts.thumbprint)),
        IdentityField::ThumbprintSha256 => Some(hex(&facts.thumbprint_sha256)),
        IdentityField::AlternativeNames => Some(facts.alternative_names.join(", ")),
        IdentityField::NotAfter => Some(facts.not_after.0.to_string()),
        IdentityField::Verify
        | IdentityField::TokenSubject
        | IdentityField::TokenKind
        | IdentityField::TokenId
        | IdentityField::Claim(_) => None,
    }
}

fn of_token(field: &IdentityField, facts: &TokenFacts) -> Option<String> {
    match field {
        IdentityField::TokenSubject => facts.subject.clone(),
        IdentityField::TokenKind => Some(facts.kind.name().to_owned()),
        IdentityField::TokenId => facts.id.clone(),
        IdentityField::Claim(name) => facts.claims.get(name).cloned(),
        IdentityField::NotAfter => Some(facts.expires.0.to_string()),
        IdentityField::Issuer => Some(facts.issuer.clone()),
        IdentityField::Subject
        | IdentityField::CommonName
        | IdentityField::Serial
        | IdentityField::Thumbprint
        | IdentityField::ThumbprintSha256
        | IdentityField::AlternativeNames
        | IdentityField::Verify => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Writes `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
pub(crate) fn push_client_cert(credential: &ClaimedCredential, out: &mut Vec<u8>) {
    let ClaimedCredential::Chain(chain) = credential else { return };
    let Some((own, issuers)) = chain.split_first() else { return };
    push_field(b"Client-Cert", byte_sequence(own).as_bytes(), out);
    if !issuers.is_empty() {
        let issuers: Vec<String> = issuers.iter().map(|der| byte_sequence(der)).collect();
        push_field(b"Client-Cert-Chain", issuers.join(", ").as_bytes(), out);
    }
}

fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

/// Tells the URL that the client asked for, without its query: what a proof of possession is about.
pub(crate) fn push_original_url(authority: &str, target: &[u8], out: &mut Vec<u8>) {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    push_field(b"X-Original-URL", &[b"https://", authority.as_bytes(), path].concat(), out);
}

/// Tells the client's address and the name it used.
pub(crate) fn push_forwarded(how: Forwarded, client: SocketAddr, authority: &[u8], out: &mut Vec<u8>) {
    let address = client.ip().to_canonical();
    match how {
        Forwarded::None => {}
        Forwarded::Standard => {
            let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
            let host = String::from_utf8_lossy(authority);
            push_field(b"Forwarded", format!("for={node};host=\"{host}\";proto=https").as_bytes(), out);
        }
        Forwarded::XForwarded => {
            push_field(b"X-Forwarded-For", address.to_string().as_bytes(), out);
            push_field(b"X-Forwarded-Host", authority, out);
            push_field(b"X-Forwarded-Proto", b"https", out);
        }
    }
}
