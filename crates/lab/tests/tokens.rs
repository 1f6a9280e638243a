//! The tokens of a laboratory in front of an independent judge.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use cmg_lab::token::{AUDIENCE, ISSUER};
use cmg_lab::{Algorithm, Flaw, TokenSigner};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

/// Only a reader that minds doubled members refuses these.
const NEEDS_A_CAREFUL_READER: [Flaw; 2] = [Flaw::TwoExpiries, Flaw::TwoAudiences];
/// Only a reader that minds the key id refuses this.
const NEEDS_A_KEY_ID: [Flaw; 1] = [Flaw::UnknownKeyId];

#[test]
fn a_site_token_is_good_under_every_algorithm() {
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa] {
        let signer = TokenSigner::new("key", algorithm).unwrap();
        let token = signer.site_token("device", AUDIENCE, Duration::from_secs(60)).unwrap();

        assert_eq!(judge(&signer, &token), Ok("device".to_owned()), "{algorithm:?}");
    }
}

#[test]
fn a_flawed_token_is_refused() {
    let signer = TokenSigner::new("key", Algorithm::Rs256).unwrap();
    for flaw in Flaw::ALL {
        let token = signer.flawed_token(flaw, "device", AUDIENCE).unwrap();
        let excused = NEEDS_A_CAREFUL_READER.contains(&flaw) || NEEDS_A_KEY_ID.contains(&flaw);

        assert!(excused || judge(&signer, &token).is_err(), "{flaw:?}");
    }
}

#[test]
fn a_doubled_member_stands_twice_in_the_claims() {
    let signer = TokenSigner::new("key", Algorithm::Rs256).unwrap();
    for (flaw, name) in [(Flaw::TwoExpiries, "\"exp\":"), (Flaw::TwoAudiences, "\"aud\":")] {
        let claims = claims_text(&signer.flawed_token(flaw, "device", AUDIENCE).unwrap());

        assert_eq!(claims.matches(name).count(), 2, "{claims}");
    }
}

#[test]
fn a_header_member_can_be_replaced() {
    let signer = TokenSigner::new("key", Algorithm::Rs256).unwrap();
    let claims = signer.claims("BulkRegistration", "device", AUDIENCE, Duration::from_secs(60));

    let token = signer.sign(&claims, &serde_json::json!({ "kid": "other" })).unwrap();

    assert_eq!(decode_header(&token).unwrap().kid.as_deref(), Some("other"));
}

fn judge(signer: &TokenSigner, token: &str) -> Result<String, String> {
    let pem = signer.public_key_pem().as_bytes();
    let (key, algorithm) = match signer.algorithm() {
        Algorithm::Rs256 => (DecodingKey::from_rsa_pem(pem), jsonwebtoken::Algorithm::RS256),
        Algorithm::Ps256 => (DecodingKey::from_rsa_pem(pem), jsonwebtoken::Algorithm::PS256),
        Algorithm::Es256 => (DecodingKey::from_ec_pem(pem), jsonwebtoken::Algorithm::ES256),
        Algorithm::Es384 => (DecodingKey::from_ec_pem(pem), jsonwebtoken::Algorithm::ES384),
        Algorithm::EdDsa => (DecodingKey::from_ed_pem(pem), jsonwebtoken::Algorithm::EdDSA),
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;

    let decoded = decode::<serde_json::Value>(token, &key.unwrap(), &validation).map_err(|error| error.to_string())?;
    Ok(decoded.claims["sub"].as_str().unwrap_or_default().to_owned())
}

fn claims_text(token: &str) -> String {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    String::from_utf8(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
