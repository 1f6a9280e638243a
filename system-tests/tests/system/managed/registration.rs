//! Clients register, renew and exchange over the internet, through gateway, connection point, management point and site server.

use cmg_lab::lab::HOST;
use cmg_lab::{Issued, Lab, Program, ProofKey, Signal};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{Caller, ManagedSite, PATIENCE, Reply, binary, until, wait};

const REGISTER: &str = "/cmg/v1/register";
pub(super) const RENEW: &str = "/cmg/v1/token";

/// A device on the internet with a key of its own.
pub(super) struct Device {
    caller: Caller,
    key: ProofKey,
}

impl Device {
    pub(super) fn new(managed: &ManagedSite) -> Self {
        Self { caller: managed.callers(None).remove(0), key: ProofKey::new().unwrap() }
    }

    /// Asks with a token and a proof; once more with the nonce where one is asked for.
    pub(super) fn ask(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
        let reply = self.ask_with(method, path, token, body, None);
        match reply.field("DPoP-Nonce") {
            Some(nonce) if reply.status == 401 => self.ask_with(method, path, token, body, Some(nonce)),
            _ => reply,
        }
    }

    fn ask_with(&self, method: &str, path: &str, token: &str, body: &Value, nonce: Option<&str>) -> Reply {
        let proof = self.key.proof(method, &format!("https://{HOST}{path}"), token, nonce).unwrap();
        let bearer = format!("Bearer {token}");
        let fields = [("Authorization", bearer.as_str()), ("DPoP", proof.as_str()), ("Content-Type", "application/json")];
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.caller.request(method, path, &fields, &body)
    }

    pub(super) fn register(&self, token: &str) -> Reply {
        self.ask("POST", REGISTER, token, &json!({ "name": "PC-1" }))
    }
}

fn of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{} {}: {}", reply.status, reply.reason, reply.text()))
}

pub(super) fn text(reply: &Reply, field: &str) -> String {
    of(reply)[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", reply.text())).to_owned()
}

fn reason(reply: &Reply) -> (u16, String) {
    (reply.status, text(reply, "type").trim_start_matches("/problems/").to_owned())
}

pub(super) fn bulk(managed: &ManagedSite, wanted: Value) -> (String, String) {
    let made = managed.api.add("bulk-tokens", &wanted).unwrap();
    (made["token"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned())
}

/// The published address of the exchange.
pub(super) fn exchange(managed: &ManagedSite) -> String {
    let point = managed.api.ask("GET", "/management-points/management-point-1", None).unwrap();
    format!("/CCM_Proxy_ServerAuth/{}/CCM_STS", point["role_id"].as_str().unwrap())
}

pub(super) fn with_ccm(managed: &ManagedSite) {
    let endpoint = json!({
        "name": "ccm",
        "prefix": "/ccm",
        "face": "server",
        "token_kinds": ["ccm"],
        "audiences": ["urn:sccm:service"],
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
    managed.everywhere();
}

fn restart(program: &mut Program) {
    wait(program.signal(Signal::Kill)).unwrap();
    wait(program.wait()).unwrap();
    let plan = program.plan.clone();
    *program = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(program.wait_for("/readyz", PATIENCE)).unwrap();
}

#[test]
fn a_client_registers_works_renews_and_exchanges_over_the_internet() {
    let managed = ManagedSite::of(1, 1);
    with_ccm(&managed);
    let (device, (token, id)) = (Device::new(&managed), bulk(&managed, json!({})));

    let registered = device.register(&token);
    assert_eq!(registered.status, 201, "{}", registered.text());
    let own = text(&registered, "token");
    let at_work = device.ask("GET", &(managed.site.server() + "/echo"), &own, &Value::Null);
    assert_eq!(at_work.status, 200, "{} {}", at_work.reason, at_work.text());

    let renewed = device.ask("POST", RENEW, &own, &Value::Null);
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(text(&renewed, "client_id"), text(&registered, "client_id"));
    for token in [&own, &text(&renewed, "token")] {
        assert_eq!(device.ask("GET", &(managed.site.server() + "/echo"), token, &Value::Null).status, 200, "both count");
    }

    let exchanged = device.ask("POST", &exchange(&managed), &own, &Value::Null);
    assert_eq!(exchanged.status, 200, "{}", exchanged.text());
    let ccm = text(&exchanged, "access_token");
    assert_eq!(device.ask("GET", "/ccm/echo", &ccm, &Value::Null).status, 200);
    assert_eq!(managed.api.ask("GET", &format!("/bulk-tokens/{id}"), None).unwrap()["uses"], 1);
}

#[test]
fn a_bulk_token_that_is_used_up_lets_the_same_client_in_again_and_no_other() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let (device, other) = (Device::new(&managed), Device::new(&managed));
    let (token, _) = bulk(&managed, json!({ "max_uses": 1 }));

    let (first, again, other) = (device.register(&token), device.register(&token), other.register(&token));

    assert_eq!((first.status, again.status), (201, 201), "{} {}", first.text(), again.text());
    assert_eq!(text(&first, "client_id"), text(&again, "client_id"));
    assert_eq!(reason(&other), (403, "token-used-up".to_owned()));
    assert_eq!(device.ask("POST", RENEW, &token, &Value::Null).status, 403, "it counts where devices register only");
}

#[test]
fn a_bulk_token_of_another_network_is_refused() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let device = Device::new(&managed);

    let (elsewhere, _) = bulk(&managed, json!({ "network": "203.0.113.0/24" }));
    let (here, _) = bulk(&managed, json!({ "network": "127.0.0.0/8" }));

    assert_eq!(reason(&device.register(&elsewhere)), (403, "wrong-network".to_owned()));
    assert_eq!(device.register(&here).status, 201);
}

#[test]
fn a_blocked_client_is_refused_everywhere_and_what_is_under_way_ends() {
    let managed = ManagedSite::of(1, 1);
    with_ccm(&managed);
    let (device, (token, _)) = (Device::new(&managed), bulk(&managed, json!({})));
    let registered = device.register(&token);
    let own = text(&registered, "token");
    let ccm = text(&device.ask("POST", &exchange(&managed), &own, &Value::Null), "access_token");
    let mut wire = device.caller.open();
    // Events for an hour.
    wire.send("GET", "/ccm/events?count=36000&every=100", &[("Authorization", &format!("Bearer {ccm}"))], b"");
    assert_eq!(wire.read_head().unwrap().status, 200);
    wire.read_chunk().unwrap();

    let client = text(&registered, "client_id");
    managed.api.ask("POST", &format!("/devices/{client}/block"), Some(&json!({ "note": "stolen" }))).unwrap();

    until("its tokens are refused", || {
        let refused = |path: &str, token: &str| device.ask("GET", path, token, &Value::Null).status == 401;
        (refused("/ccm/echo", &ccm) && refused(&(managed.site.server() + "/echo"), &own)).then_some(())
    });
    until("the answer under way ends", || wire.read_chunk().err());
    assert_eq!(reason(&device.register(&token)), (403, "client-blocked".to_owned()));
}

#[test]
fn a_kill_of_management_point_and_site_server_loses_nothing_acknowledged() {
    let mut managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let (device, (token, id)) = (Device::new(&managed), bulk(&managed, json!({ "max_uses": 1 })));
    let registered = device.register(&token);
    assert_eq!(registered.status, 201, "{}", registered.text());

    restart(&mut managed.site.system.management_points[0]);
    wait(managed.server().signal(Signal::Kill)).unwrap();
    wait(managed.server().wait()).unwrap();
    let away = device.register(&token);
    assert_eq!(reason(&away), (503, "unavailable".to_owned()));
    assert!(away.field("Retry-After").is_some());
    let plan = managed.server().plan.clone();
    *managed.server() = wait(async { Program::start(binary(), plan) }).unwrap();
    wait(managed.server().wait_for("/readyz", PATIENCE)).unwrap();

    let again = until("clients are served again", || Some(device.register(&token)).filter(|reply| reply.status == 201));
    assert_eq!(text(&again, "client_id"), text(&registered, "client_id"));
    assert_eq!(managed.api.ask("GET", &format!("/bulk-tokens/{id}"), None).unwrap()["uses"], 1);
    assert_eq!(device.ask("POST", RENEW, &text(&registered, "token"), &Value::Null).status, 200);
}

/// The certificate that the site has issued to a member.
fn of_member(lab: &Lab, name: &str) -> Issued {
    let read = |file: &str| std::fs::read_to_string(lab.site_dir().join(format!("{name}-data/{file}"))).unwrap();
    let (chain_pem, key_pem) = (read("role.pem"), read("role.key"));
    let der = CertificateDer::from_pem_slice(chain_pem.as_bytes()).unwrap().to_vec();
    Issued { certificate_pem: chain_pem.clone(), chain_pem, key_pem, der, serial: Vec::new() }
}

/// It goes on running and shows its certificate, which has not ended.
#[test]
fn a_connection_point_believes_no_management_point_that_was_revoked() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let (device, (token, _)) = (Device::new(&managed), bulk(&managed, json!({})));
    assert_eq!(device.register(&token).status, 201);
    let issued = managed.api.ask("GET", "/issued-certificates?search=management-point/", None).unwrap();
    let serial = issued["items"][0]["serial"].as_str().unwrap();

    managed.api.ask("POST", &format!("/issued-certificates/{serial}/revoke"), None).unwrap();

    until("it is refused", || (device.register(&token).status == 502).then_some(()));
    let own = of_member(managed.site.lab(), &managed.site.lab().connection_points[0].name);
    assert!(at_the_point(&managed, Some(&own)).is_ok(), "it would go on answering whoever believes it");
}

/// What is answered at the management point's own port to who shows this certificate and believes everybody.
fn at_the_point(managed: &ManagedSite, certificate: Option<&Issued>) -> std::io::Result<Reply> {
    let lab = managed.site.lab();
    let port = lab.site.as_ref().unwrap().management_point.port;
    let caller = Caller::new(lab, certificate).port(port).host("localhost").tls(|tls| {
        tls.dangerous().set_certificate_verifier(std::sync::Arc::new(crate::tls::tunnels::AnyServer));
    });
    caller.try_open().and_then(|mut wire| {
        wire.send("POST", REGISTER, &[("X-Forwarded-For", "203.0.113.7")], b"{}");
        wire.try_read()
    })
}

/// Who has proven no role comes in, and is no connection point for that.
#[test]
fn nobody_but_a_connection_point_tells_a_management_point_who_a_client_is() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let lab = managed.site.lab();

    for certificate in [None, Some(&lab.client)] {
        let answered = at_the_point(&managed, certificate).unwrap();
        assert_eq!(reason(&answered), (421, "misdirected".to_owned()), "by a name that the site has told no client");
    }
    let point = of_member(lab, &lab.connection_points[0].name);
    let answered = at_the_point(&managed, Some(&point)).unwrap();
    assert_eq!(reason(&answered), (400, "malformed".to_owned()), "a connection point comes in, and tells of no client");
}
