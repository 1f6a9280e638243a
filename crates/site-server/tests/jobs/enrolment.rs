//! Members come in and renew: what counts once, and which keys count.

use aws_lc_rs::hmac;
use cmg_api::EnrolmentCode;
use cmg_api::bytes::Base64;
use cmg_api::control::{EnrolRequest, Enrolled, RenewRequest};
use cmg_authority::{MemberKind, PrivateKey, check_enrolment};
use cmg_core::time::WallTime;
use cmg_site_server::app::change::Actor;
use cmg_site_server::app::enrol::{EnrolRefused, enrol, offer_code, renew};
use cmg_site_server::app::issued_certificates::MEMBERS;
use cmg_site_server::site::Site;
use cmg_store::{IssuedCertificate, MemberCertificate};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, SigningKey};
use serde_json::json;

use crate::house::House;
use crate::seen::made;

pub(crate) async fn with_point() -> House {
    let house = House::new().await;
    made(&house, "/connection-points", json!({ "name": "cp-1" })).await;
    house
}

pub(crate) async fn code(site: &Site) -> EnrolmentCode {
    offer_code(site, &Actor::default(), MemberKind::ConnectionPoint, "cp-1").await.unwrap()
}

fn csr(key: &KeyPair) -> Base64 {
    Base64(CertificateParams::default().serialize_request(key).unwrap().der().to_vec())
}

pub(crate) fn a_key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn sealing_key() -> Base64 {
    Base64(PrivateKey::generate().unwrap().public().point().to_vec())
}

pub(crate) fn request(code: &EnrolmentCode, key: &KeyPair) -> EnrolRequest {
    let mut request = EnrolRequest {
        kind: code.kind.clone(),
        name: code.name.clone(),
        csr: csr(key),
        sealing_key: sealing_key(),
        exporter: Base64::default(),
        mac: Base64::default(),
    };
    let secret: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&code.code[2 * at..2 * at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    request.mac = Base64(hmac::sign(&key, &request.proven()).as_ref().to_vec());
    request
}

pub(crate) fn renewal(key: &KeyPair, enrolled: &Enrolled) -> RenewRequest {
    let mut request =
        RenewRequest { csr: csr(&a_key()), sealing_key: sealing_key(), chain: enrolled.chain.clone(), signature: Base64::default() };
    request.signature = Base64(key.sign(&request.proven()).unwrap());
    request
}

#[tokio::test]
async fn a_code_counts_once_and_garbage_does_not_use_it_up() {
    let house = with_point().await;
    let code = code(&house.site).await;
    let good = request(&code, &a_key());
    for _ in 0..20 {
        let garbage = EnrolRequest { mac: Base64(vec![0; 32]), ..good.clone() };
        assert!(matches!(enrol(&house.site, &Actor::default(), &garbage).await, Err(EnrolRefused::Code(_))));
    }

    enrol(&house.site, &Actor::default(), &good).await.unwrap();

    let other_key = request(&code, &a_key());
    assert!(matches!(enrol(&house.site, &Actor::default(), &other_key).await, Err(EnrolRefused::NoCode)));
}

#[tokio::test]
async fn whoever_has_lost_the_answer_gets_the_same_certificate_for_the_same_keys_and_for_no_other() {
    let house = with_point().await;
    let (code, key) = (code(&house.site).await, a_key());
    let first = request(&code, &key);
    let certificate = enrol(&house.site, &Actor::default(), &first).await.unwrap();
    let generation = house.site.in_force().generation();

    let again = enrol(&house.site, &Actor::default(), &first).await.unwrap();

    assert_eq!(again, certificate);
    assert_eq!(house.site.in_force().generation(), generation, "nothing has changed");
    let other_sealing_key = request(&code, &key);
    let garbage = EnrolRequest { mac: Base64(vec![0; 32]), ..first.clone() };
    assert!(matches!(enrol(&house.site, &Actor::default(), &other_sealing_key).await, Err(EnrolRefused::NoCode)));
    assert!(matches!(enrol(&house.site, &Actor::default(), &garbage).await, Err(EnrolRefused::Code(_))));
    let (other, _) = house.other().await;
    assert_eq!(enrol(&other, &Actor::default(), &first).await.unwrap(), certificate, "any site server tells it");
}

#[tokio::test]
async fn a_lost_answer_is_not_told_again_when_its_certificate_was_revoked() {
    let house = with_point().await;
    let lost = request(&code(&house.site).await, &a_key());
    enrol(&house.site, &Actor::default(), &lost).await.unwrap();
    let serial = house.site.store.member("connection-point", "cp-1").await.unwrap().unwrap().serial.unwrap();

    made(&house, &format!("/issued-certificates/{serial}/revoke"), json!({})).await;

    assert!(matches!(enrol(&house.site, &Actor::default(), &lost).await, Err(EnrolRefused::NoCode)));
}

#[tokio::test]
async fn a_certificate_is_not_renewed_before_half_of_its_life_is_over() {
    let house = with_point().await;
    let key = a_key();
    let enrolled = enrol(&house.site, &Actor::default(), &request(&code(&house.site).await, &key)).await.unwrap();
    let generation = house.site.in_force().generation();

    let refused = renew(&house.site, &Actor::default(), &renewal(&key, &enrolled)).await;

    assert!(matches!(refused, Err(EnrolRefused::NotDue)), "{refused:?}");
    assert_eq!(house.site.in_force().generation(), generation);
}

#[tokio::test]
async fn who_enrols_again_ends_what_was_issued_before() {
    let house = with_point().await;
    let stolen = a_key();
    let before = enrol(&house.site, &Actor::default(), &request(&code(&house.site).await, &stolen)).await.unwrap();

    enrol(&house.site, &Actor::default(), &request(&code(&house.site).await, &a_key())).await.unwrap();

    let refused = renew(&house.site, &Actor::default(), &renewal(&stolen, &before)).await;
    assert!(matches!(refused, Err(EnrolRefused::Revoked)), "{refused:?}");
}

#[tokio::test]
async fn a_code_of_a_member_that_was_removed_does_not_count_for_a_new_one() {
    let house = with_point().await;
    let old = code(&house.site).await;
    let mut draft = house.site.draft(&Actor::default()).await.unwrap();
    draft.remove::<cmg_api::resource::ConnectionPoint>("cp-1", None).await.unwrap();
    draft.commit().await.unwrap();
    made(&house, "/connection-points", json!({ "name": "cp-1" })).await;

    let refused = enrol(&house.site, &Actor::default(), &request(&old, &a_key())).await;

    assert!(matches!(refused, Err(EnrolRefused::NoCode)), "{refused:?}");
}

/// The answer to a renewal may have been lost, so a certificate may renew again; but whoever has its key gets no certificate a request.
#[tokio::test]
async fn a_certificate_is_renewed_a_few_times_an_hour() {
    let house = with_point().await;
    let key = a_key();
    let enrolled = enrolled_long_ago(&house, &key).await;

    let mut outcomes = Vec::new();
    for _ in 0..6 {
        outcomes.push(renew(&house.site, &Actor::default(), &renewal(&key, &enrolled)).await.map(|_| ()));
    }

    // The enrolment was one of them.
    assert!(outcomes[..3].iter().all(Result::is_ok), "{outcomes:?}");
    assert!(outcomes[3..].iter().all(|outcome| matches!(outcome, Err(EnrolRefused::TooOften))), "{outcomes:?}");
}

/// Enrols `cp-1`, and issues its certificate again as it would have been 80 days ago.
pub(crate) async fn enrolled_long_ago(house: &House, key: &KeyPair) -> Enrolled {
    let code = code(&house.site).await;
    let request = request(&code, key);
    enrol(&house.site, &Actor::default(), &request).await.unwrap();
    let proven = check_enrolment(&request, &code, house.site.now()).unwrap();
    let before = WallTime(house.site.now().0 - 80 * 86_400);
    let issued = house.site.keys().infrastructure.member(&proven.role, &proven.key, before).unwrap();
    let mut change = house.site.store.begin(house.now()).await.unwrap();
    let certificate = IssuedCertificate {
        serial: issued.serial.clone(),
        authority: MEMBERS.to_owned(),
        subject: "connection-point/cp-1".to_owned(),
        purpose: "connection-point".to_owned(),
        not_before: issued.not_before.0 as i64,
        not_after: issued.not_after.0 as i64,
        fingerprint: issued.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect(),
        revoked_at: None,
    };
    change.add_certificate(&certificate).await.unwrap();
    let member =
        MemberCertificate { serial: issued.serial.clone(), ends: certificate.not_after, sealing_key: Some(request.sealing_key.0.clone()) };
    change.set_member_certificate("connection-point", "cp-1", &member).await.unwrap();
    change.commit().await.unwrap();
    Enrolled { chain: issued.chain.into_iter().map(Base64).collect(), authorities: Vec::new() }
}
