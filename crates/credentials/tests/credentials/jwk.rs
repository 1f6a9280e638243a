//! JSON web keys: the examples of the RFCs, and keys that do not count.
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use cmg_credentials::jwk::JwkRefused;
use cmg_credentials::{Jwk, jwk_thumbprint};
use serde_json::{Value, json};

/// The key of RFC 7638, section 3.1.
pub(crate) fn rsa() -> Value {
    let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjh\
                   Mstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvR\
                   L5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqD\
                   Kgw";
    json!({ "kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" })
}

/// The key of RFC 9449, section 6.1.
fn p256() -> Value {
    let (x, y) = ("l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA");
    json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
}

fn with(mut key: Value, name: &str, value: &str) -> Result<String, JwkRefused> {
    key[name] = value.into();
    jwk_thumbprint(&key)
}

#[test]
fn the_thumbprints_of_the_rfcs_come_out() {
    let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });

    assert_eq!(jwk_thumbprint(&rsa()).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    assert_eq!(jwk_thumbprint(&p256()).unwrap(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
    assert_eq!(jwk_thumbprint(&ed25519).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_key_of_a_point_has_the_thumbprint_of_its_json() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = Jwk::p256(pair.public_key().as_ref().try_into().unwrap());

    let again: Value = serde_json::from_str(&key.to_json()).unwrap();

    assert_eq!(Jwk::parse(&again).unwrap(), key);
    assert_eq!(jwk_thumbprint(&again).unwrap(), key.thumbprint());
}

#[test]
fn a_private_or_symmetric_key_is_refused() {
    for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert_eq!(with(p256(), name, "AA"), Err(JwkRefused::Private), "{name}");
    }
}

#[test]
fn other_kinds_of_key_are_refused() {
    assert_eq!(with(p256(), "crv", "P-521"), Err(JwkRefused::Kind));
    assert_eq!(with(p256(), "kty", "oct"), Err(JwkRefused::Kind));
    assert_eq!(with(p256(), "kty", "OKP"), Err(JwkRefused::Kind));
    assert_eq!(with(rsa(), "n", &"wwww".repeat(42)), Err(JwkRefused::Kind), "RSA of 1008 bits");
}

#[test]
fn another_spelling_of_a_key_is_refused() {
    let padded = format!("{}=", p256()["x"].as_str().unwrap());
    let zero_first = format!("AAAA{}", rsa()["n"].as_str().unwrap());
    let shifted = json!({ "kty": "EC", "crv": "P-256", "x": "A".repeat(44), "y": "AAAA".repeat(10) + "AA" });

    assert_eq!(jwk_thumbprint(&shifted), Err(JwkRefused::Malformed), "33 and 31 bytes");
    assert_eq!(with(p256(), "x", &padded), Err(JwkRefused::Malformed));
    assert_eq!(with(p256(), "x", "AAAA"), Err(JwkRefused::Malformed));
    assert_eq!(with(p256(), "crv", "P-384"), Err(JwkRefused::Malformed));
    assert_eq!(with(p256(), "y", "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDB"), Err(JwkRefused::Malformed), "spare bits");
    assert_eq!(with(rsa(), "n", &zero_first), Err(JwkRefused::Malformed));
    assert_eq!(with(rsa(), "e", "AAEAAQ"), Err(JwkRefused::Malformed));
    assert_eq!(jwk_thumbprint(&json!("key")), Err(JwkRefused::Malformed));
    assert_eq!(jwk_thumbprint(&json!({ "kty": "RSA", "n": 1, "e": "AQAB" })), Err(JwkRefused::Malformed));
}
