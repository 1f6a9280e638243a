//! What is not published, and how it may not be asked for.

use std::sync::LazyLock;

use crate::support::Site;

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let site = Site::start(|setup| {
        setup.endpoint("mutual-only", "role_id = \"72057594037940001\"\nname = \"mutual-only\"\nface = \"mutual\"");
        setup.endpoint("get-only", "methods = [\"GET\"]");
        setup.endpoint("same-trust", "host = \"friend.lab\"");
        setup.both("[trust.partners]\nauthorities = [\"clients-root.pem\"]\ncheck_revocation = false");
        setup.endpoint("other-trust", "host = \"partner.lab\"\ntrust = \"partners\"");
        setup.endpoint("open", "host = \"open.lab\"\nface = \"open\"\nopen_acknowledged = true");
        let names = setup.lab.servers.server(&["localhost", "friend.lab", "partner.lab", "open.lab"]).unwrap();
        names.write(&setup.lab.site_dir(), "server").unwrap();
    });
    site.shared()
});

#[track_caller]
fn not_published(target: &str) {
    SITE.assert_refused(&SITE.device().get(target), 404, "CMGService_Not_Published", "not_published");
}

#[test]
fn what_nobody_published() {
    for target in ["/", "/nothing", "/get-onlyx", "*", "localhost:443", "/livez", "/readyz", "/metrics"] {
        not_published(target);
    }
}

#[test]
fn a_role_id_that_a_double_would_take_for_another() {
    not_published(&SITE.mutual().replace("72057594037927937", "72057594037927936"));
}

#[test]
fn a_face_that_is_not_offered() {
    not_published("/CCM_Proxy_ServerAuth/72057594037940001/mutual-only/echo");
    assert_eq!(SITE.device().get("/CCM_Proxy_MutualAuth/72057594037940001/mutual-only/echo").status, 200);
}

#[test]
fn a_host_name_that_is_not_published() {
    let caller = SITE.device().host_field("friend.lab");
    SITE.assert_refused(&caller.get("/get-only/echo"), 404, "CMGService_Not_Published", "not_published");
    assert_eq!(caller.get("/same-trust/echo").status, 200, "its own are reached over the same connection");
}

#[test]
fn a_method_that_is_not_allowed() {
    let reply = SITE.device().request("CCM_POST", "/get-only/echo", &[], b"");

    SITE.assert_refused(&reply, 405, "CMGService_Method_Not_Allowed", "method_not_allowed");
    assert_eq!(reply.field("Allow"), Some("GET"));
}

#[test]
fn a_method_in_the_wrong_case() {
    let reply = SITE.device().request("get", "/get-only/echo", &[], b"");

    SITE.assert_refused(&reply, 405, "CMGService_Method_Not_Allowed", "method_not_allowed");
}

#[test]
fn a_target_that_may_mean_another_path() {
    let escapes = [
        "/..",
        "/../x",
        "/.",
        "/a/../b",
        "/%2e%2e/x",
        "/.%2E/x",
        "/a%2fb",
        "/a%2Fb",
        "/a\\b",
        "/a%5cb",
        "/a%00b",
        "/%252e%252e/x",
        "/a%252fb",
    ];
    for escape in escapes {
        let reply = SITE.device().get(&format!("/get-only{escape}"));

        SITE.assert_refused(&reply, 400, "CMGService_Bad_Target", "ambiguous_target");
    }
}

#[test]
fn an_absolute_target_whose_host_is_not_the_host_field() {
    let reply = SITE.device().get("https://elsewhere/get-only/echo");

    SITE.assert_refused(&reply, 400, "CMGService_Bad_Target", "ambiguous_target");
}

#[test]
fn a_host_with_another_trust_policy_than_the_connections() {
    let reply = SITE.device().host_field("partner.lab").get("/other-trust/echo");

    SITE.assert_refused(&reply, 421, "CMGService_Misdirected_Request", "misdirected");
    assert_eq!(SITE.device().host("partner.lab").get("/other-trust/echo").status, 200, "over a connection of its own it is served");
}

#[test]
fn a_host_that_nobody_published_is_misdirected_too() {
    let reply = SITE.device().host_field("nobody.lab").get("/");

    SITE.assert_refused(&reply, 421, "CMGService_Misdirected_Request", "misdirected");
}

#[test]
fn an_open_endpoint_asks_nobody() {
    assert_eq!(SITE.stranger().host("open.lab").get("/open/echo").status, 200);
}

#[test]
fn a_refusal_leaves_the_connection_usable() {
    let mut wire = SITE.device().open();
    wire.send("GET", "/nothing", &[], b"");
    assert_eq!(wire.read().status, 404);
    wire.send("GET", "/get-only/echo", &[], b"");

    assert_eq!(wire.read().status, 200);
}

#[test]
fn a_refusal_of_head_has_no_body() {
    let mut wire = SITE.device().open();
    wire.send("HEAD", "/nothing", &[], b"");
    assert_eq!(wire.read().status, 404);
    wire.send("GET", "/get-only/echo", &[], b"");

    assert_eq!(wire.read().status, 200, "the connection is in step");
}

#[test]
fn nothing_refused_has_reached_the_server() {
    for target in ["/get-only/../secret", "/nothing/secret", "/get-only%2fsecret"] {
        SITE.device().get(target);
    }

    assert!(!SITE.origin.seen().iter().any(|seen| seen.target.ends_with(b"secret")));
}
