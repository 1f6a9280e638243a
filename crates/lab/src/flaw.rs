//! Every way in which a token can be bad, one variant each, so that a test can walk through all of them.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};

use crate::error::LabError;
use crate::token::{TokenSigner, base64url, unix};

/// What is wrong with a token; all else about it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Header `alg: none` and no signature.
    Unsigned,
    /// Header names an algorithm that the key is not for.
    WrongAlgorithm,
    /// HS256 with the public key as the shared secret.
    PublicKeyAsSecret,
    /// Signed by another key under the same key id.
    WrongKey,
    /// Key id of nobody.
    UnknownKeyId,
    /// Claims changed after signing.
    Altered,
    /// One character of the signature changed.
    BrokenSignature,
    /// Ended an hour ago.
    Expired,
    /// Begins in an hour.
    NotYetValid,
    /// `iss` of somebody else.
    WrongIssuer,
    /// `aud` of another service.
    WrongAudience,
    /// No `exp`.
    NoExpiry,
    /// No `iss`.
    NoIssuer,
    /// No `aud`.
    NoAudience,
    /// `exp` twice, the second one in force.
    TwoExpiries,
    /// `aud` twice, the second one right.
    TwoAudiences,
    /// `exp` is text.
    ExpiryAsText,
    /// Claims are not JSON.
    NotJson,
    /// Header and claims only, no second dot.
    TwoParts,
    /// Not a token at all.
    Noise,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Unsigned,
        Self::WrongAlgorithm,
        Self::PublicKeyAsSecret,
        Self::WrongKey,
        Self::UnknownKeyId,
        Self::Altered,
        Self::BrokenSignature,
        Self::Expired,
        Self::NotYetValid,
        Self::WrongIssuer,
        Self::WrongAudience,
        Self::NoExpiry,
        Self::NoIssuer,
        Self::NoAudience,
        Self::TwoExpiries,
        Self::TwoAudiences,
        Self::ExpiryAsText,
        Self::NotJson,
        Self::TwoParts,
        Self::Noise,
    ];
}

impl TokenSigner {
    /// A token that would be a good site token but for one flaw.
    pub fn flawed_token(&self, flaw: Flaw, subject: &str, audience: &str) -> Result<String, LabError> {
        let claims = self.claims("SiteToken", subject, audience, Duration::from_secs(3600));
        let now = unix(SystemTime::now());
        let signed_with = |changes: Value| self.sign(&with(&claims, changes), &json!({}));
        match flaw {
            Flaw::Unsigned => Ok(format!("{}.", body(&json!({ "typ": "JWT", "alg": "none" }), &claims))),
            Flaw::WrongAlgorithm => self.sign(&claims, &json!({ "alg": "RS512" })),
            Flaw::PublicKeyAsSecret => Ok(self.symmetric(&claims)),
            Flaw::WrongKey => Self::new(&self.key_id, self.algorithm())?.sign(&claims, &json!({})),
            Flaw::UnknownKeyId => self.sign(&claims, &json!({ "kid": "nobody" })),
            Flaw::Altered => self.sign(&claims, &json!({})).map(|token| altered(&token, &claims)),
            Flaw::BrokenSignature => self.sign(&claims, &json!({})).map(|token| broken(&token)),
            Flaw::Expired => signed_with(json!({ "nbf": now - 7200, "iat": now - 7200, "exp": now - 3600 })),
            Flaw::NotYetValid => signed_with(json!({ "nbf": now + 3600, "exp": now + 7200 })),
            Flaw::WrongIssuer => signed_with(json!({ "iss": "urn:somebody:else" })),
            Flaw::WrongAudience => signed_with(json!({ "aud": "urn:another:service" })),
            Flaw::NoExpiry => signed_with(json!({ "exp": null })),
            Flaw::NoIssuer => signed_with(json!({ "iss": null })),
            Flaw::NoAudience => signed_with(json!({ "aud": null })),
            Flaw::TwoExpiries => self.sign_twice(&claims, "exp", &json!(now - 3600)),
            Flaw::TwoAudiences => self.sign_twice(&claims, "aud", &json!("urn:another:service")),
            Flaw::ExpiryAsText => signed_with(json!({ "exp": (now + 3600).to_string() })),
            Flaw::NotJson => self.sign_text(&header(self), "exp=never"),
            Flaw::TwoParts => Ok(body(&json!({ "typ": "JWT", "alg": self.algorithm().as_str() }), &claims)),
            Flaw::Noise => Ok("eyJub3QiOiJhIHRva2VuIn0".to_owned()),
        }
    }

    fn symmetric(&self, claims: &Map<String, Value>) -> String {
        let signed = body(&json!({ "typ": "JWT", "alg": "HS256", "kid": self.key_id }), claims);
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public_key_pem().as_bytes());
        format!("{signed}.{}", base64url(hmac::sign(&secret, signed.as_bytes())))
    }

    /// Signs claims that begin with one more member of a name that they have already.
    fn sign_twice(&self, claims: &Map<String, Value>, name: &str, first: &Value) -> Result<String, LabError> {
        let rest = Value::Object(claims.clone()).to_string();
        let twice = rest.replacen('{', &format!("{{\"{name}\":{first},"), 1);
        self.sign_text(&header(self), &twice)
    }
}

fn header(signer: &TokenSigner) -> String {
    json!({ "typ": "JWT", "alg": signer.algorithm().as_str(), "kid": signer.key_id }).to_string()
}

fn body(header: &Value, claims: &Map<String, Value>) -> String {
    format!("{}.{}", base64url(header.to_string()), base64url(Value::Object(claims.clone()).to_string()))
}

/// The claims with some members replaced, and those removed for which the change is null.
fn with(claims: &Map<String, Value>, changes: Value) -> Map<String, Value> {
    let mut changed = claims.clone();
    for (name, value) in changes.as_object().into_iter().flatten() {
        if value.is_null() {
            changed.remove(name);
        } else {
            changed.insert(name.clone(), value.clone());
        }
    }
    changed
}

fn altered(token: &str, claims: &Map<String, Value>) -> String {
    let mut parts = token.split('.');
    let (header, signature) = (parts.next().unwrap_or_default(), parts.next_back().unwrap_or_default());
    let claims = Value::Object(with(claims, json!({ "sub": "somebody-else" }))).to_string();
    format!("{header}.{}.{signature}", base64url(claims))
}

/// Changes a character in the middle of the signature, where each one carries six whole bits.
fn broken(token: &str) -> String {
    let start = token.rfind('.').map_or(0, |dot| dot + 1);
    let target = start + (token.len() - start) / 2;
    let flip = |(at, character)| match (at == target, character) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, character) => character,
    };
    token.char_indices().map(flip).collect()
}
