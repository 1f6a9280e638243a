//! Revocation lists: what covers what, and the policies.
use cmg_core::refusal::Refusal;
use cmg_core::revocation::{Lenience, RevocationPolicy, WhenStale};
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use cmg_credentials::ClientTrust;
use pki_types::CertificateDer;
use rcgen::{CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, KeyUsagePurpose, SerialNumber};

use crate::lab::{Authority, HALF_A_DAY, NOW, SERIAL, chain, trust_of};

const STRICT: RevocationPolicy = RevocationPolicy { check: true, stale: WhenStale::Deny, unknown: Lenience::Deny };
const LENIENT: RevocationPolicy = RevocationPolicy { check: true, stale: WhenStale::Allow, unknown: Lenience::Allow };

fn trust(roots: &[&Authority], intermediates: &[&Authority], lists: Vec<Vec<u8>>, revocation: RevocationPolicy) -> Trust {
    Trust { lists, revocation, ..trust_of(roots, intermediates) }
}

fn verdict(trust: &Trust, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    ClientTrust::new(trust).unwrap().verify(chain, NOW).map(|_| ())
}

#[test]
fn a_certificate_that_is_not_listed_passes() {
    let root = Authority::root("root");
    let trust = trust(&[&root], &[], vec![root.list(&[SERIAL + 1])], STRICT);

    assert_eq!(verdict(&trust, &chain(&root.client("pc1"), &[])), Ok(()));
}

#[test]
fn a_listed_certificate_is_revoked() {
    let root = Authority::root("root");
    let trust = trust(&[&root], &[], vec![root.list(&[1, SERIAL, 9])], LENIENT);

    assert_eq!(verdict(&trust, &chain(&root.client("pc1"), &[])), Err(Refusal::CertificateRevoked));
}

#[test]
fn without_a_list_the_state_is_unknown() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let client = chain(&root.client("pc1"), &[]);

    assert_eq!(verdict(&trust(&[&root], &[], vec![], STRICT), &client), Err(Refusal::CertificateRevocationUnknown));
    assert_eq!(verdict(&trust(&[&root], &[], vec![other.list(&[])], STRICT), &client), Err(Refusal::CertificateRevocationUnknown));
    assert_eq!(verdict(&trust(&[&root], &[], vec![], LENIENT), &client), Ok(()));
}

#[test]
fn a_stale_list_is_told_apart() {
    let root = Authority::root("root");
    let client = chain(&root.client("pc1"), &[]);
    let lists = vec![root.stale_list(&[])];

    assert_eq!(verdict(&trust(&[&root], &[], lists.clone(), STRICT), &client), Err(Refusal::CertificateListStale));
    assert_eq!(verdict(&trust(&[&root], &[], lists.clone(), LENIENT), &client), Ok(()));
    let grace = |seconds| RevocationPolicy { stale: WhenStale::Grace { seconds }, ..STRICT };
    assert_eq!(verdict(&trust(&[&root], &[], lists.clone(), grace(HALF_A_DAY)), &client), Ok(()));
    assert_eq!(verdict(&trust(&[&root], &[], lists, grace(HALF_A_DAY - 1)), &client), Err(Refusal::CertificateListStale));
}

#[test]
fn what_a_stale_list_revokes_stays_revoked() {
    let root = Authority::root("root");
    let trust = trust(&[&root], &[], vec![root.stale_list(&[SERIAL]), root.list(&[])], LENIENT);

    assert_eq!(verdict(&trust, &chain(&root.client("pc1"), &[])), Err(Refusal::CertificateRevoked));
}

#[test]
fn of_two_lists_the_newer_decides_on_age() {
    let root = Authority::root("root");
    let trust = trust(&[&root], &[], vec![root.stale_list(&[]), root.list(&[])], STRICT);

    assert_eq!(verdict(&trust, &chain(&root.client("pc1"), &[])), Ok(()));
}

#[test]
fn a_certificate_of_a_revoked_intermediate_is_revoked() {
    let root = Authority::root("root");
    let issuing = root.authority_with("issuing", |params| params.serial_number = Some(SerialNumber::from(77)));
    let client = chain(&issuing.client("pc1"), &[&issuing]);

    for intermediates in [&[][..], &[&issuing]] {
        let trust = trust(&[&root], intermediates, vec![root.list(&[77]), issuing.list(&[])], LENIENT);
        assert_eq!(verdict(&trust, &client), Err(Refusal::CertificateRevoked));
    }
}

#[test]
fn each_certificate_below_the_root_needs_a_list() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let client = chain(&issuing.client("pc1"), &[&issuing]);

    assert_eq!(verdict(&trust(&[&root], &[], vec![issuing.list(&[])], STRICT), &client), Err(Refusal::CertificateRevocationUnknown));
    assert_eq!(verdict(&trust(&[&root], &[], vec![root.list(&[]), issuing.list(&[])], STRICT), &client), Ok(()));
}

#[test]
fn a_revoked_path_does_not_spoil_another() {
    let (root, cross_root) = (Authority::root("root"), Authority::root("cross root"));
    let issuing = root.authority_with("issuing", |params| params.serial_number = Some(SerialNumber::from(77)));
    let crossed = cross_root.cross_sign(&issuing);
    let lists = vec![root.list(&[77]), cross_root.list(&[]), issuing.list(&[])];
    let mut trust = trust(&[&root, &cross_root], &[&issuing], lists, STRICT);
    trust.intermediates.push(crossed.to_vec());

    assert_eq!(verdict(&trust, &chain(&issuing.client("pc1"), &[])), Ok(()));
}

#[test]
fn a_forged_list_of_an_intermediate_that_is_sent_does_not_count() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let (issuing, forged) = (root.authority("issuing"), other.authority("issuing"));
    let trust = trust(&[&root], &[], vec![root.list(&[]), forged.list(&[])], STRICT);

    assert_eq!(verdict(&trust, &chain(&issuing.client("pc1"), &[&issuing])), Err(Refusal::CertificateRevocationUnknown));
}

#[test]
fn a_forged_list_of_a_configured_authority_is_a_problem() {
    let (root, forged) = (Authority::root("root"), Authority::root("root"));

    let problems = ClientTrust::new(&trust(&[&root], &[], vec![forged.list(&[])], STRICT)).err().unwrap();

    assert!(problems[0].what.contains("not its signature"), "{}", problems[0]);
}

#[test]
fn no_altered_list_is_believed() {
    let root = Authority::root("root");
    let client = chain(&root.client("pc1"), &[]);
    let good = root.list(&[1, 2]);

    for place in 0..good.len() {
        let mut altered = good.clone();
        altered[place] ^= 0x01;
        let verdict = ClientTrust::new(&trust(&[&root], &[], vec![altered], STRICT)).map(|trust| trust.verify(&client, NOW).map(|_| ()));
        assert!(matches!(verdict, Err(_) | Ok(Err(_))), "{place}");
    }
}

#[test]
fn an_authority_that_may_not_sign_lists_covers_nothing() {
    let root = Authority::root_with("root", |params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    let trust = trust(&[&root], &[], vec![root.list(&[])], STRICT);

    assert_eq!(verdict(&trust, &chain(&root.client("pc1"), &[])), Err(Refusal::CertificateRevocationUnknown));
}

fn scoped(root: &Authority, serials: &[u64], uri: &str, scope: Option<CrlScope>) -> Vec<u8> {
    root.list_with(serials, |params| {
        let distribution_point = CrlDistributionPoint { uris: vec![uri.into()] };
        params.issuing_distribution_point = Some(CrlIssuingDistributionPoint { distribution_point, scope });
    })
}

#[test]
fn every_distribution_point_counts() {
    let root = Authority::root("root");
    let points = |uris: &[&str]| uris.iter().map(|uri| CrlDistributionPoint { uris: vec![(*uri).into()] }).collect();
    let several_points =
        root.client_with("pc1", |params| params.crl_distribution_points = points(&["http://a/", "http://b/", "http://c/"]));
    let several_names = root.client_with("pc2", |params| {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["ldap://a/".into(), "http://c/".into()] }];
    });
    let trust = trust(&[&root], &[], vec![scoped(&root, &[SERIAL], "http://c/", None)], LENIENT);

    assert_eq!(verdict(&trust, &chain(&several_points, &[])), Err(Refusal::CertificateRevoked));
    assert_eq!(verdict(&trust, &chain(&several_names, &[])), Err(Refusal::CertificateRevoked));
}

#[test]
fn a_list_of_another_distribution_point_does_not_cover() {
    let root = Authority::root("root");
    let client =
        root.client_with("pc1", |params| params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://a/".into()] }]);
    let trust = trust(&[&root], &[], vec![scoped(&root, &[], "http://b/", None)], STRICT);

    assert_eq!(verdict(&trust, &chain(&client, &[])), Err(Refusal::CertificateRevocationUnknown));
}

#[test]
fn a_certificate_without_distribution_points_is_looked_up_in_every_part() {
    let root = Authority::root("root");
    let lists = vec![scoped(&root, &[], "http://a/", None), scoped(&root, &[SERIAL], "http://b/", None)];

    assert_eq!(verdict(&trust(&[&root], &[], lists, LENIENT), &chain(&root.client("pc1"), &[])), Err(Refusal::CertificateRevoked));
}

#[test]
fn a_list_of_authorities_does_not_cover_clients() {
    let root = Authority::root("root");
    let list = |scope| vec![scoped(&root, &[], "http://a/", Some(scope))];
    let client = chain(&root.client("pc1"), &[]);

    let authorities_only = trust(&[&root], &[], list(CrlScope::CaCertsOnly), STRICT);
    assert_eq!(verdict(&authorities_only, &client), Err(Refusal::CertificateRevocationUnknown));
    assert_eq!(verdict(&trust(&[&root], &[], list(CrlScope::UserCertsOnly), STRICT), &client), Ok(()));
}

#[test]
fn a_list_of_clients_does_not_cover_authorities() {
    let root = Authority::root("root");
    let issuing = root.authority("issuing");
    let lists = vec![scoped(&root, &[], "http://a/", Some(CrlScope::UserCertsOnly)), issuing.list(&[])];

    let verdict = verdict(&trust(&[&root], &[&issuing], lists, STRICT), &chain(&issuing.client("pc1"), &[]));

    assert_eq!(verdict, Err(Refusal::CertificateRevocationUnknown));
}

#[test]
fn it_is_good_until_the_next_list_where_stale_lists_are_refused() {
    let root = Authority::root("root");
    let client = chain(&root.client("pc1"), &[]);
    let until = |policy| {
        let trust = ClientTrust::new(&trust(&[&root], &[], vec![root.list(&[])], policy)).unwrap();
        trust.verify(&client, NOW).unwrap().good_until
    };

    assert_eq!(until(STRICT), WallTime(NOW.0 + HALF_A_DAY));
    let grace = RevocationPolicy { stale: WhenStale::Grace { seconds: 60 }, ..STRICT };
    assert_eq!(until(grace), WallTime(NOW.0 + HALF_A_DAY + 60));
    assert!(until(LENIENT) > WallTime(NOW.0 + HALF_A_DAY));
}

#[test]
fn delta_and_indirect_lists_are_refused_by_name() {
    let root = Authority::root("root");
    let delta_indicator = der(0x30, &[der(0x06, &[vec![0x55, 0x1d, 27]]), der(0x01, &[vec![0xff]]), der(0x04, &[vec![2, 1, 1]])]);
    let indirect = der(0x30, &[der(0xa0, &[der(0xa0, &[der(0x86, &[b"http://a/".to_vec()])])]), der(0x84, &[vec![0xff]])]);
    let indirect = der(0x30, &[der(0x06, &[vec![0x55, 0x1d, 28]]), der(0x01, &[vec![0xff]]), der(0x04, &[indirect])]);

    for (extension, word) in [(delta_indicator, "delta"), (indirect, "indirect")] {
        let problems = ClientTrust::new(&trust(&[&root], &[], vec![crafted_list(extension)], STRICT)).err().unwrap();
        assert!(problems[0].what.contains(word), "{}", problems[0]);
    }
}

/// A list with one extension and a signature of nobody.
fn crafted_list(extension: Vec<u8>) -> Vec<u8> {
    let algorithm = der(0x30, &[der(0x06, &[vec![0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
    let name = der(0x30, &[]);
    let times = [der(0x17, &[b"260601000000Z".to_vec()]), der(0x17, &[b"260701000000Z".to_vec()])].concat();
    let extensions = der(0xa0, &[der(0x30, &[extension])]);
    let signed = der(0x30, &[vec![2, 1, 1], algorithm.clone(), name, times, extensions]);
    der(0x30, &[signed, algorithm, vec![3, 2, 0, 0]])
}

fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let inner = parts.concat();
    let length = u8::try_from(inner.len()).unwrap();
    assert!(length < 128);
    [vec![tag, length], inner].concat()
}
