//! Devices and people whose tokens are of real OpenID Connect providers: they register, and both count where an endpoint takes both.

use serde_json::{Value, json};

use super::registration::{Device, exchange, text, with_ccm};
use crate::support::{ManagedSite, OidcProvider, claims_of, until};

/// What the tokens are for.
const AUDIENCE: &str = "api://corp/clients";

/// Where people come back to after they signed in.
const REDIRECT: &str = "https://localhost/";

/// Two providers, of devices and of people, both of which the site knows. None: they are not installed.
fn providers(managed: &ManagedSite) -> Option<[OidcProvider; 2]> {
    let lab = managed.site.lab();
    let providers = [OidcProvider::start(lab, "devices", REDIRECT)?, OidcProvider::start(lab, "people", REDIRECT)?];
    for (provider, kind) in providers.iter().zip(["oidc-device", "oidc-user"]) {
        let issuer = json!({
            "name": kind,
            "kind": "oidc",
            "issuer": provider.issuer(),
            "token_kind": kind,
            "allow_private_addresses": true,
            "authorities": [lab.servers.certificate_pem()],
        });
        managed.api.add("token-issuers", &issuer).unwrap();
    }
    Some(providers)
}

/// Publishes the origin at `/NAME` for tokens of these kinds.
fn publish(managed: &ManagedSite, name: &str, kinds: &[&str]) {
    let endpoint = json!({
        "name": name,
        "prefix": format!("/{name}"),
        "face": "server",
        "token_kinds": kinds,
        "audiences": [AUDIENCE],
        "servers": [managed.site.origin.url()],
    });
    managed.api.add("endpoints", &endpoint).unwrap();
}

/// Lets holders of the providers' tokens register.
fn let_register(managed: &ManagedSite) {
    let mut point = managed.api.ask("GET", "/management-points/management-point-1", None).unwrap();
    point["allow_cmg_traffic"]["audiences"] = json!(["urn:sccm:service", AUDIENCE]);
    managed.api.ask("PUT", "/management-points/management-point-1", Some(&point)).unwrap();
}

#[test]
fn a_device_registers_by_a_token_of_its_provider_and_works_with_one_of_the_site() {
    let managed = ManagedSite::of(1, 1);
    let Some([devices, people]) = providers(&managed) else { return };
    let_register(&managed);
    with_ccm(&managed);
    let lab = managed.site.lab();
    let (device, token) = (Device::new(&managed), devices.token(lab, AUDIENCE));

    let registered = until("the provider's tokens count", || Some(device.register(&token)).filter(|reply| reply.status == 201));

    let own = text(&registered, "token");
    let at_work = |token: &str| device.ask("GET", &(managed.site.server() + "/echo"), token, &Value::Null).status;
    assert_eq!(at_work(&own), 200);
    assert_ne!(at_work(&token), 200, "the provider's own token is for registration");
    let known = managed.api.ask("GET", &format!("/devices/{}", text(&registered, "client_id")), None).unwrap();
    assert_eq!(known["identity"], "entra-device/device", "{known}");

    let exchanged = device.ask("POST", &exchange(&managed), &token, &Value::Null);
    assert_eq!(exchanged.status, 200, "{}", exchanged.text());
    let ccm = text(&exchanged, "access_token");
    assert_eq!(claims_of(&ccm)["TokenType"], "Device");
    assert_eq!(device.ask("GET", "/ccm/echo", &ccm, &Value::Null).status, 200);

    let (other, token) = (Device::new(&managed), people.user_token(lab, AUDIENCE, "alice@corp"));
    let registered = until("people's tokens count", || Some(other.register(&token)).filter(|reply| reply.status == 201));
    let known = managed.api.ask("GET", &format!("/devices/{}", text(&registered, "client_id")), None).unwrap();
    assert_eq!(known["identity"], "oidc-user/alice@corp", "{known}");
    let exchanged = other.ask("POST", &exchange(&managed), &token, &Value::Null);
    let claims = claims_of(&text(&exchanged, "access_token"));
    assert_eq!((&claims["TokenType"], &claims["userId"]), (&json!("UDA"), &json!("alice@corp")));
}

#[test]
fn tokens_of_devices_and_of_people_both_count_where_an_endpoint_takes_both() {
    let managed = ManagedSite::of(1, 1);
    let Some([devices, people]) = providers(&managed) else { return };
    publish(&managed, "both", &["oidc-device", "oidc-user"]);
    publish(&managed, "devices", &["oidc-device"]);
    publish(&managed, "people", &["oidc-user"]);
    let lab = managed.site.lab();
    let tokens = [devices.token(lab, AUDIENCE), people.user_token(lab, AUDIENCE, "alice@corp")];
    let answers = |place: &str| tokens.each_ref().map(|token| managed.site.with_token(token).get(&format!("/{place}/echo")).status);

    until("the providers' tokens count", || (answers("both") == [200, 200]).then_some(()));

    assert_eq!((answers("devices"), answers("people")), ([200, 403], [403, 200]));
}
