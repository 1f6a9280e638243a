//! Enrolment and renewal.

use aws_lc_rs::hmac;
use cmg_api::bytes::Base64;
use cmg_core::ids::{GatewayId, Role};
use cmg_credentials::members::MemberRefused;
use cmg_enrolled::{Applicant, CodeError, DataError, DataFolder, EnrolError, Identity, Renewal};
use cmg_lab::Role as Kind;
use tempfile::TempDir;

use super::site::{CODE, Site, now};

fn a_folder() -> (TempDir, DataFolder) {
    let dir = TempDir::new().unwrap();
    let folder = DataFolder::open(&dir.path().join("data")).unwrap();
    (dir, folder)
}

#[test]
fn a_new_member_is_the_same_after_a_start() {
    let site = Site::new();
    let gateway = site.gateway();

    let loaded = Identity::load(&gateway.folder).unwrap().unwrap();

    assert_eq!(loaded.role, Role::Gateway(GatewayId::new("gw-1")));
    assert_eq!((loaded.member().as_str(), &loaded.chain, &loaded.roots), ("gateway/gw-1", &gateway.identity.chain, &site.roots()));
    assert_eq!(loaded.sealing.public(), gateway.identity.sealing.public());
}

#[test]
fn an_empty_folder_is_nobody() {
    let (_dir, folder) = a_folder();

    assert!(Identity::load(&folder).unwrap().is_none());
}

#[test]
fn the_request_is_proven_with_the_code_and_bound_to_the_connection() {
    let site = Site::new();
    let applicant = Applicant::new(&site.code()).unwrap();
    let secret: Vec<u8> = (0..16).map(|place| u8::from_str_radix(&CODE[2 * place..2 * place + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);

    let mut request = applicant.request(b"this connection").unwrap();

    assert!(hmac::verify(&key, &request.proven(), &request.mac.0).is_ok());
    request.exporter = Base64(b"another connection".to_vec());
    assert!(hmac::verify(&key, &request.proven(), &request.mac.0).is_err());
}

#[test]
fn who_starts_again_before_the_answer_asks_with_the_same_keys() {
    let site = Site::new();
    let (_dir, folder) = a_folder();
    let keys = |code: &cmg_api::EnrolmentCode| {
        let request = Applicant::kept(code, &folder).unwrap().request(b"").unwrap();
        let certified = site.answer(&request).chain.remove(0);
        (cmg_credentials::members::public_key(&certified.0).unwrap(), request.sealing_key)
    };
    let first = keys(&site.code());

    assert_eq!(keys(&site.code()), first);
    let file = folder.path().join("enrolling.keys");
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777, 0o600);
    std::fs::write(&file, "half").unwrap();
    let other = keys(&site.code());
    assert_ne!(other, first, "what was not written whole does not count");
    let mut code = site.code();
    code.code = CODE.chars().rev().collect();
    assert_ne!(keys(&code), other, "another code, other keys");

    let applicant = Applicant::kept(&code, &folder).unwrap();
    let answer = site.answer(&applicant.request(b"").unwrap());
    applicant.accept(&answer, &folder, now()).unwrap();
    assert!(!file.exists() && Identity::load(&folder).unwrap().is_some());
}

#[test]
fn an_answer_of_another_site_makes_nobody_a_member() {
    let (site, other) = (Site::new(), Site::new());
    let (_dir, folder) = a_folder();

    for answer_with_own_root in [true, false] {
        let applicant = Applicant::new(&site.code()).unwrap();
        let request = applicant.request(b"").unwrap();
        let mut answer = other.answer(&request);
        if !answer_with_own_root {
            answer.authorities = site.roots().into_iter().map(Base64).collect();
        }

        let refused = applicant.accept(&answer, &folder, now()).unwrap_err();

        let expected = if answer_with_own_root {
            matches!(refused, EnrolError::OtherRoot)
        } else {
            matches!(refused, EnrolError::Refused(MemberRefused::Foreign))
        };
        assert!(expected, "{refused}");
        assert!(Identity::load(&folder).unwrap().is_none());
    }
}

#[test]
fn roots_beside_the_pinned_one_do_not_count() {
    let (site, other) = (Site::new(), Site::new());
    let (_dir, folder) = a_folder();
    let applicant = Applicant::new(&site.code()).unwrap();
    let mut answer = site.answer(&applicant.request(b"").unwrap());
    answer.authorities.push(Base64(other.root.certificate_der().to_vec()));

    let identity = applicant.accept(&answer, &folder, now()).unwrap();

    assert_eq!(identity.roots, site.roots());
}

#[test]
fn a_certificate_for_another_key_name_or_kind_is_refused() {
    let site = Site::new();
    let (_dir, folder) = a_folder();
    let stranger = Applicant::new(&site.code()).unwrap().request(b"").unwrap().csr;
    let refused = |csr: &dyn Fn(&Base64) -> Base64, kind, name| {
        let applicant = Applicant::new(&site.code()).unwrap();
        let own = applicant.request(b"").unwrap().csr;
        applicant.accept(&site.certify(&csr(&own), kind, name), &folder, now()).unwrap_err()
    };

    assert!(matches!(refused(&|_| stranger.clone(), Kind::Gateway, "gw-1"), EnrolError::Refused(MemberRefused::Signature)));
    assert!(matches!(refused(&Base64::clone, Kind::Gateway, "gw-2"), EnrolError::OtherMember(other) if other == "gateway/gw-2"));
    assert!(matches!(refused(&Base64::clone, Kind::ConnectionPoint, "gw-1"), EnrolError::OtherMember(_)));
}

#[test]
fn a_damaged_code_is_of_no_use() {
    let site = Site::new();
    let with = |change: fn(&mut cmg_api::EnrolmentCode)| {
        let mut code = site.code();
        change(&mut code);
        Applicant::new(&code).unwrap_err()
    };

    assert!(matches!(with(|code| code.code.truncate(30)), CodeError::Malformed(_)));
    assert!(matches!(with(|code| code.code = "z".repeat(32)), CodeError::Malformed(_)));
    assert!(matches!(with(|code| code.kind = "site-server".into()), CodeError::Malformed(_)));
    assert!(matches!(with(|code| code.name = "a/b".into()), CodeError::Malformed(_)));
}

#[test]
fn a_renewal_gives_a_new_key_and_keeps_the_rest() {
    let site = Site::new();
    let gateway = site.gateway();
    let renewal = Renewal::new(&gateway.identity).unwrap();
    let answer = site.certify(&renewal.request.csr, Kind::Gateway, "gw-1");

    let renewed = renewal.accept(&answer, &gateway.identity, &gateway.folder, now()).unwrap();

    let loaded = Identity::load(&gateway.folder).unwrap().unwrap();
    assert_eq!((&loaded.chain, &loaded.roots), (&renewed.chain, &site.roots()));
    assert_ne!(loaded.chain, gateway.identity.chain);
    assert_eq!(loaded.sealing.public(), gateway.identity.sealing.public());
}

#[test]
fn a_renewal_brings_no_other_root_and_no_other_name() {
    let (site, other) = (Site::new(), Site::new());
    let gateway = site.gateway();
    let refused = |by: &Site, name| {
        let renewal = Renewal::new(&gateway.identity).unwrap();
        let answer = by.certify(&renewal.request.csr, Kind::Gateway, name);
        renewal.accept(&answer, &gateway.identity, &gateway.folder, now()).unwrap_err()
    };

    assert!(matches!(refused(&other, "gw-1"), EnrolError::Refused(MemberRefused::Foreign)));
    assert!(matches!(refused(&site, "gw-2"), EnrolError::OtherMember(_)));
    assert_eq!(Identity::load(&gateway.folder).unwrap().unwrap().chain, gateway.identity.chain);
}

#[test]
fn a_renewal_that_was_cut_off_is_finished_by_the_next_start() {
    let site = Site::new();
    let gateway = site.gateway();
    let old = std::fs::read(gateway.folder.path().join("role.key")).unwrap();
    let renewal = Renewal::new(&gateway.identity).unwrap();
    let answer = site.certify(&renewal.request.csr, Kind::Gateway, "gw-1");
    renewal.accept(&answer, &gateway.identity, &gateway.folder, now()).unwrap();
    // As it was before the last step: the new certificate in its place, the new key not yet.
    let new = std::fs::read(gateway.folder.path().join("role.key")).unwrap();
    std::fs::write(gateway.folder.path().join("role.key.next"), new).unwrap();
    std::fs::write(gateway.folder.path().join("role.key"), &old).unwrap();

    assert!(Identity::load(&gateway.folder).unwrap().is_some());

    assert_ne!(std::fs::read(gateway.folder.path().join("role.key")).unwrap(), old);
}

#[test]
fn a_key_of_somebody_else_beside_the_certificate_is_told() {
    let site = Site::new();
    let (gateway, other) = (site.gateway(), site.gateway());

    std::fs::copy(other.folder.path().join("role.key"), gateway.folder.path().join("role.key")).unwrap();

    assert!(matches!(Identity::load(&gateway.folder), Err(DataError::Damaged { .. })));
}

/// What the site signs where these roots count.
fn naming(roots: &[&Site]) -> cmg_api::control::Manifest {
    let signed = Site::new().manifest(1, "", &[], &[]);
    let manifest: cmg_api::control::Manifest = serde_json::from_str(&signed.payload).unwrap();
    let authorities = roots.iter().map(|site| Base64(site.root.certificate_der().to_vec())).collect();
    cmg_api::control::Manifest { authorities, ..manifest }
}

#[test]
fn the_roots_that_a_manifest_names_count_after_a_start_too_and_another_first_one_wants_a_renewal_at_once() {
    let (site, other) = (Site::new(), Site::new());
    let gateway = site.gateway();
    let due = |identity: &Identity| identity.due(0) <= now();
    assert!(gateway.identity.believing(&naming(&[]), &gateway.folder).unwrap().is_none());
    assert!(gateway.identity.believing(&naming(&[&site]), &gateway.folder).unwrap().is_none());

    let announced = gateway.identity.believing(&naming(&[&site, &other]), &gateway.folder).unwrap().unwrap();
    assert!(!due(&announced), "nothing is issued by the other one yet");
    let loaded = Identity::load(&gateway.folder).unwrap().unwrap();
    assert_eq!((&loaded.roots, loaded.roots.len()), (&announced.roots, 2));

    let promoted = announced.believing(&naming(&[&other, &site]), &gateway.folder).unwrap().unwrap();
    assert!(due(&promoted));
    let renewal = Renewal::new(&promoted).unwrap();
    let answer = other.certify(&renewal.request.csr, Kind::Gateway, "gw-1");
    let renewed = renewal.accept(&answer, &promoted, &gateway.folder, now()).unwrap();
    assert!(!due(&renewed));
    let last = renewed.believing(&naming(&[&other]), &gateway.folder).unwrap().unwrap();
    assert_eq!((last.roots, Identity::load(&gateway.folder).unwrap().unwrap().roots), (other.roots(), other.roots()));
}

#[test]
fn roots_that_the_own_certificate_does_not_lead_to_are_refused_and_not_kept() {
    let (site, other) = (Site::new(), Site::new());
    let gateway = site.gateway();

    let refused = gateway.identity.believing(&naming(&[&other]), &gateway.folder).unwrap_err();

    assert!(refused.to_string().contains("enrol again"), "{refused}");
    assert_eq!(Identity::load(&gateway.folder).unwrap().unwrap().roots, site.roots());
}
