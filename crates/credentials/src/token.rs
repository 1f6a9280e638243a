//! Bearer tokens: JSON web tokens signed by a configured key.
//!
//! The key decides issuer, kind and algorithms; the token only says which key it means. Order matters: nothing of the payload is
//! believed before the signature is good, save the issuer's name where the token names no key, and that only narrows the choice.
mod claims;
mod confirmation;
mod keys;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::identity::TokenFacts;
use cmg_core::problem::Problem;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::{Algorithm, TokenKey};

use crate::object::Object;
use crate::validity::Verified;
use keys::Key;

/// Longest token. Real ones have 1 to 4 KiB.
const LONGEST_TOKEN: usize = 16 << 10;

/// The configured keys, ready to verify tokens.
pub struct TokenVerifier {
    keys: Vec<Key>,
}

impl TokenVerifier {
    /// Prepares `keys`, or tells everything that is wrong with them.
    pub fn new(keys: &[TokenKey]) -> Result<Self, Vec<Problem>> {
        keys::load(keys).map(|keys| Self { keys })
    }

    /// Verifies `token` at `now`.
    pub fn verify(&self, token: &[u8], now: WallTime) -> Result<Verified<TokenFacts>, Refusal> {
        let parts = Parts::of(token)?;
        let header = Header::parse(&parts.header)?;
        let payload = Object::parse(&parts.payload).ok_or(Refusal::TokenMalformed)?;
        let key = self.key_of(&parts, &header, &payload)?;
        claims::check(key, &payload, now)
    }

    /// The configured issuer of a refused `token` that names a key which is none of that issuer's here: it may be a new one.
    pub(crate) fn issuer_of_unknown_key(&self, token: &[u8]) -> Option<&str> {
        let parts = Parts::of(token).ok()?;
        let (header, payload) = (Header::parse(&parts.header).ok()?, Object::parse(&parts.payload)?);
        let issuer = payload.text("iss").ok()??;
        let mut keys = self.keys.iter().filter(|key| key.issuer == issuer).peekable();
        let known = keys.peek().map(|key| key.issuer.as_str())?;
        (!header.key_ids.is_empty() && !keys.any(|key| header.key_ids.contains(&key.id))).then_some(known)
    }

    fn key_of(&self, parts: &Parts<'_>, header: &Header, payload: &Object) -> Result<&Key, Refusal> {
        let candidates = self.candidates(header, payload);
        if candidates.is_empty() {
            return Err(Refusal::TokenUnknownKey);
        }
        let algorithm = header.algorithm.ok_or(Refusal::TokenAlgorithm)?;
        let mut fitting = candidates.into_iter().filter_map(|key| Some((key, key.public_key(algorithm)?))).peekable();
        if fitting.peek().is_none() {
            return Err(Refusal::TokenAlgorithm);
        }
        let signer = fitting.find(|(_, public_key)| public_key.verify_sig(parts.signed, &parts.signature).is_ok());
        signer.map(|(key, _)| key).ok_or(Refusal::TokenSignature)
    }

    fn candidates(&self, header: &Header, payload: &Object) -> Vec<&Key> {
        if header.key_ids.is_empty() {
            let Ok(Some(issuer)) = payload.text("iss") else {
                return Vec::new();
            };
            return self.keys.iter().filter(|key| key.issuer == issuer).collect();
        }
        let mut named: Vec<&Key> = self.keys.iter().filter(|key| header.key_ids.contains(&key.id)).collect();
        // Two issuers may have one key, and one may copy the key of another: the issuer narrows the choice, and the signature decides.
        let issuer = payload.text("iss").ok().flatten();
        if named.iter().any(|key| Some(key.issuer.as_str()) == issuer) {
            named.retain(|key| Some(key.issuer.as_str()) == issuer);
        }
        named
    }
}

/// The three parts of a token.
struct Parts<'a> {
    signed: &'a [u8],
    header: Vec<u8>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a [u8]) -> Result<Self, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::TokenMalformed);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::TokenMalformed);
        };
        Ok(Self {
            signed: &token[..header.len() + 1 + payload.len()],
            header: decode(header)?,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }
}

fn decode(part: &[u8]) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::TokenMalformed)
}

/// What the token says about how it is signed.
struct Header {
    /// None: an algorithm that does not exist here, such as `none` or a symmetric one.
    algorithm: Option<Algorithm>,
    /// `kid` and `x5t`, as far as given.
    key_ids: Vec<String>,
}

impl Header {
    fn parse(json: &[u8]) -> Result<Self, Refusal> {
        let object = Object::parse(json).ok_or(Refusal::TokenMalformed)?;
        // Extensions marked critical must be understood, and none is.
        if object.doubled || object.members.contains_key("crit") {
            return Err(Refusal::TokenMalformed);
        }
        let text = |name| object.text(name).map_err(|_| Refusal::TokenMalformed);
        let algorithm = text("alg")?.ok_or(Refusal::TokenMalformed)?;
        let key_ids = [text("kid")?, text("x5t")?].into_iter().flatten().map(str::to_owned).collect();
        Ok(Self { algorithm: Algorithm::named(algorithm), key_ids })
    }
}
