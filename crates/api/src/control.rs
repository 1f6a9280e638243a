//! What a site server, its connection points and its gateways say to each other about configuration.
//!
//! A connection point speaks with the site server over HTTPS (TLS 1.3, both sides with role certificates of the infrastructure
//! authority; the enrolment of a connection point alone comes without a client certificate). A gateway never dials: it asks the
//! same questions down the tunnels that its connection points hold, as exchanges with the endpoint id [`CONTROL_ENDPOINT`].
//!
//! | who asks whom | request | answer |
//! |---|---|---|
//! | connection point, site server | `POST /control/v1/enrol` [`EnrolRequest`] | 200 [`Enrolled`], 403, 409, 429, 503 |
//! | connection point, site server | `GET /control/v1/news?after=E.N&wait=SECONDS` | 200 [`News`], held until there is any or the time is over |
//! | connection point, site server | `GET /control/v1/part/SHA256` | 200 bytes, 404 |
//! | connection point, site server | `POST /control/v1/status` [`StatusReport`] | 204 |
//! | connection point, site server | `POST /control/v1/renew` [`RenewRequest`] | 200 [`Enrolled`], 403, 503 with Retry-After |
//! | connection point, site server | `POST /control/v1/gateway/enrol` [`EnrolRequest`] | 200 [`Enrolled`], 403, 409, 429, 503 |
//! | connection point, site server | `POST /control/v1/gateway/renew` [`RenewRequest`] | 200 [`Enrolled`], 403, 503 with Retry-After |
//! | gateway, connection point | `GET /news?after=E.N&wait=SECONDS` | 200 [`GatewayNews`] |
//! | gateway, connection point | `GET /part/SHA256` | 200 bytes, 404 |
//! | gateway, connection point | `POST /status` [`Signed`] [`MemberStatus`] | 204 |
//! | gateway, connection point | `POST /renew` [`RenewRequest`] | as the site server answers |
//!
//! What is signed is the text as it was sent: nothing is serialized again to check a signature.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::bytes::{Base64, Sha256};

/// The endpoint id of exchanges in the tunnel that ask a connection point itself; no published endpoint can be called so.
pub const CONTROL_ENDPOINT: &str = "";

/// The name in ALPN of the connection that a connection point makes to a gateway that has no certificate yet.
pub const ENROL_PROTOCOL: &[u8] = b"cmg-enrol/1";

/// The largest JSON body of a control request or answer, in bytes.
pub const LARGEST_MESSAGE: usize = 4 << 20;

/// The largest part, in bytes: revocation lists of big authorities reach tens of megabytes.
pub const LARGEST_PART: usize = 128 << 20;

/// Which configuration: a restore raises the epoch, every change the number. Written `EPOCH.NUMBER` in queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GenerationId {
    /// Raised by a restore.
    pub epoch: u64,
    /// Raised by every change.
    pub number: u64,
}

impl fmt::Display for GenerationId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.epoch, self.number)
    }
}

impl GenerationId {
    /// Reads `EPOCH.NUMBER`.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('.')?;
        Some(Self { epoch: epoch.parse().ok()?, number: number.parse().ok()? })
    }
}

/// A text with a signature: ECDSA on P-256 with SHA-256, ASN.1, over the context, a zero byte and the payload.
///
/// A gateway signs with the key of its role certificate. For the site the signer proves itself with a certificate of the infrastructure authority whose one URI is `spiffe://<site>/snapshot/<name>` and
/// whose extended key usage is code signing; so a new signing key needs no word to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// What is signed: JSON.
    pub payload: String,
    /// The signer's certificate and its issuers without the root, DER.
    pub chain: Vec<Base64>,
    /// The signature.
    pub signature: Base64,
}

/// Context of the signature over a [`Manifest`].
pub const MANIFEST_CONTEXT: &str = "cmg-manifest/1";

/// Context of the signature over a [`Freshness`].
pub const FRESHNESS_CONTEXT: &str = "cmg-freshness/1";

/// The configuration of one member at one generation: one document, and the files that it names by their digests.
///
/// The document is TOML in the shape of [`crate::GatewayDocument`] or [`crate::ConnectionPointDocument`]. Where it names a file, it
/// writes the SHA-256 of a part in hexadecimal, or `sealed/NAME` for a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Whom it is for: the kind and the name of its role URI, such as `gateway/gw-1`. Nobody else follows it.
    pub member: String,
    /// Which configuration this is.
    pub generation: GenerationId,
    /// The document.
    pub document: Sha256,
    /// All parts, the document among them, with their sizes in bytes.
    pub parts: BTreeMap<Sha256, u64>,
    /// Secrets by the names that the document gives them: the parts that hold them, sealed to this member.
    ///
    /// A sealed part is the length of the encapsulated key (two bytes, big-endian), that key, and the ciphertext: HPKE (RFC 9180) in
    /// base mode with DHKEM(P-256, HKDF-SHA256), HKDF-SHA256 and AES-256-GCM, the info [`SEALED_INFO`], and as associated data the
    /// member, a zero byte and the secret's name. The plain text is what the file would hold: a private key in PEM.
    pub sealed: BTreeMap<String, Sha256>,
    /// The roots of the infrastructure authority that count from here on, DER, the one first under which the site issues: a member whose
    /// certificate is under another asks for one at once. Empty: those that count already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authorities: Vec<Base64>,
}

/// The info of HPKE for sealed parts.
pub const SEALED_INFO: &[u8] = b"cmg-sealed/1";

/// What the site says every few seconds, so that whoever withholds news is noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    /// The newest generation there is.
    pub newest: GenerationId,
    /// When this was said, in seconds since 1970.
    pub at: u64,
}

/// What a connection point learns: its own manifest and those of the gateway instances that it connects to, where they are newer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// A [`Freshness`].
    pub freshness: Option<Signed>,
    /// [`Manifest`]s by member. Empty: nothing newer.
    pub manifests: BTreeMap<String, Signed>,
}

/// What a gateway learns from one connection point.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayNews {
    /// The latest [`Freshness`] that the connection point has.
    pub freshness: Option<Signed>,
    /// The gateway's own [`Manifest`], where it is newer.
    pub manifest: Option<Signed>,
}

/// A new member asks for its certificate. Nobody between it and the site can read the code or swap the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// `gateway` or `connection-point`.
    pub kind: String,
    /// The name that the code was made for.
    pub name: String,
    /// PKCS#10 certificate signing request, DER; only its public key (ECDSA on P-256) and its signature count.
    pub csr: Base64,
    /// The public key that secrets are sealed to: P-256, uncompressed point, 65 bytes.
    pub sealing_key: Base64,
    /// What TLS exports with the label `EXPORTER-cmg-enrol` and no context, 32 bytes, on the connection between gateway and
    /// connection point, as the connection point sees it. Empty for a connection point that asks the site itself.
    pub exporter: Base64,
    /// HMAC-SHA-256 under the code over [`EnrolRequest::proven`], with the exporter as the new member sees it.
    pub mac: Base64,
}

impl EnrolRequest {
    /// The bytes under the HMAC: each field with its length before it, as four bytes, big-endian.
    pub fn proven(&self) -> Vec<u8> {
        let fields: [&[u8]; 6] =
            [ENROL_PROTOCOL, self.kind.as_bytes(), self.name.as_bytes(), &self.csr.0, &self.sealing_key.0, &self.exporter.0];
        let mut bytes = Vec::new();
        for field in fields {
            bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        bytes
    }
}

/// A member asks for a new certificate of its proven identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// PKCS#10 certificate signing request with the new key, DER.
    pub csr: Base64,
    /// The new public key that secrets are sealed to; the same as before where it stays.
    pub sealing_key: Base64,
    /// The certificate in force with its issuers, DER.
    pub chain: Vec<Base64>,
    /// ECDSA on P-256 with SHA-256, ASN.1, by the key in force, over `cmg-renew/1`, a zero byte, the CSR and the sealing key.
    pub signature: Base64,
}

/// Context of the signature in a [`RenewRequest`].
pub const RENEW_CONTEXT: &str = "cmg-renew/1";

impl RenewRequest {
    /// The bytes under the signature.
    pub fn proven(&self) -> Vec<u8> {
        [RENEW_CONTEXT.as_bytes(), &[0], &self.csr.0, &self.sealing_key.0].concat()
    }
}

/// A certificate for a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolled {
    /// The member's certificate and its issuers without the root, DER.
    pub chain: Vec<Base64>,
    /// The roots of the infrastructure authority, DER. A new member counts those only whose digest its code pins.
    pub authorities: Vec<Base64>,
}

/// Context of a gateway's signature over its [`MemberStatus`].
pub const STATUS_CONTEXT: &str = "cmg-status/1";

/// What a member says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberStatus {
    /// The generation in force.
    pub applied: GenerationId,
    /// When it came in force, in milliseconds since 1970.
    pub applied_at: u64,
    /// A newer generation that could not be put in force.
    pub refused: Option<RefusedGeneration>,
    /// The version of the program.
    pub version: String,
    /// When the role certificate ends, in seconds since 1970.
    pub certificate_ends: u64,
    /// What deserves a look: the member's findings, one line each.
    pub findings: Vec<String>,
    /// Of a connection point: sessions with each gateway instance. Of a gateway: sessions with each connection point.
    pub tunnels: BTreeMap<String, u32>,
    /// Configured issuers whose tokens named a key in the last minute that this generation does not have: at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wanted_keys: Vec<String>,
    /// Of a gateway: when it says so, by its own clock, in milliseconds since 1970. It comes by several ways, and the newest counts.
    #[serde(default)]
    pub said_at: u64,
}

/// A generation that could not be put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedGeneration {
    /// Which.
    pub generation: GenerationId,
    /// Why, one problem a line.
    pub problems: Vec<String>,
}

/// What a connection point tells the site: about itself, and what its gateways told it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusReport {
    /// Its own, by its name, such as `connection-point/cp-1`.
    pub members: BTreeMap<String, MemberStatus>,
    /// What its gateways have signed, by their names, such as `gateway/gw-1`: [`MemberStatus`], passed on as it came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gateways: BTreeMap<String, Signed>,
}
