//! Tokens: every claim missing, of the wrong type, wrong and doubled; keys, algorithms, signatures.
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKey, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::identity::TokenKind;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::{Algorithm, TokenKey};
use cmg_credentials::TokenVerifier;

use crate::lab::NOW;

const HEADER: &str = r#"{"typ":"JWT","alg":"RS256","kid":"site-1"}"#;
const ISSUER: &str = "urn:sccm:oauth2:lab";
/// Where `claims` puts what a test adds.
const GOOD: &[(&str, &str)] = &[
    ("iss", r#""urn:sccm:oauth2:lab""#),
    ("aud", r#""urn:sccm:service""#),
    ("exp", "1781528400"),
    ("nbf", "1781521200"),
    ("iat", "1781521200"),
    ("sub", r#""GUID:1""#),
    ("jti", r#""token-1""#),
];

pub(crate) fn rsa() -> &'static RsaKey {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    KEY.get_or_init(|| RsaKey::generate(KeySize::Rsa2048).unwrap())
}

fn other_rsa() -> &'static RsaKey {
    static KEY: OnceLock<RsaKey> = OnceLock::new();
    KEY.get_or_init(|| RsaKey::generate(KeySize::Rsa2048).unwrap())
}

fn public_key(key: &RsaKey) -> Vec<u8> {
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    der.as_ref().to_vec()
}

pub(crate) fn site_key() -> TokenKey {
    TokenKey {
        id: "site-1".into(),
        issuer: ISSUER.into(),
        algorithms: vec![Algorithm::Rs256],
        public_key: public_key(rsa()),
        kind: TokenKind::Site,
        leeway: 60,
    }
}

fn sign(key: &RsaKey, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn assembled(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn token(header: &str, claims: &str) -> String {
    assembled(header, claims, |message| sign(rsa(), &signature::RSA_PKCS1_SHA256, message))
}

pub(crate) fn good_claims() -> String {
    claims(|_| None)
}

/// The good claims, with what `change` says in the place of a claim.
fn claims(change: impl Fn(&str) -> Option<String>) -> String {
    let members = GOOD.iter().map(|(name, value)| change(name).unwrap_or_else(|| format!("\"{name}\":{value}")));
    format!("{{{}}}", members.filter(|member| !member.is_empty()).collect::<Vec<_>>().join(","))
}

pub(crate) fn with(name: &str, value: &str) -> String {
    claims(|known| (known == name).then(|| format!("\"{name}\":{value}")))
}

fn without(name: &str) -> String {
    claims(|known| (known == name).then(String::new))
}

fn verify(keys: &[TokenKey], token: &str) -> Result<(), Refusal> {
    TokenVerifier::new(keys).unwrap().verify(token.as_bytes(), NOW).map(|_| ())
}

fn verify_claims(claims: &str) -> Result<(), Refusal> {
    verify(&[site_key()], &token(HEADER, claims))
}

#[test]
fn a_good_token_says_who_it_is_for() {
    let verified = TokenVerifier::new(&[site_key()]).unwrap().verify(token(HEADER, &good_claims()).as_bytes(), NOW).unwrap();

    let facts = &verified.facts;
    assert_eq!((facts.kind, facts.issuer.as_str()), (TokenKind::Site, ISSUER));
    assert_eq!(facts.audiences, ["urn:sccm:service"]);
    assert_eq!((facts.subject.as_deref(), facts.id.as_deref()), (Some("GUID:1"), Some("token-1")));
    assert_eq!((facts.not_before, facts.expires), (Some(WallTime(1_781_521_200)), WallTime(1_781_528_400)));
    assert_eq!(facts.claims["exp"], "1781528400");
    assert_eq!((verified.good_from, verified.good_until), (WallTime(1_781_521_140), WallTime(1_781_528_459)));
}

#[test]
fn each_required_claim_missing_is_refused() {
    for name in ["iss", "aud", "exp"] {
        assert_eq!(verify_claims(&without(name)), Err(Refusal::TokenClaim), "{name}");
    }
    for name in ["nbf", "iat", "sub", "jti"] {
        assert_eq!(verify_claims(&without(name)), Ok(()), "{name}");
    }
}

#[test]
fn each_claim_of_a_wrong_type_is_refused() {
    for name in ["exp", "nbf", "iat"] {
        for value in [r#""1781528400""#, "1781528400.5", "-1", "true", "null", "[1781528400]", "{}", "99999999999999999999999"] {
            assert_eq!(verify_claims(&with(name, value)), Err(Refusal::TokenClaim), "{name} {value}");
        }
    }
    for name in ["iss", "sub", "jti"] {
        for value in ["1", "null", "true", r#"["urn:sccm:oauth2:lab"]"#, "{}"] {
            assert_eq!(verify_claims(&with(name, value)), Err(Refusal::TokenClaim), "{name} {value}");
        }
    }
    for value in ["1", "null", "[]", "[1]", r#"["a", 1]"#, "{}"] {
        assert_eq!(verify_claims(&with("aud", value)), Err(Refusal::TokenClaim), "aud {value}");
    }
}

#[test]
fn each_wrong_claim_has_its_own_reason() {
    assert_eq!(verify_claims(&with("iss", r#""urn:other""#)), Err(Refusal::TokenIssuer));
    assert_eq!(verify_claims(&with("exp", "1781520000")), Err(Refusal::TokenExpired));
    assert_eq!(verify_claims(&with("nbf", "1781528000")), Err(Refusal::TokenNotYetValid));
}

#[test]
fn each_doubled_claim_is_refused() {
    for (name, value) in GOOD {
        let doubled = claims(|known| (known == *name).then(|| format!("\"{name}\":{value},\"{name}\":{value}")));
        assert_eq!(verify_claims(&doubled), Err(Refusal::TokenClaim), "{name}");
    }
    let escaped = claims(|known| (known == "aud").then(|| r#""aud":"urn:sccm:service","\u0061ud":"x""#.into()));
    assert_eq!(verify_claims(&escaped), Err(Refusal::TokenClaim));
}

#[test]
fn clock_skew_is_allowed_up_to_the_leeway() {
    let (inside, outside) = (NOW.0 - 59, NOW.0 - 60);
    assert_eq!(verify_claims(&with("exp", &inside.to_string())), Ok(()));
    assert_eq!(verify_claims(&with("exp", &outside.to_string())), Err(Refusal::TokenExpired));

    let (inside, outside) = (NOW.0 + 60, NOW.0 + 61);
    assert_eq!(verify_claims(&with("nbf", &inside.to_string())), Ok(()));
    assert_eq!(verify_claims(&with("nbf", &outside.to_string())), Err(Refusal::TokenNotYetValid));
}

#[test]
fn the_leeway_is_never_more_than_five_minutes() {
    let key = TokenKey { leeway: 86_400, ..site_key() };

    assert_eq!(verify(&[key], &token(HEADER, &with("exp", &(NOW.0 - 300).to_string()))), Err(Refusal::TokenExpired));
}

#[test]
fn the_end_of_time_is_no_overflow() {
    assert_eq!(verify_claims(&with("exp", &u64::MAX.to_string())), Ok(()));
}

#[test]
fn what_is_no_token_is_malformed() {
    let good = token(HEADER, &good_claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let padded = format!("{good}=");
    let longer = format!("{good}.x");
    let spaced = format!("{signed}. {signature}");
    let huge = format!("{signed}.{}", "A".repeat(16 << 10));

    for text in ["", ".", "..", "a.b", signed, &padded, &longer, &spaced, &huge] {
        assert_eq!(verify(&[site_key()], text), Err(Refusal::TokenMalformed), "{}", &text[..text.len().min(80)]);
    }
    assert_eq!(verify_claims("[]"), Err(Refusal::TokenMalformed));
    assert_eq!(verify_claims(&format!("{} x", good_claims())), Err(Refusal::TokenMalformed));
    assert_eq!(verify_claims(&"[".repeat(5000)), Err(Refusal::TokenMalformed));
}

#[test]
fn a_header_that_can_be_read_in_two_ways_is_malformed() {
    for header in [
        r#"{"alg":"RS256","alg":"RS256","kid":"site-1"}"#,
        r#"{"alg":"RS256","kid":"site-1","kid":"site-1"}"#,
        r#"{"alg":"RS256","kid":"site-1","crit":["exp"]}"#,
        r#"{"alg":1,"kid":"site-1"}"#,
        r#"{"alg":"RS256","kid":1}"#,
        r#"{"kid":"site-1"}"#,
        "null",
    ] {
        assert_eq!(verify(&[site_key()], &token(header, &good_claims())), Err(Refusal::TokenMalformed), "{header}");
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    for algorithm in ["none", "None", "HS256", "RS512", "PS256", "ES256", "rs256", ""] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"site-1"}}"#);
        assert_eq!(verify(&[site_key()], &token(&header, &good_claims())), Err(Refusal::TokenAlgorithm), "{algorithm}");
    }
}

#[test]
fn a_token_without_a_signature_is_refused() {
    let unsigned = assembled(HEADER, &good_claims(), |_| Vec::new());

    assert_eq!(verify(&[site_key()], &unsigned), Err(Refusal::TokenSignature));
}

#[test]
fn a_token_keyed_with_the_public_key_is_refused() {
    let header = r#"{"alg":"HS256","kid":"site-1"}"#;
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &public_key(rsa()));
    let forged = assembled(header, &good_claims(), |message| aws_lc_rs::hmac::sign(&secret, message).as_ref().to_vec());

    assert_eq!(verify(&[site_key()], &forged), Err(Refusal::TokenAlgorithm));
}

#[test]
fn a_token_of_another_key_is_refused() {
    let forged = assembled(HEADER, &good_claims(), |message| sign(other_rsa(), &signature::RSA_PKCS1_SHA256, message));

    assert_eq!(verify(&[site_key()], &forged), Err(Refusal::TokenSignature));
}

#[test]
fn an_altered_token_is_refused() {
    let good = token(HEADER, &good_claims());
    let signature = good.rsplit_once('.').unwrap().1;
    let altered = with("sub", r#""GUID:2""#);
    let forged = format!("{}.{}.{signature}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(altered));

    assert_eq!(verify(&[site_key()], &forged), Err(Refusal::TokenSignature));
}

#[test]
fn no_altered_byte_is_believed() {
    let verifier = TokenVerifier::new(&[site_key()]).unwrap();
    let good = token(HEADER, &good_claims()).into_bytes();

    for place in 0..good.len() {
        for other in [b'A', b'Q', b'w', b'8', b'.', b'=', b' ', 0xff] {
            let mut altered = good.clone();
            altered[place] = other;
            assert!(altered == good || verifier.verify(&altered, NOW).is_err(), "{place} {other}");
        }
    }
}

#[test]
fn a_key_is_found_by_kid_or_by_x5t() {
    assert_eq!(verify(&[site_key()], &token(r#"{"alg":"RS256","x5t":"site-1"}"#, &good_claims())), Ok(()));
    assert_eq!(verify(&[site_key()], &token(r#"{"alg":"RS256","kid":"unknown"}"#, &good_claims())), Err(Refusal::TokenUnknownKey));
    assert_eq!(verify(&[], &token(HEADER, &good_claims())), Err(Refusal::TokenUnknownKey));
}

#[test]
fn without_a_key_id_every_key_of_the_issuer_is_tried() {
    let header = r#"{"alg":"RS256"}"#;
    let old = TokenKey { id: "site-0".into(), public_key: public_key(other_rsa()), ..site_key() };
    let foreign = TokenKey { issuer: "urn:other".into(), ..site_key() };

    assert_eq!(verify(&[old, site_key()], &token(header, &good_claims())), Ok(()));
    assert_eq!(verify(&[foreign], &token(header, &good_claims())), Err(Refusal::TokenUnknownKey));
    assert_eq!(verify(&[site_key()], &token(header, &without("iss"))), Err(Refusal::TokenUnknownKey));
}

#[test]
fn one_key_may_speak_for_two_issuers() {
    let copied = TokenKey { issuer: "urn:other".into(), ..site_key() };

    for keys in [[copied.clone(), site_key()], [site_key(), copied]] {
        let good = token(r#"{"alg":"RS256","kid":"site-1"}"#, &good_claims());
        assert_eq!(verify(&keys, &good), Ok(()), "whichever comes first");
    }
}

#[test]
fn a_key_speaks_for_its_own_issuer_only() {
    let other = TokenKey { id: "other".into(), issuer: "urn:other".into(), public_key: public_key(other_rsa()), ..site_key() };
    let header = r#"{"alg":"RS256","kid":"other"}"#;
    let forged = assembled(header, &good_claims(), |message| sign(other_rsa(), &signature::RSA_PKCS1_SHA256, message));

    assert_eq!(verify(&[site_key(), other], &forged), Err(Refusal::TokenIssuer));
}

#[test]
fn a_bulk_registration_token_is_known_by_its_unique_id() {
    let key = TokenKey { kind: TokenKind::Bulk, ..site_key() };
    let claims = r#"{"SCCMTokenCategory":"SCCMPreAuthToken","Authority":"SCCM","License":"SCCM","Type":"BulkRegistration","TenantId":"T",
        "UniqueId":"9f1c","iss":"urn:sccm:oauth2:lab","aud":"urn:sccm:service","nbf":1781521200,"exp":1781528400}"#;

    let verified = TokenVerifier::new(&[key]).unwrap().verify(token(HEADER, claims).as_bytes(), NOW).unwrap();

    assert_eq!((verified.facts.id.as_deref(), verified.facts.subject.as_deref()), (Some("9f1c"), None));
    assert_eq!(verified.facts.claims["SCCMTokenCategory"], "SCCMPreAuthToken");
}

#[test]
fn ids_of_the_site_mean_nothing_in_a_providers_token() {
    let key = TokenKey { kind: TokenKind::OidcUser, ..site_key() };
    let claims = r#"{"UniqueId":"9f1c","deviceId":"GUID:1","iss":"urn:sccm:oauth2:lab","aud":["a","b"],"exp":1781528400}"#;

    let verified = TokenVerifier::new(&[key]).unwrap().verify(token(HEADER, claims).as_bytes(), NOW).unwrap();

    assert_eq!((verified.facts.id.as_deref(), verified.facts.subject.as_deref()), (None, None));
    assert_eq!(verified.facts.audiences, ["a", "b"]);
}

#[test]
fn claims_cannot_break_out_of_a_header() {
    let verifier = TokenVerifier::new(&[site_key()]).unwrap();

    let verified = verifier.verify(token(HEADER, &with("sub", r#""a\r\nX-Evil: 1""#)).as_bytes(), NOW).unwrap();

    assert_eq!(verified.facts.subject.as_deref(), Some("a\\0d\\0aX-Evil: 1"));
    assert_eq!(verified.facts.claims["sub"], "a\\0d\\0aX-Evil: 1");
}

#[test]
fn the_facts_hold_a_bounded_number_of_scalar_claims() {
    let many: Vec<_> = (0..100).map(|number| format!("\"claim{number}\":true")).collect();
    let claims = good_claims().replacen('{', &format!("{{\"nested\":{{\"a\":1}},{},", many.join(",")), 1);

    let verified = TokenVerifier::new(&[site_key()]).unwrap().verify(token(HEADER, &claims).as_bytes(), NOW).unwrap();

    assert_eq!(verified.facts.claims.len(), 64);
    assert!(!verified.facts.claims.contains_key("nested"));
}

#[test]
fn every_algorithm_verifies_with_a_fitting_key() {
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let spki = |key: &dyn Fn() -> Vec<u8>| key();
    let keys = [
        (Algorithm::Rs256, public_key(rsa())),
        (Algorithm::Ps256, public_key(rsa())),
        (Algorithm::Es256, spki(&|| AsDer::<PublicKeyX509Der<'_>>::as_der(p256.public_key()).unwrap().as_ref().to_vec())),
        (Algorithm::Es384, spki(&|| AsDer::<PublicKeyX509Der<'_>>::as_der(p384.public_key()).unwrap().as_ref().to_vec())),
        (Algorithm::EdDsa, spki(&|| AsDer::<PublicKeyX509Der<'_>>::as_der(ed25519.public_key()).unwrap().as_ref().to_vec())),
    ];

    for (algorithm, public_key) in keys {
        let key = TokenKey { algorithms: vec![algorithm], public_key, ..site_key() };
        let header = format!(r#"{{"alg":"{}","kid":"site-1"}}"#, algorithm.name());
        let token = assembled(&header, &good_claims(), |message| match algorithm {
            Algorithm::Rs256 => sign(rsa(), &signature::RSA_PKCS1_SHA256, message),
            Algorithm::Ps256 => sign(rsa(), &signature::RSA_PSS_SHA256, message),
            Algorithm::Es256 => p256.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::Es384 => p384.sign(&random, message).unwrap().as_ref().to_vec(),
            Algorithm::EdDsa => ed25519.sign(message).as_ref().to_vec(),
        });
        assert_eq!(verify(&[key], &token), Ok(()), "{}", algorithm.name());
    }
}

#[test]
fn a_key_that_does_not_fit_its_algorithm_is_a_problem() {
    let key = TokenKey { algorithms: vec![Algorithm::Es256, Algorithm::EdDsa], ..site_key() };

    let problems = TokenVerifier::new(&[site_key(), key]).err().unwrap();

    assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["token_key[1].key"; 2]);
}
