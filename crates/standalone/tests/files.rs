//! Files that a configuration names: read, counted as files, and judged by the verifier that will use them.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::PathBuf;

use cmg_api::GatewayFile;
use cmg_core::problem::Problem;
use cmg_core::revocation::{Lenience, WhenStale};
use cmg_core::snapshot::Parts;
use cmg_core::time::WallTime;
use cmg_lab::{Authority, Lab, LabOptions, Profile, config};
use cmg_standalone::{Reading, expiry, gateway_parts, tunnel};
use tempfile::TempDir;
use toml::{Table, Value};

struct Site {
    _dir: TempDir,
    lab: Lab,
}

impl Site {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let lab = Lab::new(dir.path(), LabOptions::default()).unwrap();
        Self { _dir: dir, lab }
    }

    fn config(&self) -> &PathBuf {
        &self.lab.gateways[0].config
    }

    fn write(&self, name: &str, contents: &str) {
        std::fs::write(self.lab.site_dir().join(name), contents).unwrap();
    }

    /// Changes `[trust.devices]`.
    fn trust(&self, change: impl FnOnce(&mut Table)) {
        config::edit(self.config(), |file| change(file["trust"]["devices"].as_table_mut().unwrap())).unwrap();
    }

    fn read(&self) -> Result<Parts, Vec<Problem>> {
        let (mut reading, file) = Reading::open::<GatewayFile>(self.config());
        let file = file.unwrap();
        let parts = gateway_parts(&file, &mut reading);
        reading.judge(&parts);
        tunnel::authority(&file.tunnel.authority, &parts, &mut reading);
        reading.finish(Some(parts))
    }

    fn overdue_lists(&self) -> Vec<String> {
        let (mut reading, file) = Reading::open::<GatewayFile>(self.config());
        let parts = gateway_parts(&file.unwrap(), &mut reading);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        reading.overdue_lists(&parts, WallTime(now.as_secs())).iter().map(ToString::to_string).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.read().err().unwrap_or_default().into_iter().map(|problem| problem.key).collect()
    }
}

fn names(files: &[&str]) -> Value {
    Value::Array(files.iter().map(|file| Value::from(*file)).collect())
}

#[test]
fn a_trust_policy_holds_what_is_in_its_files() {
    let site = Site::new();
    site.write("two.pem", &(site.lab.clients_root.certificate_pem() + &site.lab.servers.certificate_pem()));
    site.trust(|trust| {
        trust["authorities"] = names(&["two.pem"]);
        trust["stale_crl"] = "allow".into();
    });

    let parts = site.read().unwrap();

    let trust = &parts.trusts[0];
    assert_eq!(trust.authorities, [site.lab.clients_root.certificate_der(), site.lab.servers.certificate_der()]);
    assert_eq!((trust.intermediates.len(), trust.lists.len()), (1, 2));
    assert!(trust.revocation.check);
    assert_eq!((trust.revocation.stale, trust.revocation.unknown), (WhenStale::Allow, Lenience::Deny));
}

#[test]
fn a_wrong_certificate_is_named_by_its_file_and_not_by_its_number() {
    let site = Site::new();
    let leaf = site.lab.servers.server(&["localhost"]).unwrap().certificate_pem;
    site.write("two.pem", &(site.lab.clients.certificate_pem() + &site.lab.servers.certificate_pem()));
    site.write("leaf.pem", &leaf);
    site.trust(|trust| trust["intermediates"] = names(&["two.pem", "leaf.pem"]));

    assert_eq!(site.problems(), ["trust.devices.intermediates[1]"]);
}

#[test]
fn a_list_that_its_authority_did_not_sign_is_a_problem() {
    let site = Site::new();
    let namesake = Authority::root("Lab Clients Root").unwrap();
    site.write("clients-root.crl", &namesake.crl(&[]).unwrap().pem);

    assert_eq!(site.problems(), ["trust.devices.crls[0]"]);
}

#[test]
fn authorities_that_cannot_be_read_are_one_problem_each() {
    let site = Site::new();
    site.trust(|trust| trust["authorities"] = names(&["absent.pem", "server.key"]));

    assert_eq!(site.problems(), ["trust.devices.authorities[0]", "trust.devices.authorities[1]"]);
}

#[test]
fn no_authority_at_all_is_one_problem() {
    let site = Site::new();
    site.trust(|trust| trust["authorities"] = names(&[]));

    assert_eq!(site.problems(), ["trust.devices.authorities"]);
}

#[test]
fn the_infrastructure_authority_is_none_for_clients() {
    for key in ["authorities", "intermediates"] {
        let site = Site::new();
        site.trust(|trust| trust[key] = names(&["clients-root.pem", "infrastructure-ca.pem"]));

        assert_eq!(site.problems(), [format!("trust.devices.{key}")]);
    }
}

#[test]
fn a_policy_has_a_name_that_can_be_written() {
    let site = Site::new();
    config::edit(site.config(), |file| {
        let devices = file["trust"]["devices"].clone();
        file["trust"].as_table_mut().unwrap().insert("a b".into(), devices);
    })
    .unwrap();

    assert_eq!(site.problems(), ["trust.a b"]);
}

#[test]
fn a_leeway_beyond_five_minutes_is_a_problem_to_the_millisecond() {
    let site = Site::new();
    let with = |leeway: &str| {
        config::edit(site.config(), |file| {
            file["token_key"][0].as_table_mut().unwrap().insert("leeway".into(), leeway.into());
        })
        .unwrap();
        site.problems()
    };

    assert_eq!(with("5m"), [""; 0]);
    assert_eq!(with("300001ms"), ["token_key[0].leeway"]);
}

#[test]
fn a_token_key_says_whose_tokens_it_signs() {
    let site = Site::new();
    config::edit(site.config(), |file| {
        file["token_key"][0]["issuer"] = "".into();
        file["token_key"][0]["id"] = "".into();
    })
    .unwrap();

    assert_eq!(site.problems(), ["token_key[0].id", "token_key[0].issuer"]);
}

#[test]
fn a_certificate_outside_its_time_is_a_finding() {
    let root = Authority::root("root").unwrap();
    let (start, day) = (std::time::UNIX_EPOCH, 86_400);
    let profile =
        Profile::client("pc1").valid(start + std::time::Duration::from_secs(100 * day), start + std::time::Duration::from_secs(200 * day));
    let certificate = root.issue(&profile).unwrap().der;
    let finding = |now: u64| expiry::findings("key", [&certificate], WallTime(now)).first().map(ToString::to_string);

    assert_eq!(finding(150 * day), None);
    assert_eq!(finding(170 * day - 1), None);
    assert_eq!(finding(170 * day).as_deref(), Some("key: the certificate of `CN=pc1` expires 30 days from now"));
    assert_eq!(finding(199 * day + 1).as_deref(), Some("key: the certificate of `CN=pc1` expires less than a day from now"));
    assert_eq!(finding(201 * day).as_deref(), Some("key: the certificate of `CN=pc1` expired 1 day ago"));
    assert_eq!(finding(98 * day).as_deref(), Some("key: the certificate of `CN=pc1` counts only 2 days from now"));
}

fn grace(text: &str) -> Value {
    Value::Table([("grace".to_owned(), Value::from(text))].into_iter().collect())
}

#[test]
fn a_grace_for_lists_is_bounded() {
    let site = Site::new();
    site.trust(|trust| trust["stale_crl"] = grace("7d"));
    assert_eq!(site.read().unwrap().trusts[0].revocation.stale, WhenStale::Grace { seconds: 7 * 86_400 });

    for text in ["0s", "31d"] {
        site.trust(|trust| trust["stale_crl"] = grace(text));
        let problems = site.read().unwrap_err();
        assert!(problems.iter().any(|problem| problem.key == "trust.devices.stale_crl"), "{problems:?}");
    }
}

#[test]
fn a_list_that_is_out_of_date_is_a_finding_where_that_refuses_clients() {
    let site = Site::new();
    let (root, issuing) = (&site.lab.clients_root, &site.lab.clients);
    site.write("two.crl", &(root.crl(&[]).unwrap().pem + &root.stale_crl(&[]).unwrap().pem));
    site.write("clients-issuing.crl", &issuing.stale_crl(&[]).unwrap().pem);
    site.trust(|trust| trust["crls"] = names(&["two.crl", "clients-issuing.crl"]));

    let found = site.overdue_lists();

    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("trust.devices.crls[1]: the revocation list is out of date since 2"), "{found:?}");
    for (key, value) in [("stale_crl", Value::from("allow")), ("check_revocation", Value::from(false))] {
        site.trust(|trust| _ = trust.insert(key.to_owned(), value));
        assert!(site.overdue_lists().is_empty());
        site.trust(|trust| _ = trust.remove(key));
    }
    site.trust(|trust| _ = trust.insert("stale_crl".to_owned(), grace("30d")));
    assert!(site.overdue_lists()[0].contains("refused from 2"), "{:?}", site.overdue_lists());
    site.trust(|trust| _ = trust.insert("stale_crl".to_owned(), grace("1s")));
    assert!(site.overdue_lists()[0].contains("refused until it is replaced"), "{:?}", site.overdue_lists());
    site.trust(|trust| _ = trust.remove("stale_crl"));
    site.write("clients-issuing.crl", &issuing.crl(&[]).unwrap().pem);
    assert!(site.overdue_lists().is_empty());
}
