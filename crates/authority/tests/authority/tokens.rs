//! Tokens of the site, as gateways verify them.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cmg_authority::tokens::TokenRefused;
use cmg_authority::{Confirmation, NewSite, SigningAlgorithm, TokenSigner};
use cmg_core::identity::{TokenFacts, TokenKind};
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::TokenKey;
use cmg_credentials::Verifier;
use pki_types::SubjectPublicKeyInfoDer;
use pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use crate::site::{DAY, NOW, later, site};

/// SHA-256 of a key, base64 for URLs.
const THUMBPRINT: &str = "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s";

const KINDS: [TokenKind; 3] = [TokenKind::Bulk, TokenKind::Ccm, TokenKind::Site];

/// The keys of all kinds of both signers. Their order does not matter, so it is the worst.
fn keys(site: &NewSite) -> Vec<TokenKey> {
    let signers = [&site.rs256, &site.es256];
    signers.iter().flat_map(|signer| KINDS.map(|kind| signer.token_key(kind, 0).unwrap())).collect()
}

fn verify(token: &str, now: WallTime) -> Result<TokenFacts, Refusal> {
    let verifier = Verifier::new(&[], &[], &keys(site())).unwrap();
    verifier.token(token.as_bytes(), now).map(|verified| TokenFacts::clone(&verified.facts))
}

fn part(token: &str, place: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(place).unwrap()).unwrap()).unwrap()
}

fn bound() -> Confirmation {
    Confirmation::Key(THUMBPRINT.into())
}

#[test]
fn a_bulk_registration_token_says_what_configmgrs_says() {
    let signer = &site().rs256;

    let issued = signer.bulk_registration(4_320, NOW).unwrap();

    let hierarchy = &site().hierarchy;
    assert_eq!(part(&issued.token, 0), json!({ "typ": "JWT", "alg": "RS256", "x5t": signer.thumbprint() }));
    let claims = json!({
        "SCCMTokenCategory": "SCCMPreAuthToken",
        "Authority": "SCCM",
        "License": "SCCM",
        "Type": "BulkRegistration",
        "TenantId": hierarchy,
        "UniqueId": issued.id,
        "iss": format!("urn:sccm:oauth2:{hierarchy}"),
        "aud": "urn:sccm:service",
        "nbf": NOW.0,
        "exp": NOW.0 + 259_200,
    });
    assert_eq!(part(&issued.token, 1), claims);
    assert_eq!(issued.expires, later(259_200));
}

#[test]
fn each_kind_of_token_verifies_as_its_own_kind() {
    for signer in [&site().rs256, &site().es256] {
        let client = verify(&signer.client("GUID:1", &bound(), NOW).unwrap().token, NOW).unwrap();
        let ccm = verify(&signer.ccm("GUID:1", None, NOW).unwrap().token, NOW).unwrap();

        assert_eq!((client.kind, client.subject.as_deref()), (TokenKind::Site, Some("GUID:1")));
        assert_eq!((ccm.kind, ccm.subject.as_deref()), (TokenKind::Ccm, Some("GUID:1")));
    }
    let issued = site().rs256.bulk_registration(1, NOW).unwrap();
    let bulk = verify(&issued.token, NOW).unwrap();
    assert_eq!((bulk.kind, bulk.id.as_deref()), (TokenKind::Bulk, Some(issued.id.as_str())));
    assert_eq!(bulk.audiences, ["urn:sccm:service"]);
}

#[test]
fn the_header_of_a_client_token_names_a_key_for_client_tokens_only() {
    let signer = &site().es256;

    let issued = signer.client("GUID:1", &bound(), NOW).unwrap();

    let key_id = format!("{}.site", signer.thumbprint());
    assert_eq!(part(&issued.token, 0), json!({ "typ": "JWT", "alg": "ES256", "kid": key_id }));
}

#[test]
fn a_token_ends_when_it_says() {
    let ends = |issued: cmg_authority::IssuedToken, seconds: u64| {
        assert_eq!(issued.expires, later(seconds));
        assert!(verify(&issued.token, later(seconds - 1)).is_ok());
        assert_eq!(verify(&issued.token, later(seconds)), Err(Refusal::TokenExpired));
    };

    ends(site().rs256.bulk_registration(1, NOW).unwrap(), 60);
    ends(site().es256.client("GUID:1", &bound(), NOW).unwrap(), 90 * DAY);
    ends(site().es256.ccm("GUID:1", None, NOW).unwrap(), 8 * 3_600);
}

#[test]
fn a_bulk_registration_token_counts_a_minute_to_a_week() {
    let signer = &site().rs256;

    assert!(signer.bulk_registration(1, NOW).is_ok() && signer.bulk_registration(10_080, NOW).is_ok());
    assert_eq!(signer.bulk_registration(0, NOW), Err(TokenRefused::Lifetime(0)));
    assert_eq!(signer.bulk_registration(10_081, NOW), Err(TokenRefused::Lifetime(10_081)));
    assert_eq!(site().es256.bulk_registration(60, NOW), Err(TokenRefused::Algorithm));
}

#[test]
fn a_client_token_is_bound_to_a_key_or_a_certificate() {
    let confirmation = |bound| part(&site().es256.client("GUID:1", &bound, NOW).unwrap().token, 1)["cnf"].clone();

    assert_eq!(confirmation(bound()), json!({ "jkt": THUMBPRINT }));
    let digest = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
    assert_eq!(confirmation(Confirmation::Certificate([1; 32])), json!({ "x5t#S256": digest }));
}

#[test]
fn a_ccm_token_names_device_and_user() {
    let claims = |user| part(&site().rs256.ccm("GUID:1", user, NOW).unwrap().token, 1);

    let (device, user) = (claims(None), claims(Some("user-1")));
    assert_eq!((&device["TokenType"], &device["deviceId"], device.get("userId")), (&json!("Device"), &json!("GUID:1"), None));
    assert_eq!((&user["TokenType"], &user["userId"]), (&json!("UDA"), &json!("user-1")));
    assert_eq!(user["hierarchyId"], json!(site().hierarchy));
}

#[test]
fn a_token_of_another_hierarchy_is_refused() {
    let other = NewSite::generate("ABC", NOW).unwrap();
    let relabelled = TokenKey { issuer: site().rs256.issuer(), ..other.rs256.token_key(TokenKind::Bulk, 0).unwrap() };
    let token = other.rs256.bulk_registration(60, NOW).unwrap().token;

    assert_eq!(verify(&token, NOW), Err(Refusal::TokenUnknownKey));
    let verifier = Verifier::new(&[], &[], &[relabelled]).unwrap();
    assert!(matches!(verifier.token(token.as_bytes(), NOW), Err(Refusal::TokenIssuer)));
}

#[test]
fn a_signer_that_ended_signs_no_more() {
    let end = site().rs256.not_after();

    assert_eq!(site().rs256.bulk_registration(60, end), Err(TokenRefused::SignerEnded));
}

#[test]
fn an_id_of_no_length_or_a_great_one_is_refused() {
    for id in [String::new(), "x".repeat(257)] {
        assert_eq!(site().es256.client(&id, &bound(), NOW), Err(TokenRefused::Id));
        assert_eq!(site().es256.ccm(&id, None, NOW), Err(TokenRefused::Id));
        assert_eq!(site().es256.ccm("GUID:1", Some(&id), NOW), Err(TokenRefused::Id));
    }
}

#[test]
fn a_signer_through_the_vault_signs_as_before() {
    for signer in [&site().rs256, &site().es256] {
        let again = TokenSigner::from_secret(&signer.to_secret()).unwrap();

        assert_eq!(again.token_key(TokenKind::Ccm, 0), signer.token_key(TokenKind::Ccm, 0));
        assert!(verify(&again.client("GUID:1", &bound(), NOW).unwrap().token, NOW).is_ok());
        assert_eq!(again.not_after(), signer.not_after());
    }
    assert!(TokenSigner::from_secret(&site().snapshots.to_secret()).is_none());
}

#[test]
fn the_public_key_in_pem_and_the_certificate_are_those_of_the_key() {
    for signer in [&site().rs256, &site().es256] {
        let key = signer.token_key(TokenKind::Site, 0).unwrap().public_key;
        let pem = SubjectPublicKeyInfoDer::from_pem_slice(signer.public_key_pem().unwrap().as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(signer.certificate()).unwrap();

        assert_eq!((pem.as_ref(), certificate.public_key().raw), (key.as_slice(), key.as_slice()));
        let facts = cmg_credentials::facts::certificate_facts(signer.certificate()).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(facts.thumbprint), signer.thumbprint());
    }
}

#[test]
fn no_token_prints() {
    let issued = site().es256.client("GUID:1", &bound(), NOW).unwrap();

    assert!(!format!("{issued:?}").contains(&issued.token[..20]));
    assert_eq!(site().es256.algorithm(), SigningAlgorithm::Es256);
}
