//! The claims of a token whose signature is good.
use std::collections::BTreeMap;

use cmg_core::identity::{TokenFacts, TokenKind};
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use serde_json::Value;

use super::confirmation;
use super::keys::Key;
use crate::object::{Object, WrongType};
use crate::text;
use crate::validity::{Span, Verified};

/// Most claims kept as facts.
const MOST_CLAIMS: usize = 64;
/// Most audiences of one token.
const MOST_AUDIENCES: usize = 64;

/// Checks the claims of `payload`, signed by `key`, at `now`.
pub(super) fn check(key: &Key, payload: &Object, now: WallTime) -> Result<Verified<TokenFacts>, Refusal> {
    if payload.doubled {
        return Err(Refusal::TokenClaim);
    }
    let issuer = required(payload.text("iss"))?;
    if issuer != key.issuer {
        return Err(Refusal::TokenIssuer);
    }
    let expires = WallTime(required(payload.seconds("exp"))?);
    let not_before = optional(payload.seconds("nbf"))?.map(WallTime);
    optional(payload.seconds("iat"))?;
    let audiences = audiences(payload)?;
    let span = span(key, not_before, expires, now)?;
    let facts = TokenFacts {
        kind: key.kind,
        issuer: printable(issuer),
        audiences,
        subject: subject(key.kind, payload)?,
        id: id(key.kind, payload)?,
        not_before,
        expires,
        confirmation: confirmation::read(payload)?,
        claims: scalar_claims(payload),
    };
    Ok(Verified::new(facts, span))
}

/// When the token counts, clock skew included; `exp` itself is the first second at which it does not.
fn span(key: &Key, not_before: Option<WallTime>, expires: WallTime, now: WallTime) -> Result<Span, Refusal> {
    let end = expires.0.saturating_add(key.leeway);
    let from = WallTime(not_before.map_or(0, |start| start.0.saturating_sub(key.leeway)));
    if now.0 >= end {
        return Err(Refusal::TokenExpired);
    }
    if now < from {
        return Err(Refusal::TokenNotYetValid);
    }
    Ok(Span { from, until: WallTime(end - 1) })
}

fn audiences(payload: &Object) -> Result<Vec<String>, Refusal> {
    match payload.members.get("aud") {
        Some(Value::String(one)) => Ok(vec![printable(one)]),
        Some(Value::Array(several)) if (1..=MOST_AUDIENCES).contains(&several.len()) => {
            let texts = several.iter().map(|audience| audience.as_str().map(printable));
            texts.collect::<Option<_>>().ok_or(Refusal::TokenClaim)
        }
        _ => Err(Refusal::TokenClaim),
    }
}

/// `sub`; tokens of the site's own token services name the device or the user in claims of their own.
fn subject(kind: TokenKind, payload: &Object) -> Result<Option<String>, Refusal> {
    first_text(payload, if is_of_the_site(kind) { &["sub", "deviceId", "userId"] } else { &["sub"] })
}

/// `jti`; bulk registration tokens have `UniqueId`, which is what the administrator sees.
fn id(kind: TokenKind, payload: &Object) -> Result<Option<String>, Refusal> {
    first_text(payload, if is_of_the_site(kind) { &["jti", "UniqueId"] } else { &["jti"] })
}

fn is_of_the_site(kind: TokenKind) -> bool {
    match kind {
        TokenKind::Site | TokenKind::Ccm | TokenKind::Bulk => true,
        TokenKind::OidcDevice | TokenKind::OidcUser => false,
    }
}

fn first_text(payload: &Object, names: &[&str]) -> Result<Option<String>, Refusal> {
    for name in names {
        if let Some(text) = optional(payload.text(name))? {
            return Ok(Some(printable(text)));
        }
    }
    Ok(None)
}

fn scalar_claims(payload: &Object) -> BTreeMap<String, String> {
    let scalars = payload.members.iter().filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => printable(text),
            Value::Number(number) => number.to_string(),
            Value::Bool(truth) => truth.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((printable(name), text))
    });
    scalars.take(MOST_CLAIMS).collect()
}

fn printable(text: &str) -> String {
    text::printable(text.as_bytes())
}

fn required<T>(claim: Result<Option<T>, WrongType>) -> Result<T, Refusal> {
    optional(claim)?.ok_or(Refusal::TokenClaim)
}

fn optional<T>(claim: Result<Option<T>, WrongType>) -> Result<Option<T>, Refusal> {
    claim.map_err(|WrongType| Refusal::TokenClaim)
}
