//! Chains: one test for each reason, and a corpus of forged ones.
use cmg_core::refusal::Refusal;
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use cmg_credentials::ClientTrust;
use cmg_credentials::facts::certificate_facts;
use pki_types::CertificateDer;
use rcgen::{
    BasicConstraints, CustomExtension, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints, SanType, date_time_ymd,
};

use crate::lab::{Authority, Issued, NOW, chain, trust_of};

fn refusal_of(trust: &Trust, chain: &[CertificateDer<'_>]) -> Refusal {
    ClientTrust::new(trust).unwrap().verify(chain, NOW).unwrap_err()
}

fn passes(trust: &Trust, chain: &[CertificateDer<'_>]) -> bool {
    ClientTrust::new(trust).unwrap().verify(chain, NOW).is_ok()
}

#[test]
fn a_certificate_of_a_configured_root_is_verified() {
    let root = Authority::root("root");
    let leaf = root.client("pc1");

    let verified = ClientTrust::new(&trust_of(&[&root], &[])).unwrap().verify(&chain(&leaf, &[]), NOW).unwrap();

    assert_eq!(verified.facts.common_name.as_deref(), Some("pc1"));
    assert_eq!((verified.facts.subject.as_str(), verified.facts.issuer.as_str()), ("CN=pc1", "CN=root"));
    assert_eq!(verified.facts.serial, "1001");
}

#[test]
fn an_intermediate_may_be_configured_or_sent() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let leaf = issuing.client("pc1");

    assert!(passes(&trust_of(&[&root], &[&issuing]), &chain(&leaf, &[])));
    assert!(passes(&trust_of(&[&root], &[]), &chain(&leaf, &[&issuing])));
    assert!(passes(&trust_of(&[&root], &[&issuing]), &chain(&leaf, &[&issuing, &root])));
}

#[test]
fn no_certificate_is_missing() {
    let root = Authority::root("root");

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &[]), Refusal::CertificateMissing);
}

#[test]
fn a_missing_intermediate_is_told_with_its_name() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let lower = issuing.authority("lower");
    let sent = chain(&lower.client("pc1"), &[&lower]);
    let trust = trust_of(&[&root], &[]);

    assert_eq!(refusal_of(&trust, &sent), Refusal::CertificateIssuerNotFound);
    assert_eq!(ClientTrust::new(&trust).unwrap().issuer_not_found(&sent).as_deref(), Some("CN=issuing"));
}

#[test]
fn a_chain_to_an_unknown_root_is_foreign() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let issuing = other.authority("issuing");

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&issuing.client("pc1"), &[&issuing, &other])), Refusal::CertificateForeign);
}

#[test]
fn a_certificate_that_signed_itself_is_foreign() {
    let (root, own) = (Authority::root("root"), Authority::root_with("pc1", |params| params.is_ca = IsCa::NoCa));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), std::slice::from_ref(&own.der)), Refusal::CertificateForeign);
}

#[test]
fn an_authority_of_the_same_name_is_foreign() {
    let (root, forged) = (Authority::root("root"), Authority::root("root"));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&forged.client("pc1"), &[])), Refusal::CertificateForeign);
    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&forged.client("pc1"), &[&forged])), Refusal::CertificateForeign);
}

#[test]
fn an_intermediate_of_the_same_name_is_foreign() {
    let (root, other) = (Authority::root("root"), Authority::root("root"));
    let (issuing, forged) = (root.authority("issuing"), other.authority("issuing"));

    assert_eq!(refusal_of(&trust_of(&[&root], &[&issuing]), &chain(&forged.client("pc1"), &[&forged])), Refusal::CertificateForeign);
}

#[test]
fn a_sent_authority_is_no_anchor() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&other.client("pc1"), &[&other])), Refusal::CertificateForeign);
}

#[test]
fn another_trusted_certificate_in_the_chain_lends_no_identity() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (foreign, trusted) = (other.client("intruder"), root.client("pc1"));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &[foreign.der, trusted.der]), Refusal::CertificateIssuerNotFound);
}

#[test]
fn an_altered_certificate_is_foreign() {
    let root = Authority::root("root");
    let mut der = root.client("pc-original").der.to_vec();
    let place = der.windows(11).position(|window| window == b"pc-original").unwrap();
    der[place..place + 11].copy_from_slice(b"pc-intruder");

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &[CertificateDer::from(der)]), Refusal::CertificateForeign);
}

#[test]
fn no_altered_byte_is_believed() {
    let root = Authority::root("root");
    let trust = ClientTrust::new(&trust_of(&[&root], &[])).unwrap();
    let good = root.client("pc1").der.to_vec();

    for place in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut altered = good.clone();
            altered[place] ^= bit;
            assert!(trust.verify(&[CertificateDer::from(altered)], NOW).is_err(), "{place} {bit}");
        }
    }
}

#[test]
fn an_expired_certificate_is_expired() {
    let root = Authority::root("root");
    let leaf = root.client_with("pc1", |params| params.not_after = date_time_ymd(2026, 6, 15));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&leaf, &[])), Refusal::CertificateExpired);
}

#[test]
fn a_certificate_of_an_expired_authority_is_expired() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.not_after = date_time_ymd(2026, 6, 15));
    let old_root = Authority::root_with("old root", |params| params.not_after = date_time_ymd(2026, 6, 15));

    assert_eq!(refusal_of(&trust_of(&[&root], &[&issuing]), &chain(&issuing.client("pc1"), &[])), Refusal::CertificateExpired);
    assert_eq!(refusal_of(&trust_of(&[&old_root], &[]), &chain(&old_root.client("pc1"), &[])), Refusal::CertificateExpired);
}

#[test]
fn a_certificate_of_tomorrow_is_not_yet_valid() {
    let root = Authority::root("root");
    let leaf = root.client_with("pc1", |params| params.not_before = date_time_ymd(2026, 6, 16));

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&leaf, &[])), Refusal::CertificateNotYetValid);
}

#[test]
fn the_purpose_must_be_client_authentication_by_name() {
    let root = Authority::root("root");
    let for_purposes = |purposes: Vec<ExtendedKeyUsagePurpose>| root.client_with("pc1", |params| params.extended_key_usages = purposes);

    for purposes in [vec![], vec![ExtendedKeyUsagePurpose::ServerAuth], vec![ExtendedKeyUsagePurpose::Any]] {
        let leaf = for_purposes(purposes.clone());
        assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&leaf, &[])), Refusal::CertificatePurpose, "{purposes:?}");
    }
}

#[test]
fn an_intermediate_for_servers_only_issues_no_clients() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);

    assert_eq!(refusal_of(&trust_of(&[&root], &[&issuing]), &chain(&issuing.client("pc1"), &[])), Refusal::CertificatePurpose);
}

#[test]
fn an_intermediate_for_any_purpose_issues_clients() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);

    assert!(passes(&trust_of(&[&root], &[&issuing]), &chain(&issuing.client("pc1"), &[])));
}

#[test]
fn a_client_cannot_issue_certificates() {
    let root = Authority::root("root");
    let client = root.authority_with("pc1", |params| params.is_ca = IsCa::NoCa);

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&client.client("pc2"), &[&client])), Refusal::CertificateConstraint);
}

#[test]
fn an_authority_is_no_client() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), std::slice::from_ref(&issuing.der)), Refusal::CertificateConstraint);
}

#[test]
fn a_chain_longer_than_its_authority_allows_is_refused() {
    let root = Authority::root("root");
    let short = root.authority_with("short", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let below = short.authority("below");

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&below.client("pc1"), &[&below, &short])), Refusal::CertificateConstraint);
}

#[test]
fn a_name_outside_of_the_authoritys_constraints_is_refused() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| {
        params.name_constraints =
            Some(NameConstraints { permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".into())], excluded_subtrees: vec![] });
    });
    let leaf =
        issuing.client_with("pc1", |params| params.subject_alt_names = vec![SanType::DnsName("pc1.other.example".try_into().unwrap())]);

    assert_eq!(refusal_of(&trust_of(&[&root], &[&issuing]), &chain(&leaf, &[])), Refusal::CertificateConstraint);
}

#[test]
fn an_unknown_critical_extension_is_refused() {
    let root = Authority::root("root");
    let leaf = root.client_with("pc1", |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions = vec![extension];
    });

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &chain(&leaf, &[])), Refusal::CertificateConstraint);
}

#[test]
fn what_is_no_certificate_is_malformed() {
    let root = Authority::root("root");
    let leaf = root.client("pc1").der.to_vec();
    let cut = leaf[..leaf.len() - 1].to_vec();
    let longer = [leaf.as_slice(), &[0]].concat();

    for der in [Vec::new(), b"hello".to_vec(), cut, longer] {
        assert_eq!(refusal_of(&trust_of(&[&root], &[]), &[CertificateDer::from(der)]), Refusal::CertificateMalformed);
    }
}

#[test]
fn too_many_or_too_large_certificates_are_malformed() {
    let root = Authority::root("root");
    let leaf = root.client("pc1");
    let eleven: Vec<_> = std::iter::repeat_n(leaf.der.clone(), 11).collect();
    let large = [leaf.der.clone(), CertificateDer::from(vec![0; 64 << 10])];

    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &eleven), Refusal::CertificateMalformed);
    assert_eq!(refusal_of(&trust_of(&[&root], &[]), &large), Refusal::CertificateMalformed);
}

#[test]
fn rubbish_behind_the_leaf_does_no_harm() {
    let root = Authority::root("root");
    let Issued { der, .. } = root.client("pc1");

    assert!(passes(&trust_of(&[&root], &[]), &[der, CertificateDer::from(vec![0x30, 0x80])]));
}

#[test]
fn it_is_good_until_the_first_end_of_its_chain() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.not_after = date_time_ymd(2026, 6, 16));
    let trust = ClientTrust::new(&trust_of(&[&root], &[&issuing])).unwrap();

    let verified = trust.verify(&chain(&issuing.client("pc1"), &[]), NOW).unwrap();

    assert_eq!(verified.good_until, WallTime(NOW.0 + crate::lab::HALF_A_DAY));
    assert!(verified.is_good(NOW));
    assert!(!verified.is_good(WallTime(verified.good_until.0 + 1)));
}

#[test]
fn a_subject_cannot_break_out_of_a_header() {
    let root = Authority::root("root");
    let leaf = root.client_with("pc1\r\nX-Evil: 1, O=Other", |params| {
        params.distinguished_name.push(DnType::OrganizationName, "M\u{fc}ller");
    });

    let facts = certificate_facts(&leaf.der).unwrap();

    assert_eq!(facts.subject, "CN=pc1\\0d\\0aX-Evil: 1\\, O\\=Other, O=M\\c3\\bcller");
    assert_eq!(facts.common_name.as_deref(), Some("pc1\\0d\\0aX-Evil: 1, O=Other"));
}

#[test]
fn alternative_names_say_their_kind() {
    let root = Authority::root("root");
    let leaf = root.client_with("pc1", |params| {
        params.subject_alt_names = vec![
            SanType::DnsName("pc1.example".try_into().unwrap()),
            SanType::URI("urn:x:1".try_into().unwrap()),
            SanType::Rfc822Name("a@b.example".try_into().unwrap()),
            SanType::IpAddress([10, 0, 0, 1].into()),
        ];
    });

    assert_eq!(
        certificate_facts(&leaf.der).unwrap().alternative_names,
        ["DNS:pc1.example", "URI:urn:x:1", "email:a@b.example", "IP:10.0.0.1"]
    );
}

#[test]
fn names_too_long_for_a_header_are_malformed() {
    let root = Authority::root("root");
    let long = "x".repeat(3000);
    let long_unit = root.client_with("pc1", |params| params.distinguished_name.push(DnType::OrganizationalUnitName, long.as_str()));
    let many_names = root.client_with("pc1", |params| {
        let names = (0..200).map(|number| format!("a-rather-long-host-name-{number}.corp.example"));
        params.subject_alt_names = names.map(|name| SanType::DnsName(name.try_into().unwrap())).collect();
    });

    for leaf in [root.client(&long), long_unit, many_names] {
        assert_eq!(certificate_facts(&leaf.der), Err(Refusal::CertificateMalformed));
    }
}

#[test]
fn a_wrong_trust_policy_names_every_problem() {
    let root = Authority::root("root");
    let mut trust = trust_of(&[&root], &[]);
    trust.authorities.push(b"rubbish".to_vec());
    trust.intermediates.push(root.client("pc1").der.to_vec());
    trust.lists.push(b"rubbish".to_vec());

    let problems = ClientTrust::new(&trust).err().unwrap();

    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["trust.devices.authorities[1]", "trust.devices.intermediates[0]", "trust.devices.crls[0]"]);
}
