//! What clients and a management point say to each other, and what the management point asks the site in their name.
//!
//! | who asks whom | request | answer |
//! |---|---|---|
//! | client, management point | `POST /cmg/v1/register` [`RegisterRequest`] | 201 [`ClientToken`] |
//! | client, management point | `POST /cmg/v1/token`, no body | 200 [`ClientToken`] |
//! | client, management point | `POST /CCM_STS`, no body | 200 [`CcmToken`] |
//! | management point, site server | `POST /control/v1/client/register` [`Asked`] | as above |
//! | management point, site server | `POST /control/v1/client/token` [`Asked`] | as above |
//! | management point, site server | `POST /control/v1/client/exchange` [`Asked`] | as above |
//!
//! Everything that is refused is answered with a [`ClientProblem`]. The management point believes the connection point, which proves its
//! role, what certificate a client has shown, which address it came from and which URL it asked for; the site believes both of that. Where
//! there was no connection point, the management point has seen for itself: the connection's certificate and address, and the URL by the
//! name that was asked for, which has to be one that the site has told clients.
//! Tokens and proofs nobody has to be believed about: the site verifies them itself.

use serde::{Deserialize, Serialize};

use crate::bytes::Base64;

/// The path of registration, at a management point and published.
pub const REGISTER: &str = "/cmg/v1/register";
/// The path of renewal, at a management point and published.
pub const TOKEN: &str = "/cmg/v1/token";
/// The path of the exchange at a management point; the last part of its published address.
pub const EXCHANGE: &str = "/CCM_STS";

/// The largest body of a client, in bytes.
pub const LARGEST_BODY: usize = 16 << 10;
/// The largest token, proof or chain of certificates in the fields of a client's request, in bytes.
pub const LARGEST_FIELD: usize = 32 << 10;
/// The largest request of a management point in a client's name, in bytes.
pub const LARGEST_ASKED: usize = 256 << 10;

/// What a client says about itself when it registers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The name of the device, for people.
    pub name: String,
}

/// What a client has shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shown {
    /// A bearer token.
    Token(String),
    /// A certificate whose key it holds, as the gateway has verified, and its issuers: DER.
    Certificate(Vec<Base64>),
}

/// A client's request, as its management point passes it on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The credential.
    pub shown: Shown,
    /// The proof of possession (RFC 9449), as it stood in `DPoP`.
    pub proof: Option<String>,
    /// The URL that the client asked for, without the query; the method is always POST.
    pub url: String,
    /// The address that the client came from.
    pub address: String,
    /// Through which connection point. Empty: through none, the management point has seen the client itself.
    pub connection_point: String,
    /// The request, as all logs name it.
    pub request_id: String,
    /// What it says about itself, where it registers.
    #[serde(default)]
    pub register: Option<RegisterRequest>,
}

/// A token of the site for a registered client, bound to its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientToken {
    /// The client's id, a GUID.
    pub client_id: String,
    /// The token.
    pub token: String,
    /// `DPoP` (RFC 9449) where the token is bound to a key that signs proofs, `mTLS` where it is bound to the client's certificate.
    pub token_type: String,
    /// When it ends, in seconds since 1970.
    pub expires_at: u64,
    /// When to ask for the next one, in seconds since 1970.
    pub renew_after: u64,
}

/// A token for a device, in exchange for another credential.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CcmToken {
    /// The token.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// How long it counts, in seconds.
    pub expires_in: u64,
}

/// Why a client's request was refused: problem details (RFC 9457), `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientProblem {
    /// Which kind of problem: stable, for programs. `/problems/` and one of the words in `docs/reference.md`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status code.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
}

impl ClientProblem {
    /// A problem by its word.
    pub fn new(word: &str, status: u16, detail: impl Into<String>) -> Self {
        Self { kind: format!("/problems/{word}"), status, detail: detail.into() }
    }
}
