//! One site for all tests, and what its certificates, lists, exports and snapshots say.
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;

use cmg_api::control::{FRESHNESS_CONTEXT, MANIFEST_CONTEXT};
use cmg_authority::export::ImportRefused;
use cmg_authority::issuer::IssueRefused;
use cmg_authority::{
    ClientIssuer, InfrastructureIssuer, Issued, NewSite, PrivateKey, RevokedCertificate, RootExport, Roots, SnapshotSigner,
};
use cmg_core::ids::{ConnectionPointId, GatewayId, Role, TrustName};
use cmg_core::refusal::Refusal;
use cmg_core::revocation::RevocationPolicy;
use cmg_core::time::WallTime;
use cmg_core::trust::Trust;
use cmg_credentials::members::{MemberRefused, Statement};
use cmg_credentials::tls::role_of;
use cmg_credentials::{ClientTrust, facts};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

/// The moment at which everything here happens.
pub(crate) const NOW: WallTime = WallTime(1_790_000_000);
pub(crate) const DAY: u64 = 86_400;
const PASSPHRASE: &str = "correct horse battery staple";

pub(crate) fn site() -> &'static NewSite {
    static SITE: OnceLock<NewSite> = OnceLock::new();
    SITE.get_or_init(|| NewSite::generate("ABC", NOW).unwrap())
}

pub(crate) fn later(seconds: u64) -> WallTime {
    WallTime(NOW.0 + seconds)
}

pub(crate) fn gateway() -> Role {
    Role::Gateway(GatewayId::new("gw-1"))
}

pub(crate) fn connection_point() -> Role {
    Role::ConnectionPoint(ConnectionPointId::new("cp-1"))
}

pub(crate) fn member(role: &Role) -> (PrivateKey, Issued) {
    let key = PrivateKey::generate().unwrap();
    let issued = site().infrastructure.member(role, &key.public(), NOW).unwrap();
    (key, issued)
}

pub(crate) fn ders(chain: &[Vec<u8>]) -> Vec<CertificateDer<'static>> {
    chain.iter().cloned().map(CertificateDer::from).collect()
}

fn client(lifetime: u64) -> Issued {
    let key = PrivateKey::generate().unwrap();
    site().clients.client("GUID-1", &key.public(), lifetime, NOW).unwrap()
}

fn client_trust(lists: Vec<Vec<u8>>, check: bool) -> ClientTrust {
    let trust = Trust {
        name: TrustName::new("site"),
        authorities: vec![site().roots.client_certificate().to_vec()],
        intermediates: Vec::new(),
        lists,
        revocation: RevocationPolicy { check, unknown: cmg_core::revocation::Lenience::Allow, ..RevocationPolicy::default() },
    };
    ClientTrust::new(&trust).unwrap()
}

fn parsed(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

#[test]
fn a_member_gets_its_role_and_nothing_else_for_90_days() {
    let (_, issued) = member(&gateway());

    let facts = facts::certificate_facts(&issued.chain[0]).unwrap();
    assert_eq!(facts.alternative_names, ["URI:spiffe://ABC/gateway/gw-1"]);
    assert_eq!(role_of(&ders(&issued.chain)), Some(gateway()));
    assert_eq!((facts.not_before, facts.not_after), (WallTime(NOW.0 - 300), later(90 * DAY)));
    assert_eq!((issued.not_before, issued.not_after), (facts.not_before, facts.not_after));
    assert_eq!((&issued.serial, issued.fingerprint), (&facts.serial, facts.thumbprint_sha256));
    assert_eq!(issued.chain[1], site().infrastructure.certificate());
}

#[test]
fn a_member_may_sign_at_both_ends_and_certify_nobody() {
    let (_, issued) = member(&connection_point());

    let certificate = parsed(&issued.chain[0]);
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing && usage.other.is_empty());
    assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1);
    assert!(!certificate.basic_constraints().unwrap().unwrap().value.ca);
}

#[test]
fn each_certificate_names_the_key_of_its_issuer() {
    let (_, issued) = member(&gateway());
    let identifiers = |der: &[u8]| {
        let certificate = parsed(der);
        let find = |wanted: fn(&ParsedExtension<'_>) -> Option<Vec<u8>>| {
            certificate.extensions().iter().find_map(|extension| wanted(extension.parsed_extension()))
        };
        let own = find(|extension| match extension {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let issuer = find(|extension| match extension {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        (own, issuer)
    };

    let (leaf, issuing, root) =
        (identifiers(&issued.chain[0]), identifiers(&issued.chain[1]), identifiers(site().roots.infrastructure_certificate()));
    assert!(leaf.0.is_some() && root.0.is_some());
    assert_eq!((leaf.1, issuing.1), (issuing.0, root.0));
}

#[test]
fn an_issuing_key_certifies_no_other_and_counts_five_years() {
    for certificate in [site().infrastructure.certificate(), site().clients.certificate()] {
        let facts = facts::certificate_facts(certificate).unwrap();
        let certificate = parsed(certificate);
        let constraints = certificate.basic_constraints().unwrap().unwrap().value;

        assert_eq!((constraints.ca, constraints.path_len_constraint), (true, Some(0)));
        assert_eq!(facts.not_after, later(5 * 31_557_600));
    }
    assert_eq!(facts::certificate_facts(site().roots.client_certificate()).unwrap().not_after, later(20 * 31_557_600));
}

#[test]
fn serial_numbers_are_long_positive_and_never_the_same() {
    let serials: BTreeSet<_> = (0..20).map(|_| member(&gateway()).1.serial).collect();

    assert_eq!(serials.len(), 20);
    assert!(serials.iter().all(|serial| serial.len() == 32 && serial.starts_with(['4', '5', '6', '7'])), "{serials:?}");
}

#[test]
fn a_chain_in_pem_reads_back() {
    let (_, issued) = member(&gateway());

    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain_pem().as_bytes()).collect();

    assert_eq!(chain.unwrap(), ders(&issued.chain));
}

#[test]
fn a_site_server_has_its_names_and_its_role() {
    let key = PrivateKey::generate().unwrap();
    let names = ["site.corp.example".to_owned()];

    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let issued = site().infrastructure.site_server("site-1", &names, &addresses, &key.public(), NOW).unwrap();

    let facts = facts::certificate_facts(&issued.chain[0]).unwrap();
    assert_eq!(facts.alternative_names, ["URI:spiffe://ABC/site-server/site-1", "DNS:site.corp.example", "IP:127.0.0.1"]);
}

#[test]
fn names_that_no_certificate_can_have_are_refused() {
    let key = PrivateKey::generate().unwrap().public();
    let infrastructure = &site().infrastructure;

    for name in ["", "a/b", "-a", "a b", "ü"] {
        let refused = Err(IssueRefused::Name(name.to_owned()));
        assert_eq!(infrastructure.member(&Role::Gateway(GatewayId::new(name)), &key, NOW), refused);
        assert_eq!(site().clients.client(name, &key, DAY, NOW), refused);
    }
    for name in ["", "a..b", "https://a", "a:443", "-a.b", "ü.example"] {
        let issued = infrastructure.site_server("site-1", &[name.to_owned()], &[], &key, NOW);
        assert_eq!(issued, Err(IssueRefused::DnsName(name.to_owned())));
    }
    assert!(matches!(Roots::generate("A/B", NOW), Err(IssueRefused::Name(_))));
}

#[test]
fn only_gateways_and_connection_points_are_members() {
    let key = PrivateKey::generate().unwrap().public();

    let issued = site().infrastructure.member(&Role::Snapshot("9".into()), &key, NOW);

    assert_eq!(issued, Err(IssueRefused::NoMember("snapshot")));
}

#[test]
fn nothing_outlives_its_issuer() {
    let key = PrivateKey::generate().unwrap().public();
    let end = site().infrastructure.not_after();

    let last = site().infrastructure.member(&gateway(), &key, WallTime(end.0 - DAY)).unwrap();

    assert_eq!(last.not_after, end);
    assert_eq!(site().infrastructure.member(&gateway(), &key, end), Err(IssueRefused::IssuerEnded));
    let root_ends = Roots::generate("ABC", NOW).unwrap();
    let late = |days: u64| WallTime(NOW.0 + 20 * 31_557_600 - days * DAY);
    assert!(root_ends.client_issuer(late(91)).is_ok());
    assert_eq!(root_ends.client_issuer(late(89)).err(), Some(IssueRefused::RootEnds));
}

#[test]
fn a_client_counts_under_the_client_root_only() {
    let issued = client(30 * DAY);

    let facts = client_trust(Vec::new(), false).verify(&ders(&issued.chain), NOW).unwrap().facts;
    assert_eq!(facts.alternative_names, ["URI:spiffe://ABC/client/GUID-1"]);
    assert_eq!(facts.common_name.as_deref(), Some("GUID-1"));
    let member = member(&gateway()).1;
    assert!(matches!(client_trust(Vec::new(), false).verify(&ders(&member.chain), NOW), Err(Refusal::CertificateIssuerNotFound)));
    let late = client_trust(Vec::new(), false).verify(&ders(&issued.chain), later(31 * DAY));
    assert!(matches!(late, Err(Refusal::CertificateExpired)));
}

#[test]
fn a_revoked_client_is_refused_by_the_list_of_its_issuer() {
    let (good, bad) = (client(30 * DAY), client(30 * DAY));
    let revoked = [RevokedCertificate { serial: bad.serial.clone(), at: NOW }];

    let list = site().clients.revocation_list(&revoked, 7, NOW, later(DAY)).unwrap();

    let trust = client_trust(vec![list], true);
    assert!(trust.verify(&ders(&good.chain), later(10)).is_ok());
    assert!(matches!(trust.verify(&ders(&bad.chain), later(10)), Err(Refusal::CertificateRevoked)));
}

#[test]
fn a_list_with_a_bad_serial_number_or_end_is_refused() {
    let revoked = |serial: &str| [RevokedCertificate { serial: serial.into(), at: NOW }];
    let list = |serial, end| site().clients.revocation_list(&revoked(serial), 1, NOW, end);

    assert!(list("ABC", later(1)).is_ok());
    assert_eq!(list("xy", later(1)), Err(IssueRefused::Serial("xy".into())));
    assert_eq!(list("", later(1)), Err(IssueRefused::Serial(String::new())));
    assert_eq!(list("AB", NOW), Err(IssueRefused::NextUpdate));
}

#[test]
fn a_member_believes_what_the_snapshot_key_signed() {
    let signed = site().snapshots.sign(MANIFEST_CONTEXT, "{}".to_owned()).unwrap();
    let chain: Vec<_> = signed.chain.iter().map(|der| der.0.as_slice()).collect();
    let roots = [site().roots.infrastructure_certificate().to_vec()];
    let statement = Statement { chain: &chain, payload: signed.payload.as_bytes(), signature: &signed.signature.0 };
    let other = Statement { payload: b"{ }", ..statement };

    assert_eq!(statement.verify(MANIFEST_CONTEXT, &roots, NOW), Ok(()));
    assert_eq!(statement.verify(FRESHNESS_CONTEXT, &roots, NOW), Err(MemberRefused::Signature));
    assert_eq!(other.verify(MANIFEST_CONTEXT, &roots, NOW), Err(MemberRefused::Signature));
    assert_eq!(statement.verify(MANIFEST_CONTEXT, &roots, site().snapshots.not_after()), Ok(()));
    assert_eq!(role_of(&ders(site().snapshots.chain())), Some(Role::Snapshot("1".into())));
}

#[test]
fn what_signs_snapshots_is_for_nothing_else() {
    let certificate = parsed(&site().snapshots.chain()[0]);

    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.code_signing && !usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn what_went_through_the_vault_issues_as_before() {
    let infrastructure = InfrastructureIssuer::from_secret(&site().infrastructure.to_secret()).unwrap();
    let clients = ClientIssuer::from_secret(&site().clients.to_secret()).unwrap();
    let snapshots = SnapshotSigner::from_secret(&site().snapshots.to_secret()).unwrap();

    assert_eq!(infrastructure.certificate(), site().infrastructure.certificate());
    assert_eq!(clients.not_after(), site().clients.not_after());
    assert_eq!(snapshots.chain(), site().snapshots.chain());
    assert!(infrastructure.member(&gateway(), &PrivateKey::generate().unwrap().public(), NOW).is_ok());
    assert!(ClientIssuer::from_secret(&site().infrastructure.to_secret()).is_none());
    assert!(SnapshotSigner::from_secret(&site().clients.to_secret()).is_none());
}

#[test]
fn an_export_certifies_new_issuing_keys_and_the_old_ones_count_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("roots.txt");
    RootExport::seal(&site().roots, PASSPHRASE).unwrap().write(&path).unwrap();

    let roots = RootExport::read(&path).unwrap().open(PASSPHRASE).unwrap();

    let year_four = later(4 * 365 * DAY);
    let new = roots.client_issuer(year_four).unwrap();
    let key = PrivateKey::generate().unwrap().public();
    let renewed = new.client("GUID-1", &key, DAY, year_four).unwrap();
    let old = site().clients.client("GUID-1", &key, DAY, year_four).unwrap();
    let trust = client_trust(Vec::new(), false);
    assert!(trust.verify(&ders(&renewed.chain), year_four).is_ok() && trust.verify(&ders(&old.chain), year_four).is_ok());
    assert_ne!(new.certificate(), site().clients.certificate());
    assert!(RootExport::read(&path).unwrap().write(&path).is_err(), "it wrote over the export");
}

#[test]
fn an_export_opens_with_its_passphrase_unchanged_only() {
    let export = RootExport::seal(&site().roots, PASSPHRASE).unwrap();
    let changed = |from: &str, to: &str| RootExport::from_text(&export.text().replacen(from, to, 1)).open(PASSPHRASE);

    assert!(matches!(export.open("correct horse battery stable"), Err(ImportRefused::Passphrase)));
    assert!(matches!(changed("Site: ABC", "Site: XYZ"), Err(ImportRefused::Passphrase)));
    assert!(matches!(changed("t=3", "t=2"), Err(ImportRefused::Passphrase)));
    assert!(matches!(changed("m=65536", "m=1048577"), Err(ImportRefused::Malformed)), "more than a gibibyte");
    assert!(matches!(changed("t=3", "t=33"), Err(ImportRefused::Malformed)));
    assert!(matches!(changed("Format: 1", "Format: 2"), Err(ImportRefused::Malformed)));
    assert!(changed("\n", "\r\n").is_ok());
    assert!(!format!("{export:?}").contains("BEGIN"));
}

#[test]
fn a_short_passphrase_is_refused() {
    assert!(RootExport::seal(&site().roots, "elevenbytes").is_err());
}

#[test]
fn no_secret_prints() {
    let site = site();
    let printed = format!("{site:?} {:?} {:?}", site.infrastructure.to_secret(), PrivateKey::generate().unwrap());
    // A revocation list is everybody's.
    let printed = printed.replace(&format!("{:?}", site.client_root_list), "");

    assert!(!printed.contains('['), "{printed}");
    assert!(printed.contains("InfrastructureIssuer(ABC)") && printed.contains("Secret PrivateKey"), "{printed}");
}
