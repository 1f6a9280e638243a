//! Manifests, statements, parts, and a cold start.

use std::path::Path;

use cmg_api::bytes::Base64;
use cmg_api::control::{FRESHNESS_CONTEXT, GenerationId, MANIFEST_CONTEXT, Signed};
use cmg_core::time::WallTime;
use cmg_credentials::load::Files;
use cmg_credentials::members::MemberRefused;
use cmg_credentials::sealed::seal;
use cmg_enrolled::{MOST_COMING, ManifestRefused, freshness, manifest};
use cmg_lab::{Profile, Role};

use super::site::{Gateway, Site, now, sha256, sign_with, statement};

const ME: &str = "gateway/gw-1";

fn read(site: &Site, signed: &Signed) -> Result<u64, ManifestRefused> {
    manifest(signed, ME, GenerationId::default(), &site.roots(), now()).map(|manifest| manifest.generation.number)
}

/// Puts a snapshot in force.
fn keep(site: &Site, gateway: &Gateway, number: u64, document: &str, parts: &[&[u8]], sealed: &[(&str, &[u8])]) {
    let signed = site.manifest(number, document, parts, sealed);
    let manifest = manifest(&signed, ME, GenerationId::default(), &site.roots(), now()).unwrap();
    for bytes in std::iter::once(document.as_bytes()).chain(parts.iter().copied()).chain(sealed.iter().map(|(_, bytes)| *bytes)) {
        gateway.snapshots.parts().write(&sha256(bytes), bytes).unwrap();
    }
    gateway.snapshots.keep(&signed, &manifest, now()).unwrap();
}

#[test]
fn what_the_site_signs_counts() {
    let site = Site::new();

    assert_eq!(read(&site, &site.manifest(7, "a = 1", &[], &[])), Ok(7));
    let said = freshness(&site.sign(FRESHNESS_CONTEXT, statement(7, 1_000)), &site.roots(), now()).unwrap();
    assert_eq!((said.newest.number, said.at), (7, 1_000));
}

#[test]
fn a_statement_from_the_future_does_not_count() {
    let site = Site::new();
    let said = |ahead| freshness(&site.sign(FRESHNESS_CONTEXT, statement(7, now().0 + ahead)), &site.roots(), now());

    assert!(said(30).is_ok());
    assert!(matches!(said(90), Err(ManifestRefused::FromTheFuture(80..=90))), "{:?}", said(90));
}

#[test]
fn a_changed_letter_or_context_counts_nothing() {
    let site = Site::new();
    let mut changed = site.manifest(7, "a = 1", &[], &[]);
    changed.payload = changed.payload.replace("\"number\":7", "\"number\":8");
    let as_freshness = site.sign(MANIFEST_CONTEXT, statement(7, 1_000));

    assert_eq!(read(&site, &changed), Err(ManifestRefused::Unsigned(MemberRefused::Signature)));
    assert_eq!(freshness(&as_freshness, &site.roots(), now()), Err(ManifestRefused::Unsigned(MemberRefused::Signature)));
}

#[test]
fn nobody_else_of_the_infrastructure_signs_for_the_site() {
    let site = Site::new();
    let payload = site.manifest(7, "a = 1", &[], &[]).payload;
    let refused = |profile: &Profile| {
        let signer = site.root.issue(profile).unwrap();
        read(&site, &sign_with(&signer, MANIFEST_CONTEXT, payload.clone())).unwrap_err()
    };
    let signer = || Profile::snapshot_signer("1");

    assert_eq!(refused(&Profile::role(Role::ConnectionPoint, "cp-1")), ManifestRefused::Unsigned(MemberRefused::WrongPurpose));
    assert_eq!(refused(&signer().without_usage()), ManifestRefused::Unsigned(MemberRefused::WrongPurpose));
    assert_eq!(refused(&signer().uri("spiffe://lab/snapshot/2")), ManifestRefused::Unsigned(MemberRefused::WrongRole));
    assert_eq!(refused(&signer().expired()), ManifestRefused::Unsigned(MemberRefused::NotInForce));
    assert_eq!(refused(&signer().not_yet_valid()), ManifestRefused::Unsigned(MemberRefused::NotInForce));
}

#[test]
fn another_site_and_an_empty_chain_count_nothing() {
    let (site, other) = (Site::new(), Site::new());
    let mut bare = site.manifest(7, "a = 1", &[], &[]);
    bare.chain.clear();

    assert_eq!(read(&site, &other.manifest(7, "a = 1", &[], &[])), Err(ManifestRefused::Unsigned(MemberRefused::Foreign)));
    assert_eq!(read(&site, &bare), Err(ManifestRefused::Unsigned(MemberRefused::Malformed)));
}

#[test]
fn what_is_for_another_member_or_not_newer_is_not_followed() {
    let site = Site::new();
    let signed = site.manifest(7, "a = 1", &[], &[]);
    let at = |epoch, number| manifest(&signed, ME, GenerationId { epoch, number }, &site.roots(), now());

    let other = manifest(&signed, "gateway/gw-2", GenerationId::default(), &site.roots(), now());
    assert_eq!(other, Err(ManifestRefused::OtherMember(ME.to_owned())));
    assert!(at(0, 6).is_ok());
    assert!(matches!(at(0, 7), Err(ManifestRefused::Older { .. })));
    assert!(matches!(at(1, 0), Err(ManifestRefused::Older { .. })));
}

#[test]
fn a_manifest_that_lacks_its_own_document_is_refused() {
    let site = Site::new();
    let mut payload: serde_json::Value = serde_json::from_str(&site.manifest(7, "a = 1", &[], &[]).payload).unwrap();
    payload["parts"] = serde_json::json!({});

    assert!(matches!(read(&site, &site.sign(MANIFEST_CONTEXT, payload.to_string())), Err(ManifestRefused::Incomplete(_))));
}

#[test]
fn a_cold_start_finds_the_last_good_snapshot() {
    let site = Site::new();
    let gateway = site.gateway();
    assert!(gateway.snapshots.current(ME, &site.roots()).unwrap().is_none());
    keep(&site, &gateway, 7, "a = 1", &[b"part"], &[]);
    keep(&site, &gateway, 8, "a = 2", &[b"part"], &[]);

    let current = gateway.snapshots.current(ME, &site.roots()).unwrap().unwrap();

    assert_eq!(current.generation.number, 8);
    assert_eq!(gateway.snapshots.missing(&current), []);
    assert_eq!(gateway.snapshots.document(&current).unwrap(), "a = 2");
    assert!(!gateway.snapshots.parts().has(&sha256(b"a = 1")), "nobody needs it any more");
}

#[test]
fn parts_of_a_snapshot_on_its_way_are_spared() {
    let site = Site::new();
    let gateway = site.gateway();
    let read = |signed| manifest(signed, ME, GenerationId::default(), &site.roots(), now()).unwrap();
    let (next, after) = (site.manifest(8, "a = 2", &[], &[]), site.manifest(9, "a = 3", &[], &[]));
    for (signed, text) in [(&next, "a = 2"), (&after, "a = 3")] {
        gateway.snapshots.clone().missing(&read(signed));
        gateway.snapshots.parts().write(&sha256(text.as_bytes()), text.as_bytes()).unwrap();
    }

    keep(&site, &gateway, 7, "a = 1", &[], &[]);
    let both = ["a = 2", "a = 3"].map(|text| gateway.snapshots.parts().has(&sha256(text.as_bytes())));
    keep(&site, &gateway, 9, "a = 3", &[], &[]);

    assert_eq!(both, [true, true]);
    assert!(!gateway.snapshots.parts().has(&sha256(b"a = 2")), "it was overtaken");
}

#[test]
fn parts_of_snapshots_that_are_refused_one_after_another_do_not_fill_the_disk() {
    let site = Site::new();
    let gateway = site.gateway();
    keep(&site, &gateway, 7, "a = 1", &[b"good"], &[]);
    let texts: Vec<String> = (8..100).map(|number| format!("wrong = {number}")).collect();

    for (number, text) in (8..).zip(&texts) {
        let signed = site.manifest(number, text, &[], &[]);
        gateway.snapshots.missing(&manifest(&signed, ME, GenerationId::default(), &site.roots(), now()).unwrap());
        gateway.snapshots.parts().write(&sha256(text.as_bytes()), text.as_bytes()).unwrap();
    }

    let is_here = |text: &str| gateway.snapshots.parts().has(&sha256(text.as_bytes()));
    let here = texts.iter().filter(|text| is_here(text)).count();
    assert_eq!(here, MOST_COMING);
    assert!(is_here("a = 1") && is_here("good") && is_here(texts.last().unwrap()));
}

#[test]
fn the_signer_may_run_out_while_the_site_is_away() {
    let mut site = Site::new();
    let gateway = site.gateway();
    site.signer = site.root.issue(&Profile::snapshot_signer("1").expired()).unwrap();
    let signed = site.manifest(7, "a = 1", &[], &[]);
    let then = WallTime(now().0 - 2 * 3_600);
    let then_good = manifest(&signed, ME, GenerationId::default(), &site.roots(), then).unwrap();
    gateway.snapshots.keep(&signed, &then_good, then).unwrap();

    assert_eq!(gateway.snapshots.current(ME, &site.roots()).unwrap(), Some(then_good));
}

#[test]
fn a_manifest_that_was_changed_on_the_disk_is_told() {
    let site = Site::new();
    let gateway = site.gateway();
    keep(&site, &gateway, 7, "a = 1", &[], &[]);
    let file = gateway.folder.path().join("current.json");

    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace(":7}", ":9}")).unwrap();

    assert!(gateway.snapshots.current(ME, &site.roots()).is_err());
}

#[test]
fn a_part_that_was_changed_on_the_disk_is_missing() {
    let site = Site::new();
    let gateway = site.gateway();
    keep(&site, &gateway, 7, "a = 1", &[b"part"], &[]);

    std::fs::write(gateway.folder.path().join("parts").join(sha256(b"part").to_string()), b"trap").unwrap();

    let current = gateway.snapshots.current(ME, &site.roots()).unwrap().unwrap();
    assert_eq!(gateway.snapshots.missing(&current), [(sha256(b"part"), 4)]);
    let files = gateway.snapshots.files(current, &gateway.identity.sealing).unwrap();
    let problem = files.read("trust.a.crls[0]", Path::new(&sha256(b"part").to_string())).unwrap_err();
    assert_eq!(problem.key, "trust.a.crls[0]");
}

#[test]
fn parts_and_secrets_read_as_files_do() {
    let site = Site::new();
    let gateway = site.gateway();
    let sealed = seal(gateway.identity.sealing.public(), ME, "web", b"the key").unwrap();
    keep(&site, &gateway, 7, "a = 1", &[b"part"], &[("web", &sealed)]);
    let current = gateway.snapshots.current(ME, &site.roots()).unwrap().unwrap();
    let files = gateway.snapshots.files(current, &gateway.identity.sealing).unwrap();
    let part = sha256(b"part").to_string();

    assert_eq!(files.read("key", Path::new(&part)).unwrap(), b"part");
    assert_eq!(files.read_secret("key", Path::new("sealed/web")).unwrap(), b"the key");
    for (secret, name) in [(false, "sealed/web"), (false, "/etc/passwd"), (false, &sha256(b"x").to_string())] {
        assert!(!secret && files.read("key", Path::new(name)).is_err(), "{name}");
    }
    for name in [&part, "sealed/other", "/etc/passwd", "sealed/../web", "web"] {
        assert!(files.read_secret("key", Path::new(name)).is_err(), "{name}");
    }
}

#[test]
fn a_secret_that_was_sealed_to_another_member_does_not_open() {
    let site = Site::new();
    let gateway = site.gateway();
    let sealed = seal(gateway.identity.sealing.public(), "gateway/gw-2", "web", b"the key").unwrap();
    keep(&site, &gateway, 7, "a = 1", &[], &[("web", &sealed)]);
    let current = gateway.snapshots.current(ME, &site.roots()).unwrap().unwrap();

    let files = gateway.snapshots.files(current, &gateway.identity.sealing).unwrap();

    assert!(files.read_secret("certificate[0].key", Path::new("sealed/web")).unwrap_err().what.contains("cannot be opened"));
}

#[test]
fn the_signers_chain_may_go_through_an_issuing_authority() {
    let site = Site::new();
    let issuing = site.root.issuing("Issuing").unwrap();
    let signer = issuing.issue(&Profile::snapshot_signer("2")).unwrap();
    let payload = site.manifest(7, "a = 1", &[], &[]).payload;

    let mut signed = sign_with(&signer, MANIFEST_CONTEXT, payload);
    assert_eq!(read(&site, &signed), Err(ManifestRefused::Unsigned(MemberRefused::Foreign)));
    signed.chain.push(Base64(issuing.certificate_der().to_vec()));

    assert_eq!(read(&site, &signed), Ok(7));
}
