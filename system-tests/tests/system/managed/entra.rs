//! What a device of an Entra ID tenant is told before it signs in. The answer is the gateway's own; no tenant is asked for it.

use http::Request;
use serde_json::{Value, json};

use crate::http2::peer::Peer;
use crate::support::{ManagedSite, Site};

const TENANT: &str = "6a7b0000-1111-2222-3333-444455556666";
const OTHER: &str = "6a7b0000-1111-2222-3333-444455556667";
const PATH: &str = "/CCM_Proxy_ServerAuth/AADAuthInfo?TenantID=";

fn told() -> Value {
    json!({ "tenant_id": TENANT, "client_app_id": "3f1c-app", "resource_uri": "api://contoso/cmg" })
}

#[test]
fn a_device_of_a_tenant_is_told_what_to_sign_in_with_until_the_tenant_is_disabled() {
    let managed = ManagedSite::of(1, 1);
    let mut issuer = json!({
        "name": "contoso",
        "kind": "entra",
        "tenant": TENANT.to_uppercase(),
        "token_kind": "oidc-device",
        "client_app_id": "3f1c-app",
        "resource_uri": "api://contoso/cmg",
    });
    managed.api.add("token-issuers", &issuer).unwrap();
    managed.everywhere();
    let stranger = managed.site.stranger();

    let reply = stranger.get(&format!("/ccm_proxy_serverauth/aadauthinfo?tenantid={TENANT}"));
    assert_eq!((reply.status, reply.field("Content-Type")), (200, Some("application/json")));
    assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap(), told());
    assert_eq!(managed.site.logged(&reply)["by"], "none");

    issuer["enabled"] = json!(false);
    managed.api.ask("PUT", "/token-issuers/contoso", Some(&issuer)).unwrap();
    managed.everywhere();
    let reply = stranger.get(&format!("{PATH}{TENANT}"));
    managed.site.assert_refused(&reply, 404, "CMGService_Unknown_Tenant", "tenant_unknown");
}

/// A gateway without a site that knows one tenant.
fn site(more: &str) -> Site {
    Site::start(|setup| {
        let names = setup.lab.servers.server(&["modern.lab"]).unwrap();
        names.write(&setup.lab.site_dir(), "modern").unwrap();
        setup.gateway("[[certificate]]\nchain = \"modern.pem\"\nkey = \"modern.key\"\n");
        setup.endpoint("modern", "host = \"modern.lab\"\nh2 = true");
        let tenant = format!("[[entra_tenant]]\nid = \"{TENANT}\"\nclient_app_id = \"3f1c-app\"\nresource_uri = \"api://contoso/cmg\"\n");
        setup.gateway(&format!("{more}\n{tenant}"));
    })
}

#[test]
fn the_question_is_asked_by_reading_and_names_one_tenant() {
    let site = site("");
    let mut wire = site.stranger().open();
    let mut ask = |method: &str, query: &str| {
        wire.send(method, &format!("/CCM_Proxy_ServerAuth/AADAuthInfo{query}"), &[], b"");
        wire.read()
    };

    let head = ask("HEAD", &format!("?TenantID={TENANT}"));
    assert_eq!((head.status, head.body.len(), head.field("Content-Length").is_some()), (200, 0, true));
    site.assert_refused(&ask("GET", &format!("?TenantID={OTHER}")), 404, "CMGService_Unknown_Tenant", "tenant_unknown");
    for query in ["", "?TenantID=common", &format!("?TenantID={TENANT}&TenantID={OTHER}")] {
        site.assert_refused(&ask("GET", query), 400, "CMGService_Bad_Request", "malformed");
    }
    let refused = ask("DELETE", &format!("?TenantID={TENANT}"));
    assert_eq!(refused.field("Allow"), Some("GET, HEAD"));
    site.assert_refused(&refused, 405, "CMGService_Method_Not_Allowed", "method_not_allowed");
    assert_eq!(ask("GET", &format!("?TenantID={TENANT}")).status, 200, "on the same connection");
}

#[test]
fn the_question_is_answered_over_http_2_too() {
    let site = site("");
    let peer = Peer::connect(&site, site.stranger(), "modern.lab");
    let ask = |tenant: &str| {
        let uri = format!("https://modern.lab{PATH}{tenant}");
        peer.ask(Request::builder().uri(uri).body(()).unwrap())
    };

    let answer = ask(TENANT);
    assert_eq!((answer.status, serde_json::from_slice::<Value>(&answer.body).unwrap()), (200, told()));
    assert_eq!(ask(OTHER).status, 404);
}

#[test]
fn who_asks_too_often_waits() {
    let site = site("[limits]\nrequests_per_second = 1\nburst = 1");
    let stranger = site.stranger();
    let replies: Vec<_> = (0..6).map(|_| stranger.get(&format!("{PATH}{TENANT}"))).collect();

    assert_eq!(replies[0].status, 200);
    let refused = replies.iter().find(|reply| reply.status == 429).expect("six at once are more than one a second");
    site.assert_refused(refused, 429, "CMGService_Too_Many_Requests", "too_many_requests");
}

#[test]
fn no_tunnel_is_needed_for_it() {
    let mut site = site("");
    drop(site.system.connection_points.remove(0));

    assert_eq!(site.stranger().get(&format!("{PATH}{TENANT}")).status, 200);
}
