//! Server certificates from a real ACME server, by every way of proof.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cmg_lab::ports::free_port;
use cmg_lab::{Lab, LabOptions, Signal};
use serde_json::{Value, json};

use super::absence::{kill, restart_killed};
use crate::support::{Asks, Caller, KEY_ID, MAC_KEY, ManagedSite, Pebble, metric_of, until, until_within, wait};

/// The name of the service.
const NAME: &str = "cmg.example.com";

/// What stands in the place of an error while a certificate is ordered.
const CUT_OFF: &str = "the try before was cut off";

/// Longer than an order takes, and than the site's jobs wait after a site server has died (30 s).
const LONG: Duration = Duration::from_secs(120);

/// A managed site and an ACME server that asks its gateways.
struct AcmeLab {
    managed: ManagedSite,
    pebble: Pebble,
}

impl AcmeLab {
    /// With that many gateway instances, and whatever `bend` changes; none: the ACME server is not installed.
    fn of(gateways: usize, bend: impl FnOnce(&Lab, &Pebble, u16)) -> Option<Self> {
        Self::with(gateways, false, bend)
    }

    /// The same, where accounts are bound to an external account, or not.
    fn with(gateways: usize, external: bool, bend: impl FnOnce(&Lab, &Pebble, u16)) -> Option<Self> {
        let mut pebble = None;
        let options = LabOptions { gateways, connection_points: 1, managed: true, ..LabOptions::default() };
        let managed = ManagedSite::with(options, |lab| {
            let asks = Asks { tls: lab.service_port, http: free_port().unwrap(), external };
            pebble = Pebble::start(&lab.dir, &lab.servers, &asks);
            if let Some(pebble) = &pebble {
                bend(lab, pebble, asks.http);
            }
        });
        Some(Self { managed, pebble: pebble? })
    }

    /// Adds a certificate that the ACME server issues, and has the gateway show it besides its own, or alone.
    fn order(&self, acme: Value, shown: &[&str]) {
        self.managed.api.add("certificates", &json!({ "name": "web", "acme": acme })).unwrap();
        let mut gateway = self.managed.api.ask("GET", "/gateways/main", None).unwrap();
        (gateway["certificates"], gateway["host"]) = (json!(shown), json!(NAME));
        self.managed.api.ask("PUT", "/gateways/main", Some(&gateway)).unwrap();
    }

    fn certificate(&self) -> Value {
        self.managed.api.ask("GET", "/certificates/web", None).unwrap()
    }

    /// Waits for a certificate other than that of this fingerprint, and until it is everywhere.
    fn issued_after(&self, fingerprint: &str) -> String {
        let mut last = Value::Null;
        let issued = until_within(LONG, "a certificate comes", || {
            last = self.certificate();
            let error = &last["acme_status"]["error"];
            assert!(error.is_null() || error == CUT_OFF, "{last}");
            last["fingerprint"].as_str().filter(|now| !now.is_empty() && *now != fingerprint).map(str::to_owned)
        });
        self.managed.everywhere();
        issued
    }

    /// Callers of each instance who believe the ACME server's root and no other.
    fn believers(&self) -> Vec<Caller> {
        let root = self.pebble.root();
        let client = &self.managed.site.lab().client;
        self.managed.devices().into_iter().map(|device| device.host(NAME).believing(&root, Some(client))).collect()
    }

    fn path(&self) -> String {
        self.managed.site.mutual() + "/echo"
    }

    fn challenges_answered(&self, gateway: usize) -> f64 {
        metric_of(&self.managed.site.system.gateways[gateway], "cmg_gateway_acme_challenges_total")
    }

    /// What the status of the site finds about an instance.
    fn findings(&self, gateway: &str) -> String {
        let status = self.managed.status();
        let members = status["members"].as_array().unwrap();
        members.iter().find(|member| member["member"] == gateway).unwrap()["findings"].to_string()
    }
}

#[test]
fn a_certificate_is_proven_by_whichever_instance_is_asked_and_renewed_without_a_dropped_connection() {
    let Some(lab) = AcmeLab::of(2, |_, _, _| {}) else { return };
    lab.pebble.points(NAME, "127.0.0.2");

    lab.order(lab.pebble.orders(&[NAME]), &["web"]);
    let first = lab.issued_after("");

    // It looks several times, from several places.
    assert!(lab.challenges_answered(0) > 0.0 && lab.challenges_answered(1) == 0.0);
    let mut standing: Vec<_> = lab.believers().iter().map(Caller::open).collect();
    for wire in &mut standing {
        wire.send("GET", &lab.path(), &[], b"");
        assert_eq!(wire.read().status, 200);
    }

    lab.pebble.points(NAME, "127.0.0.3");
    lab.managed.api.ask("POST", "/certificates/web/renew", None).unwrap();
    let second = lab.issued_after(&first);

    assert!(lab.challenges_answered(1) > 0.0);
    assert_ne!(first, second);
    for (device, wire) in lab.believers().iter().zip(&mut standing) {
        assert_eq!(device.open().shown_fingerprint(), second);
        assert_eq!(device.get(&lab.path()).status, 200);
        wire.send("GET", &lab.path(), &[], b"");
        assert_eq!(wire.read().status, 200, "a connection of before the renewal goes on");
    }
    let refused = lab.managed.api.ask("POST", "/certificates/web/renew", None).unwrap_err().to_string();
    assert!(refused.contains("429"), "{refused}");
}

#[test]
fn a_gateway_without_a_certificate_waits_for_it_and_says_so() {
    let Some(lab) = AcmeLab::of(1, |_, _, _| {}) else { return };
    lab.pebble.points(NAME, "127.0.0.9");

    lab.order(lab.pebble.orders(&[NAME]), &["web"]);

    let failed = until_within(LONG, "the order fails", || {
        let status = lab.certificate()["acme_status"].clone();
        (status["error"].is_string() && status["error"] != CUT_OFF).then_some(status)
    });
    assert!(failed["error"].as_str().unwrap().contains(NAME), "{failed}");
    assert!(failed["next_at"].as_i64() > failed["tried_at"].as_i64(), "{failed}");
    assert!(lab.managed.api.ask("GET", "/warnings", None).unwrap().to_string().contains("does not come from its ACME server"));
    until("the gateway says what it waits for", || {
        lab.findings("gateway/gateway-1").contains("has not come from its ACME server").then_some(())
    });

    lab.pebble.points(NAME, "127.0.0.2");
    lab.managed.api.ask("POST", "/certificates/web/renew", None).unwrap();

    until_within(LONG, "it comes", || lab.certificate()["fingerprint"].as_str().filter(|now| !now.is_empty()).map(drop));
    lab.managed.everywhere();
    assert_eq!(lab.believers()[0].get(&lab.path()).status, 200);
    assert!(!lab.managed.api.ask("GET", "/warnings", None).unwrap().to_string().contains("ACME server"));
}

#[test]
fn an_account_is_bound_to_an_external_account_by_the_key_that_the_acme_server_gave() {
    let Some(lab) = AcmeLab::with(1, true, |_, _, _| {}) else { return };
    lab.pebble.points(NAME, "127.0.0.2");
    let mut orders = lab.pebble.orders(&[NAME]);

    lab.order(orders.clone(), &["web"]);
    let without = until_within(LONG, "the order fails", || {
        lab.certificate()["acme_status"]["error"].as_str().filter(|error| *error != CUT_OFF).map(str::to_owned)
    });
    orders["external_account"] = json!({ "key_id": KEY_ID, "hmac_key": MAC_KEY });
    lab.managed.api.ask("PUT", "/certificates/web", Some(&json!({ "name": "web", "acme": orders }))).unwrap();

    assert!(without.contains("externalAccountRequired"), "{without}");

    until_within(LONG, "it comes", || lab.certificate()["fingerprint"].as_str().filter(|now| !now.is_empty()).map(drop));
    lab.managed.everywhere();
    assert_eq!(lab.believers()[0].get(&lab.path()).status, 200);
    assert!(!lab.certificate().to_string().contains(MAC_KEY), "the key is never shown");
}

#[test]
fn a_wildcard_is_proven_by_dns_through_the_administrators_program() {
    let Some(lab) = AcmeLab::of(1, with_hook) else { return };

    let mut orders = lab.pebble.orders(&["*.example.com", "example.com"]);
    (orders["challenge"], orders["hook"]) = (json!("dns-01"), json!("test"));
    lab.order(orders, &["server", "web"]);
    lab.issued_after("");

    assert_eq!(lab.certificate()["names"].as_array().unwrap().len(), 2);
    assert_eq!(lab.believers()[0].get(&lab.path()).status, 200, "the name is one of the wildcard's");
    let said = fs::read_to_string(lab.managed.site.lab().dir.join("hook.log")).unwrap();
    let asked = |action: &str| said.lines().filter(|line| line.starts_with(&format!("{action} example.com "))).count();
    assert_eq!((asked("present"), asked("cleanup")), (2, 2), "{said}");
}

#[test]
fn a_hook_that_the_site_server_does_not_have_is_refused() {
    let Some(lab) = AcmeLab::of(1, |_, _, _| {}) else { return };
    let mut orders = lab.pebble.orders(&["*.example.com"]);
    (orders["challenge"], orders["hook"]) = (json!("dns-01"), json!("/bin/sh"));

    let refused = lab.managed.api.add("certificates", &json!({ "name": "web", "acme": orders })).unwrap_err().to_string();

    assert!(refused.contains("acme.hook"), "{refused}");
}

/// Lets certificates name a program that changes the test's DNS.
fn with_hook(lab: &Lab, pebble: &Pebble, _: u16) {
    let (log, url) = (lab.dir.join("hook.log"), pebble.dns_url());
    let hook = lab.dir.join("hook");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {log}\ncase $1 in present) to=set-txt ;; *) to=clear-txt ;; esac\n\
         exec curl --silent --fail --data \"{{\\\"host\\\":\\\"_acme-challenge.$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" {url}/$to\n",
        log = log.display(),
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    prepend(&lab.site.as_ref().unwrap().config, &format!("acme_hooks = {{ test = {hook:?} }}\n"));
}

fn prepend(path: &Path, text: &str) {
    let before = fs::read_to_string(path).unwrap();
    fs::write(path, text.to_owned() + &before).unwrap();
}

#[test]
fn http_is_answered_where_a_port_is_opened_and_says_nothing_else() {
    let mut port = 0;
    let opened = |lab: &Lab, _: &Pebble, http: u16| {
        port = http;
        for gateway in &lab.gateways {
            prepend(&gateway.config, &format!("acme_listen = [\"{}:{http}\"]\n", gateway.address));
        }
    };
    let Some(lab) = AcmeLab::of(1, opened) else { return };
    lab.pebble.points(NAME, "127.0.0.2");

    let mut orders = lab.pebble.orders(&[NAME]);
    orders["challenge"] = json!("http-01");
    lab.order(orders, &["server", "web"]);
    lab.issued_after("");

    assert_eq!(lab.believers()[0].get(&lab.path()).status, 200);
    assert_eq!(lab.challenges_answered(0), 0.0);
    let ask = |request: &str| {
        let mut socket = TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    };
    for request in
        ["GET / HTTP/1.1\r\n\r\n", "GET /.well-known/acme-challenge/x HTTP/1.1\r\n\r\n", "POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n"]
    {
        assert!(ask(request).starts_with("HTTP/1.1 404 "), "{request}");
    }
    assert_eq!(ask(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(5_000))), "");
}

#[test]
fn http_without_an_opened_port_is_a_failure_that_names_the_instance() {
    let Some(lab) = AcmeLab::of(1, |_, _, _| {}) else { return };
    let mut orders = lab.pebble.orders(&[NAME]);
    orders["challenge"] = json!("http-01");

    lab.order(orders, &["server", "web"]);

    until("it is told", || {
        let error = lab.certificate()["acme_status"]["error"].as_str().unwrap_or_default().to_owned();
        (error.contains("gateway/gateway-1: acme_listen")).then_some(())
    });
}

#[test]
fn a_site_server_that_dies_in_the_middle_of_an_order_takes_it_back_and_begins_anew() {
    let Some(mut lab) = AcmeLab::of(2, |_, _, _| {}) else { return };
    lab.pebble.points(NAME, "127.0.0.2");
    wait(lab.managed.site.system.gateways[1].signal(Signal::Freeze)).unwrap();

    lab.order(lab.pebble.orders(&[NAME]), &["server", "web"]);

    // The other instance has the challenge in force, and answers whoever asks.
    let asks = lab.managed.devices().remove(0).host(NAME).asking_for_a_challenge();
    until("the challenge is in force at the first instance", || asks.try_open().ok().map(drop));
    assert!(lab.certificate()["acme_status"]["issued_at"].is_null(), "the server is not told to look while an instance lags");
    kill(lab.managed.server());
    wait(lab.managed.site.system.gateways[1].signal(Signal::Resume)).unwrap();
    restart_killed(lab.managed.server());

    until_within(LONG, "the challenge is taken back", || asks.try_open().is_err().then_some(()));
    lab.managed.api.ask("POST", "/certificates/web/renew", None).unwrap();
    lab.issued_after("");
    assert!(lab.certificate()["acme_status"]["error"].is_null());
}

#[test]
fn a_challenge_that_nobody_ordered_is_refused() {
    let managed = ManagedSite::of(1, 1);

    let refused = managed.devices().remove(0).asking_for_a_challenge().try_open();

    assert!(refused.is_err());
    let counted = || metric_of(managed.site.gateway(), "cmg_gateway_connections_refused_total{reason=\"challenge_refused\"}");
    until("it is counted", || (counted() == 1.0).then_some(()));
}
