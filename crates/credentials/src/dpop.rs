//! Proofs that a client holds the key which its token is bound to (RFC 9449).
//!
//! What a proof says: the holder of this key made this request, with this token, about now, and after it had seen this nonce. A pure
//! function: whether the proof was seen before is the caller's, see [`crate::Proofs`]. What costs next to nothing is looked at first, the
//! signature last: who sends what cannot count makes nobody verify it. Between the two is a [`Claimed`], which a caller may refuse by
//! what it says.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::Algorithm;
use serde_json::Value;

use crate::jwk::{Jwk, JwkRefused};
use crate::text::{base64url, sha256};

/// Longest proof, in bytes. Real ones have less than 2 KiB, with an RSA key.
const LONGEST_PROOF: usize = 8 << 10;
/// Longest `jti`, in bytes: callers keep them.
const LONGEST_ID: usize = 128;

/// What a proof has to be about.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method, as it stands in the request.
    pub method: &'a str,
    /// The URL that the client asked for, with scheme and host; query and fragment do not count.
    pub url: &'a str,
    /// The token beside the proof; none where the client asks for a token.
    pub access_token: Option<&'a str>,
    /// The nonces that count, the present and the one before; empty: none is asked for.
    pub nonces: &'a [&'a str],
}

/// What a good proof says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFacts {
    /// Thumbprint of the key that signed it: compare with `cnf.jkt` of the token.
    pub jkt: String,
    /// Its id: accept it once.
    pub jti: String,
    /// When it was made.
    pub iat: WallTime,
    /// The nonce in it; one of those that count, where one was asked for.
    pub nonce: Option<String>,
}

/// Why a proof does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpopRefused {
    /// No token of JSON parts, too long, or with a member of the wrong type.
    #[error("the proof is malformed")]
    Malformed,
    /// `typ` is not `dpop+jwt`.
    #[error("the proof is a token of another type")]
    Type,
    /// An algorithm that is not used here, or one that does not fit the key.
    #[error("the proof is signed with an algorithm that does not count here")]
    Algorithm,
    /// The key in it is not a public key that is used here.
    #[error("the key in the proof does not count: {0}")]
    Key(JwkRefused),
    /// The signature is not by that key.
    #[error("the proof is not signed by the key in it")]
    Signature,
    /// Made for another method.
    #[error("the proof is for another method")]
    Method,
    /// Made for another URL.
    #[error("the proof is for another URL")]
    Url,
    /// Made too long ago, or in the future.
    #[error("the proof was not made about now; set the client's clock")]
    Time,
    /// Made for another token, or for none.
    #[error("the proof is for another token")]
    Token,
    /// The nonce is missing or old: answer with the present one, and the client tries again.
    #[error("the proof has not the nonce that is asked for")]
    Nonce,
}

impl From<DpopRefused> for Refusal {
    fn from(refused: DpopRefused) -> Self {
        match refused {
            DpopRefused::Malformed | DpopRefused::Type | DpopRefused::Key(_) => Self::ProofMalformed,
            DpopRefused::Algorithm => Self::ProofAlgorithm,
            DpopRefused::Signature => Self::ProofSignature,
            DpopRefused::Method => Self::ProofMethod,
            DpopRefused::Url => Self::ProofUrl,
            DpopRefused::Time => Self::ProofTime,
            DpopRefused::Token => Self::ProofToken,
            DpopRefused::Nonce => Self::ProofNonce,
        }
    }
}

/// Verifies `proof` for `request` at `now`, `leeway` seconds of age or of clock skew allowed.
pub fn verify(proof: &str, request: Request<'_>, now: WallTime, leeway: u64) -> Result<ProofFacts, DpopRefused> {
    Claimed::read(proof, request, now, leeway)?.proven()
}

/// A proof that would count, if its signature is good.
pub struct Claimed<'a> {
    proof: Proof<'a>,
    algorithm: Algorithm,
    key: Jwk,
    facts: ProofFacts,
}

impl<'a> Claimed<'a> {
    /// Reads `proof` for `request` at `now`, as [`verify`] does, save the signature.
    pub fn read(proof: &'a str, request: Request<'_>, now: WallTime, leeway: u64) -> Result<Self, DpopRefused> {
        let proof = Proof::parse(proof)?;
        proof.demand_type()?;
        proof.demand_request(request)?;
        let iat = proof.demand_time(now, leeway)?;
        proof.demand_token(request.access_token)?;
        proof.demand_nonce(request.nonces)?;
        let jti = proof.claim("jti")?.to_owned();
        if jti.is_empty() || jti.len() > LONGEST_ID {
            return Err(DpopRefused::Malformed);
        }
        let (algorithm, key) = proof.signer()?;
        let facts = ProofFacts { jkt: key.thumbprint(), jti, iat, nonce: proof.nonce().map(str::to_owned) };
        Ok(Self { proof, algorithm, key, facts })
    }

    /// What it says; nobody has proven it yet.
    pub fn facts(&self) -> &ProofFacts {
        &self.facts
    }

    /// Verifies the signature.
    pub fn proven(self) -> Result<ProofFacts, DpopRefused> {
        let Self { proof, algorithm, key, facts } = self;
        match key.has_signed(algorithm, proof.signed.as_bytes(), &proof.signature) {
            Some(true) => Ok(facts),
            Some(false) => Err(DpopRefused::Signature),
            None => Err(DpopRefused::Algorithm),
        }
    }
}

/// A proof, taken apart and not yet believed.
struct Proof<'a> {
    signed: &'a str,
    header: Value,
    claims: Value,
    signature: Vec<u8>,
}

impl<'a> Proof<'a> {
    fn parse(text: &'a str) -> Result<Self, DpopRefused> {
        if text.len() > LONGEST_PROOF {
            return Err(DpopRefused::Malformed);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(DpopRefused::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(DpopRefused::Malformed)?;
        let object = |part| decoded(part).and_then(|json| serde_json::from_slice(&json).ok()).filter(Value::is_object);
        Ok(Self {
            signed,
            header: object(header).ok_or(DpopRefused::Malformed)?,
            claims: object(claims).ok_or(DpopRefused::Malformed)?,
            signature: decoded(signature).ok_or(DpopRefused::Malformed)?,
        })
    }

    fn demand_type(&self) -> Result<(), DpopRefused> {
        if self.header.get("typ").and_then(Value::as_str) != Some("dpop+jwt") {
            return Err(DpopRefused::Type);
        }
        // Extensions marked critical must be understood, and none is.
        if self.header.get("crit").is_some() { Err(DpopRefused::Malformed) } else { Ok(()) }
    }

    /// The key in the header, which has made the signature, and its algorithm.
    fn signer(&self) -> Result<(Algorithm, Jwk), DpopRefused> {
        let algorithm = self.header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::named).ok_or(DpopRefused::Algorithm)?;
        let jwk = Jwk::parse(self.header.get("jwk").ok_or(DpopRefused::Malformed)?).map_err(DpopRefused::Key)?;
        if jwk.is_costly() { Err(DpopRefused::Key(JwkRefused::Costly)) } else { Ok((algorithm, jwk)) }
    }

    fn demand_request(&self, request: Request<'_>) -> Result<(), DpopRefused> {
        if self.claim("htm")? != request.method {
            return Err(DpopRefused::Method);
        }
        match (normal(self.claim("htu")?), normal(request.url)) {
            (Some(said), Some(asked)) if said == asked => Ok(()),
            _ => Err(DpopRefused::Url),
        }
    }

    fn demand_time(&self, now: WallTime, leeway: u64) -> Result<WallTime, DpopRefused> {
        let made = self.claims.get("iat").and_then(Value::as_u64).ok_or(DpopRefused::Malformed)?;
        if made.abs_diff(now.0) > leeway { Err(DpopRefused::Time) } else { Ok(WallTime(made)) }
    }

    fn demand_token(&self, token: Option<&str>) -> Result<(), DpopRefused> {
        let Some(token) = token else { return Ok(()) };
        let wanted = base64url(&sha256(token.as_bytes()));
        let said = self.claims.get("ath").and_then(Value::as_str);
        if said == Some(&wanted) { Ok(()) } else { Err(DpopRefused::Token) }
    }

    fn demand_nonce(&self, nonces: &[&str]) -> Result<(), DpopRefused> {
        let good = nonces.is_empty() || self.nonce().is_some_and(|said| nonces.contains(&said));
        if good { Ok(()) } else { Err(DpopRefused::Nonce) }
    }

    fn nonce(&self) -> Option<&str> {
        self.claims.get("nonce").and_then(Value::as_str)
    }

    fn claim(&self, name: &str) -> Result<&str, DpopRefused> {
        self.claims.get(name).and_then(Value::as_str).ok_or(DpopRefused::Malformed)
    }
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// The URL of a request over TLS, as proofs name it: `authority` and `path` as they stand in the request; none: it is no such URL.
pub fn url(authority: &str, path: &[u8]) -> Option<String> {
    Some(format!("https://{authority}{}", std::str::from_utf8(path).ok()?))
}

/// A URL as it is compared: scheme and host in lower case, no default port, no query, no fragment; none: it is no such URL.
fn normal(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (scheme, host) = (scheme.to_ascii_lowercase(), host.to_ascii_lowercase());
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let host = host.strip_suffix(default_port).unwrap_or(&host);
    if host.is_empty() {
        return None;
    }
    Some(format!("{scheme}://{host}{}", if path.is_empty() { "/" } else { path }))
}
