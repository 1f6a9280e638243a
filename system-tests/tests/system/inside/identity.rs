//! What servers are told about the client, and what a client cannot make them believe.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cmg_lab::Profile;
use pki_types::CertificateDer;
use pki_types::pem::PemObject;

use crate::support::{Reply, Site};

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let site = Site::start(|setup| {
        setup.endpoint("told", "");
        setup.inside(
            "told",
            r#"
            client_cert_header = true
            request_id_header = "X-Trace"
            identity_headers = { X-Client-Verify = "verify", X-Client-DN = "subject", X-CN = "common_name", X-Issuer = "issuer", X-Serial = "serial", X-Thumb = "thumbprint", X-Thumb-256 = "thumbprint_sha256", X-San = "san", X-Until = "not_after", X-Sub = "token_subject", X-Kind = "token_kind", X-Id = "token_id", X-Unique = "claim:UniqueId" }
            "#,
        );
        setup.delivered("standard", "forwarded = \"forwarded\"");
        setup.delivered("x-forwarded", "forwarded = \"x-forwarded\"");
        setup.endpoint("open", "face = \"open\"\nopen_acknowledged = true");
        setup.inside("open", "identity_headers = { X-Client-Verify = \"verify\", X-Client-DN = \"subject\" }");
        setup.delivered("nameless", "request_id_header = \"\"");
    });
    site.shared()
});

/// The one value of a header field that the server saw.
#[track_caller]
fn told(reply: &Reply, name: &str) -> String {
    let values = reply.echoed(name);
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].clone()
}

#[test]
fn a_certificate_is_described() {
    let lab = SITE.lab();
    let profile = Profile::client("device-7.lab").name("device-7.lab").uri("urn:device:7");
    let certificate = lab.clients.issue(&profile).unwrap();

    let reply = SITE.with_certificate(&certificate).get("/told/echo");

    assert_eq!(told(&reply, "X-Client-Verify"), "SUCCESS");
    assert!(told(&reply, "X-Client-DN").contains("CN=device-7.lab"), "{}", told(&reply, "X-Client-DN"));
    assert_eq!(told(&reply, "X-CN"), "device-7.lab");
    assert!(told(&reply, "X-Issuer").contains("CN=Lab Clients Issuing"));
    assert_eq!(told(&reply, "X-Serial").to_lowercase(), certificate.serial_hex());
    assert_eq!(told(&reply, "X-Thumb").to_lowercase(), certificate.thumbprint());
    assert_eq!(told(&reply, "X-Thumb-256").to_lowercase(), certificate.thumbprint_sha256());
    assert!(told(&reply, "X-San").contains("device-7.lab") && told(&reply, "X-San").contains("urn:device:7"));
    assert!(told(&reply, "X-Until").parse::<u64>().is_ok());
    for absent in ["X-Sub", "X-Kind", "X-Id", "X-Unique"] {
        assert_eq!(reply.echoed(absent), [""; 0], "{absent}");
    }
}

#[test]
fn a_token_is_described() {
    let reply = SITE.with_token(&SITE.lab().token).get("/told/echo");

    let values = ["X-Client-Verify", "X-Sub", "X-Kind", "X-Unique"].map(|name| told(&reply, name));
    assert_eq!(values, ["SUCCESS", "device-1", "site", "device-1"]);
    assert_eq!(told(&reply, "X-Issuer"), cmg_lab::token::ISSUER);
    for absent in ["X-Client-DN", "X-CN", "X-Serial", "X-Thumb", "Client-Cert", "Client-Cert-Chain"] {
        assert_eq!(reply.echoed(absent), [""; 0], "{absent}");
    }
}

#[test]
fn nobody_is_described_as_nobody() {
    let reply = SITE.stranger().field("X-Client-DN", "CN=admin").get("/open/echo");

    assert_eq!(told(&reply, "X-Client-Verify"), "NONE");
    assert_eq!(reply.echoed("X-Client-DN"), [""; 0]);
}

#[test]
fn the_certificate_itself_comes_as_rfc_9440_says() {
    let client = &SITE.lab().client;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(client.chain_pem.as_bytes()).map(|der| der.unwrap()).collect();

    let reply = SITE.device().get("/told/echo");

    assert_eq!(told(&reply, "Client-Cert"), format!(":{}:", STANDARD.encode(&client.der)));
    assert_eq!(told(&reply, "Client-Cert-Chain"), format!(":{}:", STANDARD.encode(&chain[1])));
}

#[test]
fn what_a_client_says_about_itself_in_any_spelling_is_removed() {
    let spoofed = [
        "X-Client-Verify",
        "x-client-verify",
        "X_Client_Verify",
        "X-CLIENT_DN",
        "x_client_dn",
        "Client-Cert",
        "client_cert",
        "Client-Cert-Chain",
        "X-Trace",
        "x_trace",
    ];
    let fields: Vec<_> = spoofed.iter().map(|name| (*name, "spoofed")).collect();

    let reply = SITE.device().request("GET", "/told/echo", &fields, b"");

    assert!(!reply.text().contains("spoofed"), "{}", reply.text());
    assert_eq!(told(&reply, "X-Client-Verify"), "SUCCESS");
}

#[test]
fn naming_an_identity_header_in_connection_does_not_remove_the_real_one() {
    let fields = [("Connection", "keep-alive, X-Client-DN, Client-Cert"), ("X-Client-DN", "CN=admin")];

    let reply = SITE.device().request("GET", "/told/echo", &fields, b"");

    assert!(told(&reply, "X-Client-DN").contains("CN=device-1.lab"));
    assert!(told(&reply, "Client-Cert").starts_with(':'));
}

#[test]
fn identity_headers_do_not_come_in_as_trailers() {
    let mut wire = SITE.device().open();
    wire.send_head("POST", "/told/echo", &[("Transfer-Encoding", "chunked"), ("Trailer", "X-Client-DN, X-Sum")]);
    wire.write(b"0\r\nX-Client-DN: CN=admin\r\nX_Client_DN: CN=admin\r\nX-Sum: 1\r\n\r\n");

    assert_eq!(wire.read().report()["trailers"], serde_json::json!([["X-Sum", "1"]]));
}

#[test]
fn names_that_servers_believe_are_removed_even_where_they_are_not_used() {
    let fields = ["Forwarded", "X-Forwarded-For", "x_forwarded_for", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Client-Cert"]
        .map(|name| (name, "spoofed"));

    let reply = SITE.device().request("GET", &(SITE.mutual() + "/echo"), &fields, b"");

    assert!(!reply.text().contains("spoofed"), "{}", reply.text());
}

#[test]
fn no_identity_header_leaves_in_an_answer() {
    let reply = SITE.device().get("/told/fields?X-Client-DN=CN%3Dx&x_client_verify=1&Client-Cert=%3Aabc%3A&X-Trace=1&X-Other=2");

    for name in ["X-Client-DN", "x_client_verify", "Client-Cert", "X-Trace"] {
        assert_eq!(reply.field(name), None, "{name}");
    }
    assert_eq!(reply.field("X-Other"), Some("2"));
}

#[test]
fn the_clients_address_comes_as_forwarded() {
    let caller = SITE.device().field("Forwarded", "for=1.2.3.4");

    assert_eq!(told(&caller.get("/standard/echo"), "Forwarded"), "for=127.0.0.1;host=\"localhost\";proto=https");
}

#[test]
fn the_clients_address_comes_as_x_forwarded() {
    let reply = SITE.device().field("X-Forwarded-For", "1.2.3.4").get("/x-forwarded/echo");

    let values = ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"].map(|name| told(&reply, name));
    assert_eq!(values, ["127.0.0.1", "localhost", "https"]);
}

#[test]
fn the_request_id_comes_under_the_name_that_was_chosen_or_not_at_all() {
    let reply = SITE.device().get("/told/echo");
    assert_eq!(Some(told(&reply, "X-Trace").as_str()), reply.field("X-Request-Id"));

    assert_eq!(SITE.device().get("/nameless/echo").echoed("X-Request-Id"), [""; 0]);
}
