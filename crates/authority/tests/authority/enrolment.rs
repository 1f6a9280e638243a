//! Enrolment and renewal: a member that is in order, and each way not to be.
use aws_lc_rs::hmac;
use cmg_api::EnrolmentCode;
use cmg_api::bytes::Base64;
use cmg_api::control::{EnrolRequest, RenewRequest};
use cmg_authority::enrolment::{EnrolmentRefused, RenewalRefused};
use cmg_authority::{CsrRefused, Issued, MemberKind, PrivateKey, PublicKey, Roots, check_enrolment, check_renewal, new_code};
use cmg_core::ids::{GatewayId, Role};
use cmg_core::time::WallTime;
use cmg_credentials::members::MemberRefused;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, SigningKey};

use crate::site::{DAY, NOW, gateway, later, member, site};

fn csr_of(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn code(kind: MemberKind) -> EnrolmentCode {
    new_code(kind, "gw-1", site().roots.infrastructure_digest(), NOW, Vec::new()).unwrap()
}

/// A request as a new gateway sends it, and the code that it has.
fn request() -> (EnrolRequest, EnrolmentCode) {
    let code = code(MemberKind::Gateway);
    let sealing_key = PrivateKey::generate().unwrap().public();
    let request = EnrolRequest {
        kind: "gateway".into(),
        name: "gw-1".into(),
        csr: Base64(csr_of(&p256())),
        sealing_key: Base64(sealing_key.point().to_vec()),
        exporter: Base64(vec![7; 32]),
        mac: Base64::default(),
    };
    (proven(request, &code), code)
}

fn proven(mut request: EnrolRequest, code: &EnrolmentCode) -> EnrolRequest {
    let secret: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&code.code[2 * at..2 * at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    request.mac = Base64(hmac::sign(&key, &request.proven()).as_ref().to_vec());
    request
}

fn refusal(change: impl Fn(&mut EnrolRequest)) -> EnrolmentRefused {
    let (mut request, code) = request();
    change(&mut request);
    check_enrolment(&request, &code, NOW).unwrap_err()
}

/// The same, by somebody who has the code.
fn refusal_proven(change: impl Fn(&mut EnrolRequest)) -> EnrolmentRefused {
    let (mut request, code) = request();
    change(&mut request);
    check_enrolment(&proven(request, &code), &code, NOW).unwrap_err()
}

#[test]
fn a_code_is_random_pins_the_root_and_counts_a_day() {
    let (code, other) = (code(MemberKind::Gateway), code(MemberKind::Gateway));

    assert_eq!((code.kind.as_str(), code.name.as_str(), code.code.len()), ("gateway", "gw-1", 32));
    assert_eq!(code.root.0, site().roots.infrastructure_digest());
    assert_eq!(code.ends, NOW.0 + DAY);
    assert_ne!(code.code, other.code);
    assert!(new_code(MemberKind::Gateway, "a/b", [0; 32], NOW, Vec::new()).is_err());
}

#[test]
fn a_new_member_proves_its_role_and_key() {
    let (request, code) = request();

    let enrolment = check_enrolment(&request, &code, later(DAY - 1)).unwrap();

    assert_eq!(enrolment.role, gateway());
    assert_eq!(enrolment.key, PublicKey::from_csr(&request.csr.0).unwrap());
    assert_eq!(enrolment.sealing_key.point().as_slice(), request.sealing_key.0);
}

#[test]
fn a_code_that_ended_is_refused() {
    let (request, code) = request();

    assert_eq!(check_enrolment(&request, &code, later(DAY)), Err(EnrolmentRefused::Ended));
}

#[test]
fn whatever_is_changed_on_the_way_is_refused() {
    let other = PrivateKey::generate().unwrap().public();

    assert_eq!(refusal(|request| request.exporter.0[0] ^= 1), EnrolmentRefused::Mac);
    assert_eq!(refusal(|request| request.name = "gw-2".into()), EnrolmentRefused::Mac);
    assert_eq!(refusal(|request| request.kind = "connection-point".into()), EnrolmentRefused::Mac);
    assert_eq!(refusal(|request| request.csr = Base64(csr_of(&p256()))), EnrolmentRefused::Mac);
    assert_eq!(refusal(|request| request.sealing_key = Base64(other.point().to_vec())), EnrolmentRefused::Mac);
    assert_eq!(refusal(|request| _ = request.mac.0.pop()), EnrolmentRefused::Mac);
}

#[test]
fn another_code_is_refused() {
    let (request, _) = request();

    assert_eq!(check_enrolment(&request, &code(MemberKind::Gateway), NOW), Err(EnrolmentRefused::Mac));
}

#[test]
fn whoever_has_the_code_still_has_to_send_what_belongs_there() {
    assert_eq!(refusal_proven(|request| request.name = "gw-2".into()), EnrolmentRefused::OtherMember);
    assert_eq!(refusal_proven(|request| request.kind = "connection-point".into()), EnrolmentRefused::OtherMember);
    assert_eq!(refusal_proven(|request| request.exporter.0.clear()), EnrolmentRefused::Exporter);
    assert_eq!(refusal_proven(|request| request.sealing_key.0[40] ^= 1), EnrolmentRefused::SealingKey);
    assert_eq!(refusal_proven(|request| request.sealing_key.0.clear()), EnrolmentRefused::SealingKey);
}

#[test]
fn only_a_sound_request_for_a_p256_key_counts() {
    let refused = |csr: Vec<u8>| PublicKey::from_csr(&csr).unwrap_err();
    let rsa = csr_of(&KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());
    let p384 = csr_of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
    let mut long = csr_of(&p256());
    long.push(0);

    assert_eq!(refused(rsa.clone()), CsrRefused::NotP256);
    assert_eq!(refused(p384), CsrRefused::NotP256);
    assert_eq!(refused(signed_by_another(&p256())), CsrRefused::Signature);
    assert_eq!(refused(long), CsrRefused::Malformed);
    assert_eq!(refused(b"csr".to_vec()), CsrRefused::Malformed);
    assert_eq!(refusal_proven(|request| request.csr = Base64(rsa.clone())), EnrolmentRefused::Csr(CsrRefused::NotP256));
}

/// A request for the key `wanted` by somebody who does not hold it.
fn signed_by_another(wanted: &KeyPair) -> Vec<u8> {
    struct Liar<'a>(&'a KeyPair, KeyPair);
    impl rcgen::PublicKeyData for Liar<'_> {
        fn der_bytes(&self) -> &[u8] {
            self.0.der_bytes()
        }
        fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
            self.0.algorithm()
        }
    }
    impl SigningKey for Liar<'_> {
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
            self.1.sign(message)
        }
    }
    CertificateParams::default().serialize_request(&Liar(wanted, p256())).unwrap().der().to_vec()
}

#[test]
fn nothing_else_in_a_request_counts() {
    let key = p256();
    let mut params = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    params.subject_alt_names.push(rcgen::SanType::URI("spiffe://ABC/site-server/site-1".try_into().unwrap()));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&[1, 2, 3], vec![5, 0]));
    let csr = params.serialize_request(&key).unwrap().der().to_vec();

    let issued = site().infrastructure.member(&gateway(), &PublicKey::from_csr(&csr).unwrap(), NOW).unwrap();

    let facts = cmg_credentials::facts::certificate_facts(&issued.chain[0]).unwrap();
    assert_eq!(facts.alternative_names, ["URI:spiffe://ABC/gateway/gw-1"]);
}

fn renewal(key: &PrivateKey, issued: &Issued) -> RenewRequest {
    let request = RenewRequest {
        csr: Base64(csr_of(&p256())),
        sealing_key: Base64(PrivateKey::generate().unwrap().public().point().to_vec()),
        chain: issued.chain.iter().cloned().map(Base64).collect(),
        signature: Base64::default(),
    };
    signed(request, key)
}

fn signed(mut request: RenewRequest, key: &PrivateKey) -> RenewRequest {
    request.signature = Base64(SigningKey::sign(key, &request.proven()).unwrap());
    request
}

fn check(request: &RenewRequest, now: WallTime) -> Result<Role, RenewalRefused> {
    let roots = [site().roots.infrastructure_certificate().to_vec()];
    check_renewal(request, &roots, now).map(|renewal| renewal.role)
}

#[test]
fn a_member_renews_its_own_role() {
    let (key, issued) = member(&gateway());
    let request = renewal(&key, &issued);
    let roots = [site().roots.infrastructure_certificate().to_vec()];

    let renewal = check_renewal(&request, &roots, later(89 * DAY)).unwrap();

    assert_eq!(renewal.role, gateway());
    assert_eq!(renewal.key, PublicKey::from_csr(&request.csr.0).unwrap());
    assert_eq!((renewal.serial, renewal.fingerprint), (issued.serial, issued.fingerprint));
}

#[test]
fn a_renewal_by_another_key_or_for_another_key_is_refused() {
    let (key, issued) = member(&gateway());
    let (other_key, other) = member(&Role::Gateway(GatewayId::new("gw-2")));
    let mut swapped = renewal(&key, &issued);
    swapped.csr = Base64(csr_of(&p256()));
    let mut sealing = renewal(&key, &issued);
    sealing.sealing_key.0[1] ^= 1;
    let mut disguised = renewal(&other_key, &other);
    disguised.chain = issued.chain.iter().cloned().map(Base64).collect();

    assert_eq!(check(&renewal(&other_key, &issued), NOW), Err(RenewalRefused::Signature));
    assert_eq!(check(&swapped, NOW), Err(RenewalRefused::Signature));
    assert_eq!(check(&sealing, NOW), Err(RenewalRefused::Signature));
    assert_eq!(check(&disguised, NOW), Err(RenewalRefused::Signature));
}

#[test]
fn a_certificate_that_is_over_or_foreign_does_not_renew() {
    let (key, issued) = member(&gateway());
    let foreign = Roots::generate("ABC", NOW).unwrap().infrastructure_issuer(NOW).unwrap();
    let foreign = foreign.member(&gateway(), &key.public(), NOW).unwrap();

    let late = check(&renewal(&key, &issued), later(90 * DAY + 1));
    assert_eq!(late, Err(RenewalRefused::Certificate(MemberRefused::NotInForce)));
    let early = check(&renewal(&key, &issued), WallTime(NOW.0 - 301));
    assert_eq!(early, Err(RenewalRefused::Certificate(MemberRefused::NotInForce)));
    assert_eq!(check(&renewal(&key, &foreign), NOW), Err(RenewalRefused::Certificate(MemberRefused::Foreign)));
}

#[test]
fn who_is_no_member_does_not_renew() {
    let key = PrivateKey::generate().unwrap();
    let server = site().infrastructure.site_server("site-1", &[], &[], &key.public(), NOW).unwrap();
    let client = site().clients.client("gw-1", &key.public(), DAY, NOW).unwrap();
    let snapshots = Issued { chain: site().snapshots.chain().to_vec(), ..server.clone() };

    assert_eq!(check(&renewal(&key, &server), NOW), Err(RenewalRefused::NoMember));
    assert_eq!(check(&renewal(&key, &client), NOW), Err(RenewalRefused::Certificate(MemberRefused::Foreign)));
    assert_eq!(check(&renewal(&key, &snapshots), NOW), Err(RenewalRefused::Certificate(MemberRefused::WrongPurpose)));
}

#[test]
fn a_renewal_with_an_unsound_request_is_refused() {
    let (key, issued) = member(&gateway());
    let bad_csr = RenewRequest { csr: Base64(signed_by_another(&p256())), ..renewal(&key, &issued) };
    let bad_seal = RenewRequest { sealing_key: Base64(vec![4; 65]), ..renewal(&key, &issued) };

    assert_eq!(check(&signed(bad_csr, &key), NOW), Err(RenewalRefused::Csr(CsrRefused::Signature)));
    assert_eq!(check(&signed(bad_seal, &key), NOW), Err(RenewalRefused::SealingKey));
}
