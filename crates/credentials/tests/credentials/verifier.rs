//! The verifier of one generation: block list and memory.
use cmg_core::identity::TokenKind;
use cmg_core::ids::TrustName;
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::{Block, TokenKey, Trust};
use cmg_credentials::Verifier;
use cmg_credentials::facts::certificate_facts;
use rcgen::{SanType, SerialNumber, date_time_ymd};

use crate::lab::{Authority, HALF_A_DAY, NOW, chain, trust_of};
use crate::tokens::{good_claims, site_key, token, with};

fn devices() -> TrustName {
    TrustName::new("devices")
}

fn verifier(trust: Trust, blocks: &[Block]) -> Verifier {
    Verifier::new(&[trust], blocks, &[site_key()]).unwrap()
}

#[test]
fn a_certificate_is_blocked_by_thumbprint_or_serial_number() {
    let root = Authority::root("Lab Root");
    let client = chain(&root.client("pc1"), &[]);
    let facts = certificate_facts(&client[0]).unwrap();
    let serial = |serial: &str, issuer: Option<&str>| Block::Serial { serial: serial.into(), issuer: issuer.map(Into::into) };

    for block in [
        Block::Sha1(facts.thumbprint),
        Block::Sha256(facts.thumbprint_sha256),
        serial("1001", None),
        serial("1001", Some("CN=Lab Root")),
        serial("1001", Some("cn=lab root")),
    ] {
        let verdict = verifier(trust_of(&[&root], &[]), std::slice::from_ref(&block)).certificate(&devices(), &client, NOW);
        assert_eq!(verdict.err(), Some(Refusal::CertificateBlocked), "{block:?}");
    }
    for block in [Block::Sha1([0; 20]), serial("1002", None), serial("1001", Some("CN=Other"))] {
        let verdict = verifier(trust_of(&[&root], &[]), std::slice::from_ref(&block)).certificate(&devices(), &client, NOW);
        assert!(verdict.is_ok(), "{block:?}");
    }
}

#[test]
fn a_blocked_intermediate_blocks_what_it_issued() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.serial_number = Some(SerialNumber::from(0xab)));
    let block = Block::Serial { serial: "AB".into(), issuer: Some("CN=root".into()) };

    let verdict = verifier(trust_of(&[&root], &[&issuing]), &[block]).certificate(&devices(), &chain(&issuing.client("pc1"), &[]), NOW);

    assert_eq!(verdict.err(), Some(Refusal::CertificateBlocked));
}

#[test]
fn a_token_is_blocked_by_its_id() {
    let root = Authority::root("root");
    let verifier = verifier(trust_of(&[&root], &[]), &[Block::TokenId("token-1".into())]);
    let header = r#"{"alg":"RS256","kid":"site-1"}"#;

    assert_eq!(verifier.token(token(header, &good_claims()).as_bytes(), NOW).err(), Some(Refusal::TokenBlocked));
    assert!(verifier.token(token(header, &good_claims().replace("token-1", "token-2")).as_bytes(), NOW).is_ok());
}

#[test]
fn a_token_is_blocked_with_the_certificate_it_is_bound_to() {
    let root = Authority::root("root");
    // "Bwc..." is 32 times the byte 7.
    let bound = |claims: String| claims.replacen('{', r#"{"cnf":{"x5t#S256":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"},"#, 1);
    let token = token(r#"{"alg":"RS256","kid":"site-1"}"#, &bound(good_claims()));
    let verdict = |block| verifier(trust_of(&[&root], &[]), &[block]).token(token.as_bytes(), NOW).map(|_| ());

    assert_eq!(verdict(Block::Sha256([7; 32])), Err(Refusal::TokenBlocked));
    assert_eq!(verdict(Block::Sha256([8; 32])), Ok(()));
}

#[test]
fn a_client_is_blocked_with_every_token_and_certificate_of_the_site() {
    let root = Authority::root("root");
    let named =
        |uri: &str| chain(&root.client_with("pc1", |params| params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())]), &[]);
    let (own, others) = (named("spiffe://LAB/client/pc1"), named("spiffe://LAB/client/pc11"));
    let blocked = [Block::Client("pc1".into())];
    let of_kind = |kind| TokenKey { kind, ..site_key() };
    let keys = |kind| Verifier::new(&[trust_of(&[&root], &[])], &blocked, &[of_kind(kind)]).unwrap();
    let token = |subject: &str| token(r#"{"alg":"RS256","kid":"site-1"}"#, &with("sub", &format!("\"{subject}\"")));
    let said = |kind, subject: &str| keys(kind).token(token(subject).as_bytes(), NOW).map(|_| ());
    let shown = |chain| keys(TokenKind::Site).certificate(&devices(), chain, NOW).map(|_| ());

    assert_eq!((shown(&own), shown(&others)), (Err(Refusal::CertificateBlocked), Ok(())));
    assert_eq!(said(TokenKind::Site, "pc1"), Err(Refusal::TokenBlocked));
    assert_eq!(said(TokenKind::Ccm, "GUID:pc1"), Err(Refusal::TokenBlocked));
    assert_eq!(said(TokenKind::Site, "pc2"), Ok(()));
    assert_eq!(said(TokenKind::OidcDevice, "pc1"), Ok(()), "an issuer of its own names");
}

#[test]
fn a_certificate_counts_under_any_policy_or_is_refused_by_the_one_that_knows_it() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let others = Trust { name: TrustName::new("others"), ..trust_of(&[&other], &[]) };
    let verifier = Verifier::new(&[trust_of(&[&root], &[]), others], &[], &[]).unwrap();
    let verdict = |issuer: &Authority, now| verifier.certificate_of_any(&chain(&issuer.client("pc1"), &[]), now).map(|_| ());

    assert_eq!((verdict(&root, NOW), verdict(&other, NOW)), (Ok(()), Ok(())));
    assert_eq!(verdict(&root, WallTime(0)), Err(Refusal::CertificateNotYetValid));
    assert_eq!(verdict(&Authority::root("third"), NOW), Err(Refusal::CertificateForeign));
    let none = Verifier::new(&[], &[], &[]).unwrap();
    assert_eq!(none.certificate_of_any(&chain(&root.client("pc1"), &[]), NOW).err(), Some(Refusal::CertificateForeign));
}

#[test]
fn a_credential_is_verified_once() {
    let root = Authority::root("root");
    let verifier = verifier(trust_of(&[&root], &[]), &[]);
    let client = chain(&root.client("pc1"), &[]);
    let token = token(r#"{"alg":"RS256","kid":"site-1"}"#, &good_claims());

    let facts = || verifier.certificate(&devices(), &client, NOW).unwrap().facts;
    assert!(std::sync::Arc::ptr_eq(&facts(), &facts()));
    let facts = || verifier.token(token.as_bytes(), NOW).unwrap().facts;
    assert!(std::sync::Arc::ptr_eq(&facts(), &facts()));
}

#[test]
fn what_is_remembered_still_runs_out() {
    let root = Authority::root("root");
    let verifier = verifier(trust_of(&[&root], &[]), &[]);
    let client = chain(&root.client_with("pc1", |params| params.not_after = date_time_ymd(2026, 6, 16)), &[]);
    let verdict = |now| verifier.certificate(&devices(), &client, now).map(|_| ());

    assert_eq!(verdict(NOW), Ok(()));
    assert_eq!(verdict(WallTime(NOW.0 + HALF_A_DAY + 1)), Err(Refusal::CertificateExpired));
    assert_eq!(verdict(WallTime(0)), Err(Refusal::CertificateNotYetValid));
}

#[test]
fn what_one_policy_verified_means_nothing_to_another() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let others = Trust { name: TrustName::new("others"), ..trust_of(&[&other], &[]) };
    let verifier = Verifier::new(&[trust_of(&[&root], &[]), others], &[], &[]).unwrap();
    let client = chain(&root.client("pc1"), &[]);

    assert!(verifier.certificate(&devices(), &client, NOW).is_ok());
    assert_eq!(verifier.certificate(&TrustName::new("others"), &client, NOW).err(), Some(Refusal::CertificateIssuerNotFound));
    assert_eq!(verifier.certificate(&TrustName::new("unknown"), &client, NOW).err(), Some(Refusal::CertificateForeign));
}

#[test]
fn all_problems_are_told_at_once() {
    let mut trust = trust_of(&[], &[]);
    trust.lists.push(b"rubbish".to_vec());
    let key = TokenKey { public_key: b"rubbish".to_vec(), ..site_key() };

    let problems = Verifier::new(&[trust], &[], &[key]).err().unwrap();

    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["trust.devices.authorities", "trust.devices.crls[0]", "token_key[0].key"]);
}
