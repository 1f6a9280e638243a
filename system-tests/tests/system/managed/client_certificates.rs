//! Certificates that the site issues to clients: good under the policies that a trust has unless told otherwise, and revoked.

use cmg_lab::{Issued, Request};
use serde_json::{Value, json};

use crate::support::{ManagedSite, until};

/// The origin for clients of the site's own authority, at `/own`.
fn with_own_clients(managed: &ManagedSite) {
    let trust = json!({ "name": "own", "authorities": [], "site_clients": true });
    managed.api.add("trusts", &trust).unwrap();
    let endpoint = json!({ "name": "own", "prefix": "/own", "face": "mutual", "trust": "own", "servers": [managed.site.origin.url()] });
    managed.api.add("endpoints", &endpoint).unwrap();
}

/// A client that an administrator has registered, with its id.
fn registered(managed: &ManagedSite, name: &str) -> String {
    let client = json!({ "name": name, "identity_kind": "certificate", "key_thumbprint": "A".repeat(43), "approved": true });
    let made = managed.api.add("devices", &client).unwrap();
    made["id"].as_str().unwrap().to_owned()
}

/// A certificate of a client, by the site.
fn issued(managed: &ManagedSite, client: &str) -> Issued {
    let request = Request::new().unwrap();
    let made = managed.api.ask("POST", &format!("/devices/{client}/certificates"), Some(&json!({ "csr": request.csr }))).unwrap();
    let text = |field: &str| made[field].as_str().unwrap();
    request.issued(text("chain"), text("serial")).unwrap()
}

#[test]
fn a_client_with_a_certificate_of_the_site_is_let_in_until_it_is_revoked() {
    let managed = ManagedSite::of(1, 1);
    with_own_clients(&managed);
    let client = registered(&managed, "pc1");
    let [one, other] = [issued(&managed, &client), issued(&managed, &client)];
    managed.everywhere();
    let status = |certificate: &Issued| managed.site.with_certificate(certificate).get("/own/echo").status;

    assert_eq!([status(&one), status(&other)], [200, 200]);
    assert_eq!(managed.site.device().get("/own/echo").status, 403, "a certificate of another authority");

    let revoked: Value =
        managed.api.ask("POST", &format!("/issued-certificates/{}/revoke", one.serial_hex().to_uppercase()), None).unwrap();
    assert!(revoked["revoked_at"].is_i64(), "{revoked}");
    until("it is refused", || (status(&one) == 403).then_some(()));
    assert_eq!(status(&other), 200, "the client has another one");

    managed.api.ask("POST", &format!("/devices/{client}/block"), Some(&json!({ "note": "stolen" }))).unwrap();
    until("it is refused with its client", || (status(&other) == 403).then_some(()));
}
