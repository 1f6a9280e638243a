//! What makes a credential count: client certificate authorities, blocks, token keys. Data only; the credentials crate turns it
//! into verifiers.
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::identity::TokenKind;
use crate::ids::TrustName;
use crate::revocation::RevocationPolicy;

/// A named set of client certificate authorities with its revocation lists: one trust policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Its name, which endpoints refer to.
    pub name: TrustName,
    /// Root certificates, DER. Nothing else is an anchor.
    pub authorities: Vec<Vec<u8>>,
    /// Intermediate certificates that clients need not send, DER.
    pub intermediates: Vec<Vec<u8>>,
    /// Revocation lists, DER.
    pub lists: Vec<Vec<u8>>,
    /// What stale and missing lists mean.
    pub revocation: RevocationPolicy,
}

/// What is blocked: a certificate, a token, or all that a client of the site can show.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    /// By SHA-1 thumbprint.
    Sha1([u8; 20]),
    /// By SHA-256 thumbprint.
    Sha256([u8; 32]),
    /// By serial number (upper-case hex without leading zeros), of one issuer or of any.
    Serial {
        /// The serial number.
        serial: String,
        /// The issuer's distinguished name; none: any issuer.
        issuer: Option<String>,
    },
    /// A token by its id.
    TokenId(String),
    /// A client by its id: every token that the site has issued to it, and every certificate that names it.
    Client(String),
}

/// A key that tokens are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// What the token's `kid` or `x5t` header names.
    pub id: String,
    /// The issuer whose tokens it signs.
    pub issuer: String,
    /// Algorithms it may be used with; never read from the token.
    pub algorithms: Vec<Algorithm>,
    /// Public key, SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// What kind of token it signs.
    pub kind: TokenKind,
    /// Clock skew allowed, in seconds; at most 300.
    pub leeway: u64,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} of {})", self.id, self.issuer)
    }
}

/// Signature algorithms of tokens. `none` and the symmetric ones do not exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "names of RFC 7518")]
pub enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// The name in RFC 7518.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}
