//! `[trust.*]`, `[[block]]` and `[[token_key]]`: whom to believe. The same in both files, because a connection point
//! verifies everything again from a copy of its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::text::Duration;

/// `[trust.NAME]`: a named set of authorities for client certificates, called a trust policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// Root certificates, PEM. Only these count; the operating system's store never does.
    pub authorities: Vec<PathBuf>,
    /// Issuing certificates, PEM, for clients that do not send theirs. Default none.
    #[serde(default)]
    pub intermediates: Vec<PathBuf>,
    /// Certificate revocation lists, PEM or DER. Default none, which denies everybody while `unknown_crl` is `deny`.
    #[serde(default)]
    pub crls: Vec<PathBuf>,
    /// Whether revocation lists are looked at. Default true: a stolen device is the ordinary case.
    #[serde(default = "yes")]
    pub check_revocation: bool,
    /// What a list whose `nextUpdate` has passed is worth. Default `deny`: an attacker who can delay a list could
    /// otherwise undo a revocation. A grace of some days is for authorities that are not there at weekends.
    #[serde(default)]
    pub stale_crl: WhenStale,
    /// What happens to a certificate that no list covers. Default `deny`, so that a forgotten list is noticed on the
    /// first day.
    #[serde(default)]
    pub unknown_crl: WhenUnsure,
}

/// What a revocation list is worth whose `nextUpdate` has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenStale {
    /// Refuse whom it covers.
    #[default]
    Deny,
    /// Believe it for ever.
    Allow,
    /// Believe it for so long after its `nextUpdate`, at most `30d`; then refuse whom it covers.
    Grace(Duration),
}

impl WhenStale {
    /// The longest grace: a list is commonly made anew each week, and what was stolen a month ago must not come in.
    pub const LONGEST_GRACE: Duration = Duration::days(30);
}

/// What to do where revocation cannot be known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WhenUnsure {
    /// Refuse.
    #[default]
    Deny,
    /// Let pass.
    Allow,
}

/// `[[block]]`: one certificate that is refused whatever the lists say, by thumbprint or by serial number, or one token by its id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockFile {
    /// SHA-1 or SHA-256 of the certificate, hexadecimal: 40 or 64 digits.
    pub thumbprint: Option<String>,
    /// Serial number, hexadecimal. Either this or `thumbprint`.
    pub serial: Option<String>,
    /// Issuer as a distinguished name, for a serial number that other authorities use too. Default any.
    pub issuer: Option<String>,
    /// Id of a token: its `jti`, or the `UniqueId` of one that the site has issued. Instead of the other keys.
    pub token: Option<String>,
    /// Id of a client of the site: every token that was issued to it, and every certificate that names it. Instead of the other keys.
    pub client: Option<String>,
}

/// `[[token_key]]`: one key that signs bearer tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenKeyFile {
    /// What `kid` or `x5t` of a token's header says. A token with neither is tried against every key of its issuer.
    pub id: String,
    /// What the token's `iss` must be.
    pub issuer: String,
    /// Signature algorithms that count with this key. No default, because an allow-list must be meant.
    pub algorithms: Vec<Algorithm>,
    /// Public key (SPKI) or certificate, PEM.
    pub key: PathBuf,
    /// What the tokens of this key are. Endpoints say which kinds they accept.
    pub kind: TokenKind,
    /// How far the clocks of issuer and verifier may be apart, at most `5m`. Default `60s`: enough for clocks that
    /// are set by the network.
    #[serde(default = "sixty_seconds")]
    pub leeway: Duration,
}

/// `[[entra_tenant]]`: what the gateway tells devices of a Microsoft Entra ID tenant that ask by `AADAuthInfo`, before they sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntraTenantFile {
    /// The tenant's id, a GUID.
    pub id: String,
    /// The id of the native (client) app that devices sign in with.
    pub client_app_id: String,
    /// The resource URI (audience) of the web (server) app.
    pub resource_uri: String,
}

/// A signature algorithm of a token, named as in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Algorithm {
    /// RSA PKCS#1 v1.5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSA PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// What a token says about its bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// Issued by the site to a registered client.
    Site,
    /// Issued by a management point to a client.
    Ccm,
    /// One for many devices that are not registered yet; it counts on registration endpoints only.
    Bulk,
    /// A device that logged in at an identity provider.
    OidcDevice,
    /// A person who logged in at an identity provider.
    OidcUser,
}

const fn yes() -> bool {
    true
}

const fn sixty_seconds() -> Duration {
    Duration::seconds(60)
}
