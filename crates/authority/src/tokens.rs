//! Tokens that the site issues.
//!
//! | kind | who holds it | how long | algorithm |
//! |---|---|---|---|
//! | bulk registration | many devices that are about to register | 3 days, at most 7 | RS256 |
//! | client | one registered client, bound to its key | 90 days | RS256 or ES256 |
//! | CCM | one device, in exchange for another credential | 8 hours | RS256 or ES256 |
//!
//! All have `iss` `urn:sccm:oauth2:<hierarchy>` and `aud` `urn:sccm:service`, and say in `SCCMTokenCategory` what they are. The bulk
//! registration token has the claims of ConfigMgr's. What its other tokens say is not public, so the categories `CMGClientToken` and
//! `CMGCcmToken` are of our own. A client token has the client's id in `sub` and its key in `cnf`: `jkt`, the thumbprint of a JSON web
//! key (RFC 9449), or `x5t#S256`, that of a certificate (RFC 8705). A CCM token has `deviceId`, `userId` where there is a user,
//! `hierarchyId`, and `TokenType` `Device` or `UDA`.
//!
//! Absent on purpose: blocked ids and use counts, which are the caller's.
use std::fmt;

use cmg_core::identity::TokenKind;
use cmg_core::time::WallTime;
use serde_json::{Value, json};

use crate::certificate::DAY;
use crate::key::{CryptoFailed, random};
use crate::text;
use crate::token_signer::{SigningAlgorithm, TokenSigner};

/// `aud` of every token of the site.
pub const AUDIENCE: &str = "urn:sccm:service";
/// How long a bulk registration token counts unless told otherwise, in minutes: 3 days.
pub const DEFAULT_BULK_MINUTES: u32 = 4_320;
/// The longest that a bulk registration token can count, in minutes: 7 days.
pub const MOST_BULK_MINUTES: u32 = 10_080;
/// How long a client token counts, in seconds: 90 days.
pub const CLIENT_LIFETIME: u64 = 90 * DAY;
/// How long a CCM token counts, in seconds: 8 hours.
pub const CCM_LIFETIME: u64 = 8 * 3_600;
/// Longest id of a client, device or user, in bytes.
const LONGEST_ID: usize = 256;

/// Why no token is issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// A lifetime of a bulk registration token out of bounds.
    #[error("a bulk registration token cannot count {0} minutes; take 1 to {MOST_BULK_MINUTES}")]
    Lifetime(u32),
    /// A bulk registration token by a key that is not for RS256.
    #[error("a bulk registration token is signed with RS256; use the site's RS256 key")]
    Algorithm,
    /// An id that is empty or too long.
    #[error("the id of a client, device or user has 1 to {LONGEST_ID} bytes")]
    Id,
    /// The signing key's time is over.
    #[error("the token signing key ended; make a new one")]
    SignerEnded,
    /// The library refused.
    #[error(transparent)]
    Crypto(#[from] CryptoFailed),
}

/// What a client token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// The thumbprint of a JSON web key, as [`cmg_credentials::Jwk::thumbprint`] gives it.
    Key(String),
    /// SHA-256 of a client certificate.
    Certificate([u8; 32]),
}

/// A token that was issued. The token itself is given away and not kept.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuedToken {
    /// The token.
    pub token: String,
    /// Its id, a GUID: `UniqueId` of a bulk registration token, else `jti`.
    pub id: String,
    /// When it ends.
    pub expires: WallTime,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedToken({} until {})", self.id, self.expires.0)
    }
}

impl TokenSigner {
    /// A bulk registration token that counts `minutes` from now.
    pub fn bulk_registration(&self, minutes: u32, now: WallTime) -> Result<IssuedToken, TokenRefused> {
        if !(1..=MOST_BULK_MINUTES).contains(&minutes) {
            return Err(TokenRefused::Lifetime(minutes));
        }
        if self.algorithm() != SigningAlgorithm::Rs256 {
            return Err(TokenRefused::Algorithm);
        }
        let header = json!({ "typ": "JWT", "alg": self.algorithm().name(), "x5t": self.thumbprint() });
        self.issue(&header, u64::from(minutes) * 60, now, |id| {
            json!({
                "SCCMTokenCategory": "SCCMPreAuthToken",
                "Authority": "SCCM",
                "License": "SCCM",
                "Type": "BulkRegistration",
                "TenantId": self.hierarchy(),
                "UniqueId": id,
            })
        })
    }

    /// A token for the registered client `id`, bound to its key.
    pub fn client(&self, id: &str, confirmation: &Confirmation, now: WallTime) -> Result<IssuedToken, TokenRefused> {
        demand_id(id)?;
        let confirmation = match confirmation {
            Confirmation::Key(thumbprint) => json!({ "jkt": thumbprint }),
            Confirmation::Certificate(digest) => json!({ "x5t#S256": text::base64url(digest) }),
        };
        self.issue(
            &self.header(TokenKind::Site),
            CLIENT_LIFETIME,
            now,
            |token_id| json!({ "SCCMTokenCategory": "CMGClientToken", "sub": id, "jti": token_id, "iat": now.0, "cnf": confirmation }),
        )
    }

    /// A token for a device that has shown another credential, and for the user at it where there is one.
    pub fn ccm(&self, device: &str, user: Option<&str>, now: WallTime) -> Result<IssuedToken, TokenRefused> {
        demand_id(device)?;
        user.map_or(Ok(()), demand_id)?;
        self.issue(&self.header(TokenKind::Ccm), CCM_LIFETIME, now, |token_id| {
            let mut claims = json!({
                "SCCMTokenCategory": "CMGCcmToken",
                "TokenType": if user.is_some() { "UDA" } else { "Device" },
                "sub": device,
                "deviceId": device,
                "hierarchyId": self.hierarchy(),
                "jti": token_id,
                "iat": now.0,
            });
            if let Some(user) = user {
                claims["userId"] = user.into();
            }
            claims
        })
    }

    fn header(&self, kind: TokenKind) -> Value {
        json!({ "typ": "JWT", "alg": self.algorithm().name(), "kid": self.key_id(kind) })
    }

    /// Signs what `claims` says of a new id, with what all tokens have.
    fn issue(&self, header: &Value, lifetime: u64, now: WallTime, claims: impl FnOnce(&str) -> Value) -> Result<IssuedToken, TokenRefused> {
        if now >= self.not_after() {
            return Err(TokenRefused::SignerEnded);
        }
        let id = text::guid(random()?);
        let expires = WallTime(now.0.saturating_add(lifetime));
        let mut claims = claims(&id);
        claims["iss"] = self.issuer().into();
        claims["aud"] = AUDIENCE.into();
        claims["nbf"] = now.0.into();
        claims["exp"] = expires.0.into();
        Ok(IssuedToken { token: self.sign(header, &claims)?, id, expires })
    }
}

fn demand_id(id: &str) -> Result<(), TokenRefused> {
    if (1..=LONGEST_ID).contains(&id.len()) { Ok(()) } else { Err(TokenRefused::Id) }
}
