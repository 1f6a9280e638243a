//! Client certificates that do not count, each for its own reason.

use std::sync::LazyLock;

use cmg_lab::{Authority, Issued, KeyType, Profile};

use crate::support::{Reply, Site, field};

/// A system whose authorities and lists know every kind of bad certificate.
struct Certificates {
    site: Site,
    revoked: Issued,
    below_revoked: Issued,
    blocked_by_thumbprint: Issued,
    blocked_by_sha256: Issued,
    blocked_by_serial: Issued,
    below_unlisted: Issued,
    below_stale: Issued,
    /// Of an authority that has the largest RSA key there is, as it has itself.
    heavy: Issued,
}

static ALL: LazyLock<Certificates> = LazyLock::new(|| {
    let mut made = None;
    let site = Site::start(|setup| {
        let lab = &setup.lab;
        let client = |name: &str| lab.clients.client(name).unwrap();
        let (revoked, blocked_by_thumbprint, blocked_by_sha256) = (client("revoked"), client("blocked-1"), client("blocked-2"));
        let blocked_by_serial = client("blocked-3");
        lab.revoke(&[&revoked.serial]).unwrap();

        // Issuing authorities beside the laboratory's own: one without a list, one with an old list, one that the root revoked.
        let issuing = |name: &str| lab.clients_root.issuing(name).unwrap();
        let (unlisted, stale, taken_back) = (issuing("Unlisted Issuing"), issuing("Stale Issuing"), issuing("Revoked Issuing"));
        let heavy = Authority::root_with("Heavy Root", KeyType::Rsa4096).unwrap();
        setup.write("heavy.pem", heavy.certificate_pem());
        setup.write("stale.crl", stale.stale_crl(&[]).unwrap().der);
        setup.write("taken-back.crl", taken_back.crl(&[]).unwrap().pem);
        setup.write("clients-root.crl", lab.clients_root.crl(&[&serial_of(&taken_back)]).unwrap().pem);
        setup.both(&format!(
            r#"
            [trust.devices]
            crls = ["clients-root.crl", "clients-issuing.crl", "stale.crl", "taken-back.crl"]
            [trust.lenient]
            authorities = ["clients-root.pem"]
            crls = ["clients-root.crl", "clients-issuing.crl", "stale.crl"]
            stale_crl = "allow"
            unknown_crl = "allow"
            [trust.heavy]
            authorities = ["heavy.pem"]
            check_revocation = false
            [trust.careless]
            authorities = ["clients-root.pem"]
            check_revocation = false
            [[block]]
            thumbprint = "{}"
            [[block]]
            thumbprint = "{}"
            [[block]]
            serial = "{}"
            "#,
            blocked_by_thumbprint.thumbprint(),
            blocked_by_sha256.thumbprint_sha256(),
            blocked_by_serial.serial_hex(),
        ));
        setup.endpoint("strict", "face = \"mutual\"");
        setup.endpoint("heavy", "face = \"mutual\"\ntrust = \"heavy\"");
        setup.endpoint("lenient", "face = \"mutual\"\ntrust = \"lenient\"");
        setup.endpoint("careless", "face = \"mutual\"\ntrust = \"careless\"");
        made = Some(move |site| Certificates {
            site,
            revoked,
            blocked_by_thumbprint,
            blocked_by_sha256,
            blocked_by_serial,
            heavy: heavy.issue(&Profile::client("heavy").key(KeyType::Rsa4096)).unwrap(),
            below_revoked: taken_back.client("below-revoked").unwrap(),
            below_unlisted: unlisted.client("below-unlisted").unwrap(),
            below_stale: stale.client("below-stale").unwrap(),
        });
    });
    made.unwrap()(site.shared())
});

/// The serial number in an authority's own certificate.
fn serial_of(authority: &Authority) -> Vec<u8> {
    // SEQUENCE { SEQUENCE { [0] version (5 bytes), INTEGER serial ...; both lengths are of the long form with two bytes.
    let der = &authority.certificate_der()[4 + 4 + 5..];
    assert_eq!(der[0], 2, "an INTEGER");
    der[2..2 + usize::from(der[1])].to_vec()
}

fn ask(certificate: &Issued, endpoint: &str) -> Reply {
    ALL.site.with_certificate(certificate).get(&format!("/{endpoint}/echo"))
}

#[track_caller]
fn refused(certificate: &Issued, label: &str) -> Reply {
    let reply = ask(certificate, "strict");
    ALL.site.assert_refused(&reply, 403, "CMGService_Client_Certificate_Refused", label);
    reply
}

fn issue(profile: Profile) -> Issued {
    ALL.site.lab().clients.issue(&profile).unwrap()
}

#[test]
fn no_certificate() {
    let reply = ALL.site.stranger().get("/strict/echo?without");

    ALL.site.assert_refused(&reply, 403, "CMGService_Client_Certificate_Required", "certificate_missing");
    assert!(!ALL.site.origin.seen().iter().any(|seen| seen.target.ends_with(b"?without")), "the server has not heard of it");
}

#[test]
fn a_good_certificate_of_each_key_type_counts() {
    for key in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Ed25519] {
        assert_eq!(ask(&issue(Profile::client("good").key(key)), "strict").status, 200, "{key:?}");
    }
}

#[test]
fn a_chain_of_large_rsa_keys_counts() {
    assert_eq!(ask(&ALL.heavy, "heavy").status, 200);
    refused(&ALL.heavy, "certificate_issuer_not_found");
}

#[test]
fn a_certificate_of_somebody_else() {
    let foreign = Authority::root("Foreign Root").unwrap();

    let reply = refused(&foreign.client("foreign").unwrap(), "certificate_issuer_not_found");

    let line = ALL.site.logged(&reply);
    assert!(field(&line, "detail").contains("Foreign Root"), "{line}");
}

#[test]
fn a_chain_that_ends_in_somebody_elses_root() {
    let foreign = Authority::root("Foreign Root").unwrap();
    let mut client = foreign.issuing("Foreign Issuing").unwrap().client("foreign").unwrap();
    client.chain_pem.push_str(&foreign.certificate_pem());

    refused(&client, "certificate_foreign");
}

#[test]
fn a_missing_intermediate_is_named_in_the_log() {
    let mut client = ALL.site.lab().clients_root.issuing("Absent Issuing").unwrap().client("lost").unwrap();
    client.chain_pem.clone_from(&client.certificate_pem);

    let reply = refused(&client, "certificate_issuer_not_found");

    let line = ALL.site.logged(&reply);
    assert!(field(&line, "detail").contains("CN=Absent Issuing"), "{line}");
}

#[test]
fn a_certificate_alone_counts_where_its_intermediate_is_configured() {
    let mut client = ALL.site.lab().clients.client("alone").unwrap();
    client.chain_pem.clone_from(&client.certificate_pem);

    assert_eq!(ask(&client, "strict").status, 200);
}

#[test]
fn an_expired_certificate() {
    refused(&issue(Profile::client("old").expired()), "certificate_expired");
}

#[test]
fn a_certificate_that_is_not_valid_yet() {
    refused(&issue(Profile::client("young").not_yet_valid()), "certificate_not_yet_valid");
}

#[test]
fn a_revoked_certificate() {
    let reply = refused(&ALL.revoked, "certificate_revoked");
    let line = ALL.site.logged(&reply);
    assert!(field(&line, "detail").contains(", subject CN="), "the device can be found: {line}");
    assert_eq!(ask(&ALL.revoked, "lenient").status, 403, "lenience about lists is no lenience about what they say");
}

#[test]
fn a_certificate_below_a_revoked_intermediate() {
    refused(&ALL.below_revoked, "certificate_revoked");
}

#[test]
fn a_certificate_that_no_list_covers() {
    refused(&ALL.below_unlisted, "certificate_revocation_unknown");
    assert_eq!(ask(&ALL.below_unlisted, "lenient").status, 200);
}

#[test]
fn a_certificate_whose_list_is_stale() {
    refused(&ALL.below_stale, "certificate_list_stale");
    assert_eq!(ask(&ALL.below_stale, "lenient").status, 200);
}

#[test]
fn revocation_is_not_asked_where_the_policy_says_so() {
    assert_eq!(ask(&ALL.revoked, "careless").status, 200);
}

#[test]
fn a_certificate_blocked_by_its_thumbprint() {
    refused(&ALL.blocked_by_thumbprint, "certificate_blocked");
    refused(&ALL.blocked_by_sha256, "certificate_blocked");
}

#[test]
fn a_certificate_blocked_by_its_serial_number() {
    refused(&ALL.blocked_by_serial, "certificate_blocked");
    assert_eq!(ask(&ALL.blocked_by_serial, "careless").status, 403, "blocked everywhere");
}

#[test]
fn a_certificate_for_servers_only() {
    refused(&issue(Profile::client("server").for_servers_only()), "certificate_purpose");
}

#[test]
fn a_certificate_for_no_purpose_in_particular() {
    refused(&issue(Profile::client("anything").without_usage()), "certificate_purpose");
}

#[test]
fn a_chain_of_more_certificates_than_anybody_has() {
    let mut client = issue(Profile::client("long"));
    client.chain_pem.push_str(&client.certificate_pem.repeat(9));

    refused(&client, "certificate_malformed");
}

#[test]
fn an_authority_that_comes_as_a_client() {
    let authority = &ALL.site.lab().clients;
    let mut client = issue(Profile::client("nobody"));
    client.chain_pem = authority.certificate_pem();
    client.key_pem = authority.key_pem();

    refused(&client, "certificate_constraint");
}

#[test]
fn a_role_certificate_of_the_tunnel_is_no_client_certificate() {
    let infrastructure = &ALL.site.lab().infrastructure;
    let role = infrastructure.issue(&Profile::role(cmg_lab::Role::ConnectionPoint, "connection-point-1")).unwrap();

    refused(&role, "certificate_issuer_not_found");
}

#[test]
fn a_certificate_does_not_count_where_a_token_is_wanted() {
    let reply = ALL.site.device().get(&(ALL.site.server() + "/echo"));

    ALL.site.assert_refused(&reply, 401, "CMGService_Token_Required", "token_missing");
}

#[test]
fn a_bad_certificate_harms_nobody_where_none_is_wanted() {
    let caller = ALL.site.with_certificate(&ALL.revoked).field("Authorization", &format!("Bearer {}", ALL.site.lab().token));

    assert_eq!(caller.get(&(ALL.site.server() + "/echo")).status, 200);
}
