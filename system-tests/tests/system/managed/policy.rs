//! Devices get their policy: through a gateway, directly on the intranet, and through an internet-facing nginx in front of a management
//! point. Each time it is the site's word; and whoever comes without a connection point is believed what it proves, and nothing else.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cmg_api::control::Signed;
use cmg_api::policy::{POLICY_CONTEXT, Policy, ServiceKind};
use cmg_core::time::WallTime;
use cmg_credentials::members::Statement;
use cmg_lab::lab::HOST;
use cmg_lab::ports::free_port;
use cmg_lab::{Issued, ProofKey};
use pki_types::CertificateDer;
use pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::support::{Caller, ManagedSite, Reply};
use crate::third_parties::{Running, have};

const REGISTER: &str = "/cmg/v1/register";
const POLICY: &str = "/cmg/v1/policy";
const LOCATION: &str = "/cmg/v1/location";

/// How a device reaches a management point: by whom, and under which address.
struct Way {
    caller: Caller,
    base: String,
}

/// A device with a key of its own, and the token that it has.
struct Device {
    key: ProofKey,
    token: String,
}

impl Device {
    /// Registers with a bulk registration token.
    fn registered(managed: &ManagedSite, way: &Way) -> Self {
        let made = managed.api.add("bulk-tokens", &json!({})).unwrap();
        let unknown = Self { key: ProofKey::new().unwrap(), token: made["token"].as_str().unwrap().to_owned() };
        let registered = unknown.ask(way, "POST", REGISTER, &[("Content-Type", "application/json")], br#"{"name":"PC-1"}"#);
        assert_eq!(registered.status, 201, "{}", registered.text());
        Self { token: of(&registered)["token"].as_str().unwrap().to_owned(), ..unknown }
    }

    /// Asks with the token and a proof; once more with the nonce where one is asked for.
    fn ask(&self, way: &Way, method: &str, path: &str, more: &[(&str, &str)], body: &[u8]) -> Reply {
        let reply = self.ask_with(way, method, path, more, body, &self.proof(way, method, path, None));
        match reply.field("DPoP-Nonce") {
            Some(nonce) if reply.status == 401 => self.ask_with(way, method, path, more, body, &self.proof(way, method, path, Some(nonce))),
            _ => reply,
        }
    }

    fn get(&self, way: &Way, path: &str) -> Reply {
        self.ask(way, "GET", path, &[], b"")
    }

    fn proof(&self, way: &Way, method: &str, path: &str, nonce: Option<&str>) -> String {
        self.key.proof(method, &format!("{}{path}", way.base), &self.token, nonce).unwrap()
    }

    fn ask_with(&self, way: &Way, method: &str, path: &str, more: &[(&str, &str)], body: &[u8], proof: &str) -> Reply {
        let token = format!("Bearer {}", self.token);
        let fields: Vec<_> = [("Authorization", token.as_str()), ("DPoP", proof)].into_iter().chain(more.iter().copied()).collect();
        way.caller.request(method, path, &fields, body)
    }
}

fn of(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{} {}: {}", reply.status, reply.reason, reply.text()))
}

fn reason(reply: &Reply) -> (u16, String) {
    (reply.status, of(reply)["type"].as_str().unwrap_or_default().trim_start_matches("/problems/").to_owned())
}

/// The root of the site's infrastructure authority, PEM.
fn root(managed: &ManagedSite) -> String {
    let name = &managed.site.lab().site.as_ref().unwrap().management_point.name;
    std::fs::read_to_string(managed.site.lab().site_dir().join(format!("{name}-data/authority.pem"))).unwrap()
}

fn port(managed: &ManagedSite) -> u16 {
    managed.site.lab().site.as_ref().unwrap().management_point.port
}

fn through_gateway(managed: &ManagedSite) -> Way {
    Way { caller: managed.callers(None).remove(0), base: format!("https://{HOST}") }
}

/// Directly to the management point, which proves itself under the site's own root.
fn direct(managed: &ManagedSite, certificate: Option<&Issued>) -> Way {
    let authority = format!("localhost:{}", port(managed));
    let caller = Caller::new(managed.site.lab(), certificate).port(port(managed)).host("localhost").host_field(&authority);
    Way { caller: caller.believing(&root(managed), certificate), base: format!("https://{authority}") }
}

/// The policy in an answer, verified under the site's root.
fn verified(managed: &ManagedSite, reply: &Reply) -> Policy {
    assert_eq!(reply.status, 200, "{} {}", reply.reason, reply.text());
    let root = CertificateDer::from_pem_slice(root(managed).as_bytes()).unwrap().to_vec();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let signed: Signed = serde_json::from_slice(&reply.body).unwrap();
    let chain: Vec<_> = signed.chain.iter().map(|der| &der.0).collect();
    let statement = Statement { payload: signed.payload.as_bytes(), chain: &chain, signature: &signed.signature.0 };
    statement.verify(POLICY_CONTEXT, &[root], WallTime(now)).unwrap();
    serde_json::from_str(&signed.payload).unwrap()
}

#[test]
fn a_device_gets_the_sites_policy_through_a_gateway() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let way = through_gateway(&managed);
    let device = Device::registered(&managed, &way);

    let answered = device.get(&way, POLICY);

    let policy = verified(&managed, &answered);
    assert_eq!((policy.services[0].kind, policy.services[0].name.as_str()), (ServiceKind::Cmg, "main"));
    assert_eq!(policy.management_points[0].url, direct(&managed, None).base);
    let tag = answered.field("ETag").unwrap();
    let again = device.ask(&way, "GET", POLICY, &[("If-None-Match", tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(of(&device.get(&way, LOCATION))["through"], json!({ "cmg": "main" }));
    assert_eq!(way.caller.get(POLICY).status, 403, "nobody else");
    assert_eq!(managed.devices()[0].get(POLICY).body, answered.body, "whoever has a certificate");
}

#[test]
fn a_device_on_the_intranet_asks_the_management_point_itself() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let way = direct(&managed, None);
    let device = Device::registered(&managed, &way);

    let answered = device.get(&way, POLICY);

    verified(&managed, &answered);
    assert_eq!(of(&device.get(&way, LOCATION))["through"], json!("intranet"));
    let renewed = device.ask(&way, "POST", "/cmg/v1/token", &[], b"");
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    let gateway = through_gateway(&managed);
    assert_eq!(device.get(&gateway, POLICY).body, answered.body, "the same device, the same token, elsewhere");
    let certified = direct(&managed, Some(&managed.site.lab().client));
    assert_eq!(certified.caller.get(POLICY).body, answered.body, "a certificate that counts is enough");
    let unknown = cmg_lab::Authority::root("somebody else").unwrap().client("PC-1").unwrap();
    assert_eq!(reason(&direct(&managed, Some(&unknown)).caller.get(POLICY)), (401, "credential".to_owned()));
}

#[test]
fn a_proof_of_a_stranger_counts_once_for_this_address_and_with_a_nonce() {
    let managed = ManagedSite::of(1, 1);
    managed.everywhere();
    let way = direct(&managed, None);
    let device = Device::registered(&managed, &way);
    let refused = |proof: &str| device.ask_with(&way, "GET", POLICY, &[], b"", proof);

    let without = refused(&device.proof(&way, "GET", POLICY, None));
    let nonce = without.field("DPoP-Nonce").unwrap().to_owned();
    let good = device.proof(&way, "GET", POLICY, Some(&nonce));
    let elsewhere = Way { caller: way.caller.clone(), base: format!("https://{HOST}") };
    let thief = Device { key: ProofKey::new().unwrap(), token: device.token.clone() };

    assert_eq!(refused(&good).status, 200);
    assert_eq!(reason(&refused(&good)), (401, "proof".to_owned()), "a second time");
    assert_eq!(reason(&refused(&device.proof(&elsewhere, "GET", POLICY, Some(&nonce)))), (401, "proof".to_owned()));
    assert_eq!(reason(&refused(&device.proof(&way, "POST", POLICY, Some(&nonce)))), (401, "proof".to_owned()));
    assert_eq!(reason(&thief.get(&way, POLICY)), (401, "wrong-key".to_owned()));
    assert_eq!(reason(&without), (401, "proof".to_owned()));
}

/// nginx as an internet-facing server: it ends the TLS of clients, and speaks TLS with the management point, which it verifies.
fn nginx(managed: &ManagedSite, dir: &Path, listen: u16) -> Running {
    let server = managed.site.lab().servers.server(&["ibcm.example"]).unwrap();
    for (name, text) in [("server.pem", server.chain_pem), ("server.key", server.key_pem), ("root.pem", root(managed))] {
        std::fs::write(dir.join(name), text).unwrap();
    }
    let text = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log {dir}/error.log;
        events {{ }}
        http {{
            access_log off;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
            uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
            server {{
                listen 127.0.0.1:{listen} ssl;
                server_name ibcm.example;
                ssl_certificate {dir}/server.pem; ssl_certificate_key {dir}/server.key;
                location / {{
                    proxy_pass https://127.0.0.1:{port};
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_ssl_protocols TLSv1.3;
                    proxy_ssl_name localhost; proxy_ssl_server_name on;
                    proxy_ssl_verify on; proxy_ssl_trusted_certificate {dir}/root.pem; proxy_ssl_verify_depth 3;
                }}
            }}
        }}",
        dir = dir.display(),
        port = port(managed),
    );
    let config = dir.join("nginx.conf");
    std::fs::write(&config, text).unwrap();
    Running::start(Command::new("nginx").arg("-c").arg(&config).arg("-p").arg(dir).stderr(Stdio::null()), listen)
}

#[test]
fn a_device_on_the_internet_comes_through_nginx_and_nobody_forges_who_it_is() {
    if !have(&["nginx"]) {
        return;
    }
    let (managed, dir, listen) = (ManagedSite::of(1, 1), tempfile::tempdir().unwrap(), free_port().unwrap());
    let base = format!("https://ibcm.example:{listen}");
    let lab = managed.site.lab();
    let dmz = json!({ "name": "dmz", "management_points": [base], "authorities": [lab.servers.certificate_pem()] });
    managed.api.add("internet-servers", &dmz).unwrap();
    managed.everywhere();
    let _nginx = nginx(&managed, dir.path(), listen);
    let caller = Caller::new(lab, None).port(listen).host("ibcm.example");
    let way = Way { caller: caller.clone().host_field(&format!("ibcm.example:{listen}")), base };

    let device = Device::registered(&managed, &way);
    let policy = verified(&managed, &device.get(&way, POLICY));
    let service = policy.services.iter().find(|service| service.kind == ServiceKind::Ibcm).unwrap();
    assert_eq!((service.name.as_str(), &service.management_points), ("dmz", &vec![way.base.clone()]));

    let own = format!(":{}:", STANDARD.encode(&lab.client.der));
    let forged = [
        ("X-Forwarded-For", "10.9.9.9"),
        ("X-Original-URL", "https://cmg.example/cmg/v1/policy"),
        ("X-Request-Id", "01"),
        ("Client-Cert", own.as_str()),
        ("Cmg-Authorization", "Bearer abc"),
    ];
    let location = of(&device.ask(&way, "GET", LOCATION, &forged, b""));
    assert_eq!((&location["through"], &location["address"]), (&json!({ "ibcm": "dmz" }), &json!("127.0.0.1")));
    assert_eq!(reason(&way.caller.request("GET", POLICY, &forged, b"")), (401, "no-credential".to_owned()));
    let stolen = way.caller.request("GET", POLICY, &[("Authorization", &format!("Bearer {}", device.token))], b"");
    assert_eq!(reason(&stolen), (401, "no-proof".to_owned()), "a token without its key");
    let by_another_name = caller.host_field(HOST).request("GET", POLICY, &forged, b"");
    assert_eq!(reason(&by_another_name), (421, "misdirected".to_owned()));
}
