//! Names of the inside stay inside: Host, redirects and cookies.

use std::sync::LazyLock;

use crate::support::{Caller, Reply, Site};

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let site = Site::start(|setup| {
        let origin = setup.origin.address();
        setup.delivered("internal", "host_header = \"internal\"");
        setup.delivered("external", "host_header = \"external\"");
        setup.delivered("given", "host_header = \"app.corp.example\"");
        setup.delivered("plain", "");
        // The base path is that of the page that redirects, so that what it names is below it.
        setup.delivered("based", &format!("servers = [\"http://{origin}/redirect\"]"));
        setup.delivered("unmapped", "map_redirects = false");
        setup.delivered("by-name", &format!("servers = [\"http://localhost:{}\"]", origin.port()));
    });
    site.shared()
});

fn host_at(target: &str) -> Vec<String> {
    let caller: Caller = SITE.device().host_field("LocalHost:8443");
    caller.get(target).echoed("Host")
}

#[test]
fn the_configmgr_form_shows_the_servers_own_name() {
    assert_eq!(host_at(&(SITE.mutual() + "/echo")), [SITE.origin.address().to_string()]);
}

#[test]
fn the_plain_form_shows_the_name_that_the_client_used() {
    assert_eq!(host_at("/plain/echo"), ["LocalHost:8443"]);
}

#[test]
fn the_host_field_is_what_the_endpoint_says() {
    assert_eq!(host_at("/internal/echo"), [SITE.origin.address().to_string()]);
    assert_eq!(host_at("/external/echo"), ["LocalHost:8443"]);
    assert_eq!(host_at("/given/echo"), ["app.corp.example"]);
}

/// The answer to a redirect to `to`.
fn redirected(endpoint: &str, to: &str) -> Reply {
    let encoded: String = to.bytes().map(|byte| format!("%{byte:02x}")).collect();
    SITE.device().get(&format!("/{endpoint}/redirect?to={encoded}"))
}

fn location(endpoint: &str, to: &str) -> String {
    let reply = redirected(endpoint, to);
    assert_eq!(reply.status, 302, "redirects are not followed: {}", reply.reason);
    reply.field("Location").unwrap().to_owned()
}

#[test]
fn a_redirect_to_the_server_itself_is_mapped_back() {
    let inside = SITE.origin.url();

    assert_eq!(location("plain", &format!("{inside}/next?a=b#c")), "https://localhost/plain/next?a=b#c");
    assert_eq!(location("plain", &inside.replace("http:", "")), "https://localhost/plain");
}

#[test]
fn a_redirect_to_a_path_gets_the_external_prefix() {
    assert_eq!(location("plain", "/next"), "/plain/next");
    let reply = SITE.device().get(&(SITE.mutual() + "/redirect?to=/next"));
    assert_eq!(reply.field("Location"), Some(format!("{}/next", SITE.mutual()).as_str()));
}

#[test]
fn a_redirect_below_the_servers_base_path_loses_it() {
    let reply = SITE.device().get(&format!("/based?to={}/redirect/below", SITE.origin.url()));

    assert_eq!(reply.field("Location"), Some("https://localhost/based/below"));
}

#[test]
fn a_relative_redirect_and_one_to_the_outside_stay_as_they_are() {
    for to in ["next", "?page=2", "https://localhost/elsewhere"] {
        assert_eq!(location("plain", to), to);
    }
}

#[test]
fn a_redirect_to_an_internal_name_that_is_not_published_is_refused() {
    for to in [
        "http://secret.corp.example/x",
        "//10.0.0.5/",
        "https://127.0.0.1:1/x",
        "http:\\\\secret",
        "/\\secret",
        "http:secret",
        "HTTP://secret/",
        "ftp://secret/",
        "/\t/secret/",
    ] {
        SITE.assert_refused(&redirected("plain", to), 502, "CMGConnector_Bad_Answer", "server_names_internal_host");
    }
}

#[test]
fn redirects_are_not_mapped_where_the_endpoint_says_so_but_internal_names_stay_inside() {
    assert_eq!(location("unmapped", "/next"), "/next");
    let reply = redirected("unmapped", "http://secret.corp.example/x");
    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_names_internal_host");
}

#[test]
fn a_content_location_is_mapped_back_too() {
    let reply = SITE.device().get(&format!("/plain/fields?Content-Location={}/page", SITE.origin.url()));

    assert_eq!(reply.field("Content-Location"), Some("https://localhost/plain/page"));
}

#[test]
fn a_cookie_for_the_servers_name_becomes_one_for_the_external_name() {
    let reply = SITE.device().get("/by-name/cookie?domain=localhost");
    assert_eq!(reply.field("Set-Cookie"), Some("lab=1; Domain=localhost; Path=/"));

    let reply = SITE.device().get("/plain/cookie?domain=127.0.0.1");
    assert_eq!(reply.field("Set-Cookie"), Some("lab=1; Domain=localhost; Path=/"));
}

#[test]
fn a_cookie_for_another_internal_name_is_refused() {
    let reply = SITE.device().get("/plain/cookie?domain=corp.example");

    SITE.assert_refused(&reply, 502, "CMGConnector_Bad_Answer", "server_names_internal_host");
}

#[test]
fn a_cookie_without_a_domain_stays_as_it_is() {
    let reply = SITE.device().get("/plain/fields?Set-Cookie=a%3Db%3B%20Path%3D/x%3B%20HttpOnly");

    assert_eq!(reply.field("Set-Cookie"), Some("a=b; Path=/x; HttpOnly"));
}

#[test]
fn a_link_and_a_refresh_are_mapped_back_or_left_out() {
    let inside = SITE.origin.url();
    let field = |name: &str, value: &str| {
        let reply = SITE.device().get(&format!("/plain/fields?{name}={}", value.replace(' ', "%20")));
        assert_eq!(reply.status, 200);
        reply.field(name).map(ToOwned::to_owned)
    };

    assert_eq!(field("Link", &format!("<{inside}/b>; rel=next")).as_deref(), Some("<https://localhost/plain/b>; rel=next"));
    assert_eq!(field("Refresh", "1; url=/next").as_deref(), Some("1; url=/plain/next"));
    assert_eq!(field("Link", "</next>; rel=next, <http://secret/x>; rel=up"), None);
    assert_eq!(field("Refresh", "1; url=http://secret/x"), None);
}

#[test]
fn no_server_sends_clients_round_the_gateway() {
    let reply = SITE.device().get("/plain/fields?Alt-Svc=h3=%22secret:443%22&X-Other=stays");

    assert_eq!((reply.field("Alt-Svc"), reply.field("X-Other")), (None, Some("stays")));
}

#[test]
fn a_link_in_early_hints_is_mapped_back_too() {
    let reply = SITE.device().get("/plain/early-hints");

    assert_eq!(reply.interim[0].field("Link"), Some("</plain/style.css>; rel=preload"));
}
