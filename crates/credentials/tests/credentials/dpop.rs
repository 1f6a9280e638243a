//! Proofs of possession: the RFC's own, one of each algorithm, and each way not to count.
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_core::ids::RequestId;
use cmg_core::refusal::Refusal;
use cmg_core::replay::{Replays, Use};
use cmg_core::time::WallTime;
use cmg_credentials::dpop::{DpopRefused, ProofFacts, Request, verify};
use cmg_credentials::jwk::JwkRefused;
use cmg_credentials::{Proofs, jwk_thumbprint};
use serde_json::{Value, json};

use crate::lab::NOW;

const LEEWAY: u64 = 60;
const TOKEN: &str = "token";
const REQUEST: Request<'_> =
    Request { method: "POST", url: "https://cmg.example/a/b?c=d", access_token: Some(TOKEN), nonces: &["new", "old"] };

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A client with a key.
struct Client {
    algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

impl Client {
    fn new() -> Self {
        Self::ec("ES256")
    }

    fn ec(algorithm: &'static str) -> Self {
        let (curve, signing) = match algorithm {
            "ES256" => ("P-256", &ECDSA_P256_SHA256_FIXED_SIGNING),
            _ => ("P-384", &ECDSA_P384_SHA384_FIXED_SIGNING),
        };
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref()[1..].to_vec();
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({ "kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y) });
        let sign = move |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        Self { algorithm, jwk, sign: Box::new(sign) }
    }

    fn rsa(algorithm: &'static str) -> Self {
        Self::rsa_of(algorithm, KeySize::Rsa2048)
    }

    fn rsa_of(algorithm: &'static str, size: KeySize) -> Self {
        let padding: &'static dyn RsaEncoding = if algorithm == "RS256" { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
        let pair = rsa::KeyPair::generate(size).unwrap();
        let modulus = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let jwk = json!({ "kty": "RSA", "n": encoded(modulus), "e": "AQAB" });
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        };
        Self { algorithm, jwk, sign: Box::new(sign) }
    }

    fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key()) });
        Self { algorithm: "EdDSA", jwk, sign: Box::new(move |message: &[u8]| pair.sign(message).as_ref().to_vec()) }
    }

    /// A good proof, bent.
    fn proof(&self, bend: impl FnOnce(&mut Value, &mut Value)) -> String {
        let mut header = json!({ "typ": "dpop+jwt", "alg": self.algorithm, "jwk": self.jwk });
        let ath = encoded(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, TOKEN.as_bytes()));
        let url = "https://cmg.example/a/b";
        let mut claims = json!({ "htm": "POST", "htu": url, "iat": NOW.0, "jti": "id-1", "ath": ath, "nonce": "new" });
        bend(&mut header, &mut claims);
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = (self.sign)(signed.as_bytes());
        format!("{signed}.{}", encoded(signature))
    }
}

fn check(proof: &str) -> Result<ProofFacts, DpopRefused> {
    verify(proof, REQUEST, NOW, LEEWAY)
}

fn header(name: &str, value: Value) -> Result<ProofFacts, DpopRefused> {
    check(&Client::new().proof(|header, _| header[name] = value))
}

fn claim(name: &str, value: Value) -> Result<ProofFacts, DpopRefused> {
    check(&Client::new().proof(|_, claims| claims[name] = value))
}

#[test]
fn the_proof_of_the_rfc_counts() {
    let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZ\
                 ldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0V\
                 TYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T\
                 8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    let request = Request { method: "POST", url: "https://server.example.com/token", access_token: None, nonces: &[] };

    let facts = verify(proof, request, WallTime(1_562_262_616), LEEWAY).unwrap();

    assert_eq!((facts.jti.as_str(), facts.iat), ("-BwC3ESc6acc2lTc", WallTime(1_562_262_616)));
    assert_eq!(facts.jkt, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

#[test]
fn a_proof_of_each_algorithm_counts() {
    let clients = [Client::ec("ES256"), Client::ec("ES384"), Client::rsa("RS256"), Client::rsa("PS256"), Client::ed25519()];
    for client in clients {
        let facts = check(&client.proof(|_, _| {})).unwrap();

        let jkt = jwk_thumbprint(&client.jwk).unwrap();
        assert_eq!(facts, ProofFacts { jkt, jti: "id-1".into(), iat: NOW, nonce: Some("new".into()) }, "{}", client.algorithm);
    }
}

#[test]
fn a_token_that_is_no_proof_is_refused() {
    for typ in [json!("JWT"), json!("at+jwt"), Value::Null, json!(1)] {
        assert_eq!(header("typ", typ), Err(DpopRefused::Type));
    }
}

#[test]
fn an_algorithm_that_does_not_count_or_fit_is_refused() {
    for algorithm in [json!("none"), json!("HS256"), json!("ES512"), json!("RS256"), json!("ES384"), Value::Null] {
        assert_eq!(header("alg", algorithm), Err(DpopRefused::Algorithm));
    }
}

#[test]
fn a_key_that_is_private_or_missing_is_refused() {
    let private = check(&Client::new().proof(|header, _| header["jwk"]["d"] = "AA".into()));

    assert_eq!(private, Err(DpopRefused::Key(JwkRefused::Private)));
    assert_eq!(header("jwk", json!({ "kty": "oct" })), Err(DpopRefused::Key(JwkRefused::Kind)));
    assert_eq!(header("jwk", Value::Null), Err(DpopRefused::Key(JwkRefused::Malformed)));
    assert_eq!(header("crit", json!(["exp"])), Err(DpopRefused::Malformed));
}

#[test]
fn a_key_that_costs_too_much_is_refused_before_its_signature_is_verified() {
    let costly = Err(DpopRefused::Key(JwkRefused::Costly));
    let client = Client::rsa("RS256");
    let with = |name: &str, value: String| check(&client.proof(|header, _| header["jwk"][name] = value.into()));

    assert_eq!(with("n", encoded([0xc1; 513])), costly, "4104 bits");
    assert_eq!(with("e", encoded([0xff, 0xff, 0xff, 0xff])), costly);
    assert_eq!(with("e", encoded([1, 0, 3])), costly);
    assert_eq!(with("n", encoded([0xc1; 512])), Err(DpopRefused::Signature));
    assert_eq!(with("e", encoded([3])), Err(DpopRefused::Signature));
    assert!(check(&Client::rsa_of("PS256", KeySize::Rsa4096).proof(|_, _| {})).is_ok());
}

#[test]
fn nobody_verifies_what_cannot_count() {
    let (one, other) = (Client::new(), Client::new());
    let jkt = jwk_thumbprint(&one.jwk).unwrap();
    let proofs = Proofs::remembering(Replays::bounded(10, 1), LEEWAY);
    let count = |proof: &str| {
        let by = Use { request: RequestId(1), may_repeat: false };
        proofs.count(proof.as_bytes(), REQUEST, &jkt, by, NOW).map(drop)
    };
    let forged = |id: &str, jwk: &Value| {
        let proof = one.proof(|header, claims| (header["jwk"], claims["jti"]) = (jwk.clone(), id.into()));
        format!("{}.{}", proof.rsplit_once('.').unwrap().0, encoded([1; 64]))
    };

    assert_eq!(count(&forged("id-1", &other.jwk)), Err(Refusal::ProofKey));
    assert_eq!(count(&forged("id-1", &one.jwk)), Err(Refusal::ProofSignature));
    assert_eq!(count(&one.proof(|_, _| {})), Ok(()));
    assert_eq!(count(&forged("id-2", &one.jwk)), Err(Refusal::ProofTooMany), "the key is full");
}

#[test]
fn a_signature_by_another_key_or_over_other_words_is_refused() {
    let other = Client::new().jwk;
    let proof = Client::new().proof(|_, _| {});
    let parts: Vec<_> = proof.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap().replace("id-1", "id-2");

    assert_eq!(header("jwk", other), Err(DpopRefused::Signature));
    assert_eq!(check(&format!("{}.{}.{}", parts[0], encoded(claims), parts[2])), Err(DpopRefused::Signature));
}

#[test]
fn another_method_or_url_is_refused() {
    assert_eq!(claim("htm", json!("GET")), Err(DpopRefused::Method));
    assert_eq!(claim("htm", json!("post")), Err(DpopRefused::Method));
    for url in [
        "https://other.example/a/b",
        "http://cmg.example/a/b",
        "https://cmg.example/a",
        "https://cmg.example:444/a/b",
        "https://cmg.example/A/b",
        "https://x@cmg.example/a/b",
        "/a/b",
        "",
    ] {
        assert_eq!(claim("htu", json!(url)), Err(DpopRefused::Url), "{url}");
    }
}

#[test]
fn spellings_of_one_url_are_one() {
    for url in ["https://cmg.example/a/b?x", "https://cmg.example/a/b#x", "HTTPS://CMG.example:443/a/b"] {
        assert!(claim("htu", json!(url)).is_ok(), "{url}");
    }
    let root = |url| Request { url, ..REQUEST };
    let proof = Client::new().proof(|_, claims| claims["htu"] = json!("https://cmg.example"));
    assert!(verify(&proof, root("https://cmg.example/"), NOW, LEEWAY).is_ok());
}

#[test]
fn a_proof_counts_about_now_only() {
    let proof = Client::new().proof(|_, _| {});
    let at = |now| verify(&proof, REQUEST, now, LEEWAY).map(|facts| facts.iat);

    assert_eq!((at(WallTime(NOW.0 + 60)), at(WallTime(NOW.0 - 60))), (Ok(NOW), Ok(NOW)));
    assert_eq!((at(WallTime(NOW.0 + 61)), at(WallTime(NOW.0 - 61))), (Err(DpopRefused::Time), Err(DpopRefused::Time)));
}

#[test]
fn a_proof_for_another_token_or_none_is_refused() {
    let proof = Client::new().proof(|_, _| {});

    let other = verify(&proof, Request { access_token: Some("other"), ..REQUEST }, NOW, LEEWAY);
    assert_eq!(other, Err(DpopRefused::Token));
    assert_eq!(claim("ath", Value::Null), Err(DpopRefused::Token));
    assert!(verify(&proof, Request { access_token: None, ..REQUEST }, NOW, LEEWAY).is_ok());
}

#[test]
fn a_proof_needs_a_nonce_where_one_is_asked_for() {
    assert!(claim("nonce", json!("old")).is_ok());
    assert_eq!(claim("nonce", json!("older")), Err(DpopRefused::Nonce));
    assert_eq!(claim("nonce", Value::Null), Err(DpopRefused::Nonce));
    let without = Client::new().proof(|_, claims| claims["nonce"] = Value::Null);
    assert!(verify(&without, Request { nonces: &[], ..REQUEST }, NOW, LEEWAY).is_ok());
}

#[test]
fn what_is_malformed_is_refused() {
    for name in ["htm", "htu", "iat", "jti"] {
        assert_eq!(claim(name, Value::Null), Err(DpopRefused::Malformed), "{name}");
    }
    assert_eq!(claim("iat", json!(1.5)), Err(DpopRefused::Malformed));
    assert_eq!(claim("jti", json!("")), Err(DpopRefused::Malformed));
    assert_eq!(claim("jti", json!("x".repeat(129))), Err(DpopRefused::Malformed));
    assert_eq!(claim("more", json!("x".repeat(8192))), Err(DpopRefused::Malformed));
    for text in ["", "a.b", "a.b.c", "..", "a.b.c.d", "W10.W10.AA"] {
        assert_eq!(check(text), Err(DpopRefused::Malformed), "{text}");
    }
}
