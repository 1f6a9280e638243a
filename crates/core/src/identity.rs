//! What a verified credential says about who is asking.
//!
//! These are facts read after the cryptography was checked; nothing here checks a signature.
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::time::WallTime;

/// Who is asking, as proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A client certificate whose chain, purpose, validity, revocation and block state were checked.
    Certificate(CertificateFacts),
    /// A bearer token whose signature and claims were checked.
    Token(TokenFacts),
    /// Nobody in particular: only an endpoint with the face `open` takes this.
    Anonymous,
}

/// What is told about a client certificate. Text fields hold printable characters only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject distinguished name, RFC 4514 order as written in the certificate (`CN=pc1, O=Example`).
    pub subject: String,
    /// The first common name of the subject.
    pub common_name: Option<String>,
    /// Issuer distinguished name.
    pub issuer: String,
    /// Serial number, upper-case hex without leading zeros.
    pub serial: String,
    /// SHA-1 of the certificate: what administrators know as the thumbprint.
    pub thumbprint: [u8; 20],
    /// SHA-256 of the certificate.
    pub thumbprint_sha256: [u8; 32],
    /// Subject alternative names as `DNS:…`, `URI:…`, `email:…`, `IP:…`.
    pub alternative_names: Vec<String>,
    /// Valid from.
    pub not_before: WallTime,
    /// Valid until.
    pub not_after: WallTime,
}

/// What is told about a token. Text fields hold printable characters only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFacts {
    /// What kind of token it is, by the key that signed it.
    pub kind: TokenKind,
    /// `iss`.
    pub issuer: String,
    /// `aud`, one or several.
    pub audiences: Vec<String>,
    /// `sub`, or what stands in its place.
    pub subject: Option<String>,
    /// `jti`, or `UniqueId` of a bulk registration token.
    pub id: Option<String>,
    /// `nbf`, where given.
    pub not_before: Option<WallTime>,
    /// `exp`.
    pub expires: WallTime,
    /// What it is bound to.
    pub confirmation: Confirmation,
    /// Every scalar claim as text, for headers that the administrator asks for.
    pub claims: BTreeMap<String, String>,
}

/// What a token is bound to (`cnf`, RFC 7800): whoever shows it proves to have all of it. Nothing: it is good for its bearer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// Thumbprint (RFC 7638, base64 for URLs) of the key that signs proofs of possession (RFC 9449): `jkt`.
    pub key: Option<String>,
    /// SHA-256 of the client certificate that the connection shows (RFC 8705): `x5t#S256`.
    pub certificate: Option<[u8; 32]>,
}

/// The kinds of token. An endpoint lists those it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    /// Issued by the site to a registered client.
    Site,
    /// Issued by a management point's token service in exchange for another credential.
    Ccm,
    /// Shared by many devices that are about to register; counts on registration endpoints only.
    Bulk,
    /// Issued by an OIDC provider to a device.
    OidcDevice,
    /// Issued by an OIDC provider to a user.
    OidcUser,
}

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Site, Self::Ccm, Self::Bulk, Self::OidcDevice, Self::OidcUser];

    /// The name used in files, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Ccm => "ccm",
            Self::Bulk => "bulk",
            Self::OidcDevice => "oidc-device",
            Self::OidcUser => "oidc-user",
        }
    }

    /// The kind called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Identity {
    /// Whether the credential is still within its validity at `now`, with `leeway` seconds of clock skew for tokens.
    pub fn is_current(&self, now: WallTime, leeway: u64) -> bool {
        match self {
            Self::Certificate(facts) => facts.not_before <= now && now <= facts.not_after,
            Self::Token(facts) => now.0 < facts.expires.0.saturating_add(leeway),
            Self::Anonymous => true,
        }
    }

    /// How the identity is named in logs and metrics: the way it was proven.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "certificate",
            Self::Token(facts) => facts.kind.name(),
            Self::Anonymous => "none",
        }
    }
}
