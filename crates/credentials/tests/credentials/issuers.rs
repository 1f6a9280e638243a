//! Remembered issuers, seen from outside: what a policy has verified before never widens what it accepts.
use cmg_core::ids::TrustName;
use cmg_core::refusal::Refusal;
use cmg_core::revocation::{Lenience, RevocationPolicy, WhenStale};
use cmg_core::time::WallTime;
use cmg_core::trust::{Block, Trust};
use cmg_credentials::facts::certificate_facts;
use cmg_credentials::{ClientTrust, Verifier};
use rcgen::{GeneralSubtree, NameConstraints, SanType, SerialNumber, date_time_ymd};

use crate::lab::{Authority, HALF_A_DAY, NOW, SERIAL, chain, trust_of};

const STRICT: RevocationPolicy = RevocationPolicy { check: true, stale: WhenStale::Deny, unknown: Lenience::Deny };

#[test]
fn what_one_client_sent_helps_no_other() {
    let root = Authority::root("root");
    let upper = root.authority("upper");
    let lower = upper.authority("lower");
    let trust = ClientTrust::new(&trust_of(&[&root], &[])).unwrap();
    let verdict = |above: &[&Authority]| trust.verify(&chain(&lower.client("pc1"), above), NOW).map(|_| ());

    assert_eq!(verdict(&[&lower, &upper]), Ok(()));

    assert_eq!(verdict(&[&lower, &upper]), Ok(()));
    assert_eq!(verdict(&[&lower]), Err(Refusal::CertificateIssuerNotFound));
    assert_eq!(verdict(&[&upper]), Err(Refusal::CertificateIssuerNotFound));
    assert_eq!(verdict(&[]), Err(Refusal::CertificateIssuerNotFound));
}

#[test]
fn a_constraint_above_the_issuer_holds_for_every_client() {
    let root = Authority::root_with("root", |params| {
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".into())], excluded_subtrees: vec![] });
    });
    let issuing = root.authority("issuing");
    let trust = ClientTrust::new(&trust_of(&[&root], &[&issuing])).unwrap();
    let verdict = |name: &str| {
        let names = vec![SanType::DnsName(name.try_into().unwrap())];
        trust.verify(&chain(&issuing.client_with("pc1", |params| params.subject_alt_names = names), &[]), NOW).map(|_| ())
    };

    assert_eq!(verdict("pc1.corp.example"), Ok(()));
    assert_eq!(verdict("pc1.other.example"), Err(Refusal::CertificateConstraint));
}

#[test]
fn an_issuer_is_no_client_of_itself() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let trust = ClientTrust::new(&trust_of(&[&root], &[&issuing])).unwrap();
    let verdict = || trust.verify(&[issuing.client_of_itself()], NOW).map(|_| ());

    assert_eq!(verdict(), Err(Refusal::CertificateForeign));
    assert!(trust.verify(&chain(&issuing.client("pc1"), &[]), NOW).is_ok());
    assert_eq!(verdict(), Err(Refusal::CertificateForeign));
}

#[test]
fn every_client_of_an_issuer_is_good_as_long_as_the_first() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.not_after = date_time_ymd(2026, 6, 20));
    let lists = vec![root.list_with(&[], |params| params.next_update = date_time_ymd(2026, 6, 18)), issuing.list(&[])];
    let trust = ClientTrust::new(&Trust { lists, revocation: STRICT, ..trust_of(&[&root], &[&issuing]) }).unwrap();
    let span = |name: &str| {
        let verified = trust.verify(&chain(&issuing.client(name), &[]), NOW).unwrap();
        (verified.good_from, verified.good_until)
    };

    let first = span("pc1");

    assert_eq!(first.1, WallTime(NOW.0 + HALF_A_DAY));
    assert_eq!(span("pc2"), first);
}

#[test]
fn a_block_reaches_clients_of_a_remembered_issuer() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let client = |serial: u64| chain(&issuing.client_with("pc1", |params| params.serial_number = Some(SerialNumber::from(serial))), &[]);
    let devices = TrustName::new("devices");
    let verdicts = |block: Block| {
        let verifier = Verifier::new(&[trust_of(&[&root], &[&issuing])], &[block], &[]).unwrap();
        [SERIAL, SERIAL, 0x2002].map(|serial| verifier.certificate(&devices, &client(serial), NOW).map(|_| ()))
    };

    let client_blocked = verdicts(Block::Serial { serial: "2002".into(), issuer: None });
    let issuer_blocked = verdicts(Block::Sha1(certificate_facts(&issuing.der).unwrap().thumbprint));

    assert_eq!(client_blocked, [Ok(()), Ok(()), Err(Refusal::CertificateBlocked)]);
    assert_eq!(issuer_blocked, [Err(Refusal::CertificateBlocked); 3]);
}

#[test]
fn a_long_list_is_looked_up_at_once() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let revoked: Vec<u64> = (0..50_000).map(|number| 0x10_0000 + 2 * number).collect();
    let lists = vec![root.list(&[]), issuing.list(&revoked)];
    let trust = ClientTrust::new(&Trust { lists, revocation: STRICT, ..trust_of(&[&root], &[&issuing]) }).unwrap();
    let verdict = |serial: u64| {
        let client = issuing.client_with("pc1", |params| params.serial_number = Some(SerialNumber::from(serial)));
        trust.verify(&chain(&client, &[]), NOW).map(|_| ())
    };

    for serial in (0x10_0000..0x10_0000 + 100_000).step_by(999) {
        let expected = if serial % 2 == 0 { Err(Refusal::CertificateRevoked) } else { Ok(()) };
        assert_eq!(verdict(serial), expected, "{serial:x}");
    }
}
