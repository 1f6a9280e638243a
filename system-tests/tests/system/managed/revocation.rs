//! Whoever is blocked is refused everywhere within seconds, what is under way included.

use cmg_lab::Signal;
use serde_json::json;

use crate::support::{ManagedSite, sha256, until, wait};

#[test]
fn a_blocked_certificate_is_refused_everywhere_and_its_download_ends() {
    let managed = ManagedSite::of(2, 2);
    let path = managed.site.mutual();
    // Events for an hour.
    let mut wire = managed.devices()[0].open();
    wire.send("GET", &format!("{path}/events?count=36000&every=100"), &[], b"");
    assert_eq!(wire.read_head().unwrap().status, 200);
    wire.read_chunk().unwrap();

    let thumbprint = sha256(&managed.site.lab().client.der);
    managed.api.add("blocks", &json!({ "thumbprint": thumbprint })).unwrap();

    until("the certificate is refused everywhere", || {
        managed.devices().iter().all(|device| device.get(&format!("{path}/echo")).status == 403).then_some(())
    });
    until("the answer under way ends", || wire.read_chunk().err());
}

#[test]
fn a_bulk_token_is_blocked_by_its_id_and_unblocked() {
    let managed = ManagedSite::of(1, 1);
    let endpoint = json!({
        "name": "register",
        "prefix": "/register",
        "face": "server",
        "token_kinds": ["bulk"],
        "audiences": ["urn:sccm:service"],
        "registration": true,
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
    managed.everywhere();
    let made = managed.api.add("bulk-tokens", &json!({ "note": "test" })).unwrap();
    let (token, id) = (made["token"].as_str().unwrap(), made["id"].as_str().unwrap());
    let status = |path: &str| {
        let caller = managed.callers(None).remove(0).field("Authorization", &format!("Bearer {token}"));
        caller.get(path).status
    };
    assert_eq!(status("/register/echo"), 200);
    assert_eq!(status(&(managed.site.server() + "/echo")), 403, "it counts where devices register only");

    managed.api.ask("POST", &format!("/bulk-tokens/{id}/block"), None).unwrap();
    until("it is blocked", || (status("/register/echo") == 401).then_some(()));

    managed.api.ask("POST", &format!("/bulk-tokens/{id}/unblock"), None).unwrap();
    until("it counts again", || (status("/register/echo") == 200).then_some(()));
}

#[test]
fn a_revocation_arrives_through_the_other_connection_point() {
    let managed = ManagedSite::of(1, 2);
    let path = managed.site.mutual() + "/echo";
    managed.everywhere();
    wait(managed.site.point().signal(Signal::Freeze)).unwrap();

    let thumbprint = sha256(&managed.site.lab().client.der);
    managed.api.add("blocks", &json!({ "thumbprint": thumbprint })).unwrap();

    until("the certificate is refused", || (managed.answer(&path)? == 403).then_some(()));
    wait(managed.site.point().signal(Signal::Resume)).unwrap();
}
