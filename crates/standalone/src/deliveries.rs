//! The keys of `[[endpoint]]` that only a connection point has: where requests go, and what the server is told.
use std::collections::BTreeSet;

use cmg_api::{Forwarded as ForwardedName, HealthFile, ServedEndpointFile, Stickiness};
use cmg_core::ids::EndpointId;
use cmg_core::server::{Delivery, Forwarded, Health, HostHeader, IdentityField, ServerUrl};

use crate::Reading;
use crate::endpoints::not_zero;

/// Fields that frame a message or belong to one connection, or that have a key of their own; no identity travels in them.
const NOT_FOR_IDENTITY: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "proxy-connection",
    "client-cert",
    "client-cert-chain",
];

pub(crate) fn read(files: &[ServedEndpointFile], reading: &mut Reading) -> Vec<Delivery> {
    let published: BTreeSet<&str> = files.iter().map(|file| file.host.as_str()).collect();
    let mut deliveries = Vec::new();
    for (place, file) in files.iter().enumerate() {
        let key = format!("endpoint[{place}]");
        let mut delivery = delivery(&key, file, reading);
        if file.management_point {
            management_point(&key, file, &delivery.servers, reading);
        }
        // A server may send clients on to whatever is published beside it.
        delivery.redirect_hosts = published.iter().filter(|host| **host != file.host).map(|host| (*host).to_owned()).collect();
        deliveries.push(delivery);
    }
    deliveries
}

fn delivery(key: &str, file: &ServedEndpointFile, reading: &mut Reading) -> Delivery {
    Delivery {
        endpoint: EndpointId::new(&file.id),
        servers: servers(&format!("{key}.servers"), &file.servers, reading),
        sticky: match file.stickiness {
            Stickiness::None => false,
            Stickiness::Client => true,
        },
        host_header: host_header(&format!("{key}.host_header"), file, reading),
        connect_time: not_zero(format!("{key}.connect_time"), file.connect_time.time(), "5s", reading),
        health: file.health.as_ref().map(|health_file| health(&format!("{key}.health"), health_file, reading)),
        identity_headers: identity_headers(&format!("{key}.identity_headers"), file, reading),
        client_cert_header: file.client_cert_header,
        forwarded: match file.forwarded {
            ForwardedName::None => Forwarded::None,
            ForwardedName::Forwarded => Forwarded::Standard,
            ForwardedName::XForwarded => Forwarded::XForwarded,
        },
        original_url: file.management_point,
        request_id_header: request_id_header(&format!("{key}.request_id_header"), &file.request_id_header, reading),
        map_redirects: file.map_redirects,
        redirect_hosts: Vec::new(),
    }
}

/// A management point is spoken with as a member of the site, so there is nothing else to believe and to show.
fn management_point(key: &str, file: &ServedEndpointFile, servers: &[ServerUrl], reading: &mut Reading) {
    let key = format!("{key}.management_point");
    if !servers.iter().all(|server| server.https) {
        reading.problem(&key, "stands beside a server without https", "write https:// and the name in the management point's certificate");
    }
    if !file.server_authorities.is_empty() || file.server_certificate.is_some() || file.server_key.is_some() {
        let what = "stands beside certificates for the server";
        reading.problem(key, what, "remove server_authorities, server_certificate and server_key: the role certificates are used");
    }
}

fn servers(key: &str, urls: &[String], reading: &mut Reading) -> Vec<ServerUrl> {
    if urls.is_empty() {
        reading.problem(key, "no server is named", "name at least one, such as https://mp1.corp.example:443/ccm_system");
    }
    let mut servers = Vec::new();
    for (place, url) in urls.iter().enumerate() {
        match ServerUrl::parse(url) {
            Ok(server) => servers.push(server),
            Err(instead) => reading.problem(format!("{key}[{place}]"), format!("\"{url}\" is no server"), instead),
        }
    }
    servers
}

fn host_header(key: &str, file: &ServedEndpointFile, reading: &mut Reading) -> HostHeader {
    match file.host_header.as_deref() {
        Some("internal") => HostHeader::Internal,
        Some("external") => HostHeader::External,
        Some(name) => {
            if ServerUrl::parse(&format!("http://{name}")).is_ok_and(|url| url.base.is_empty()) && !name.ends_with('/') {
                return HostHeader::Given(name.to_owned());
            }
            reading.problem(key, format!("\"{name}\" is no host name"), "write internal, external, HOST or HOST:PORT");
            HostHeader::Internal
        }
        None if file.role_id.is_some() => HostHeader::Internal,
        None => HostHeader::External,
    }
}

fn health(key: &str, file: &HealthFile, reading: &mut Reading) -> Health {
    let is_visible = |byte: u8| byte > b' ' && byte < 0x7f && byte != b'#';
    if !file.path.starts_with('/') || !file.path.bytes().all(is_visible) {
        let what = format!("\"{}\" is no path", file.path);
        reading.problem(format!("{key}.path"), what, "write a path from the server's root, such as /health, without blanks");
    }
    if !is_token(&file.method) {
        reading.problem(format!("{key}.method"), format!("\"{}\" is no method", file.method), "write GET or HEAD");
    }
    if file.expect.is_empty() {
        reading.problem(format!("{key}.expect"), "it is empty, so no server would count as well", "list statuses such as 200");
    }
    for (place, status) in file.expect.iter().enumerate().filter(|(_, status)| !(200..=999).contains(*status)) {
        reading.problem(format!("{key}.expect[{place}]"), format!("{status} is no final status"), "write one from 200 to 999");
    }
    Health {
        method: file.method.clone(),
        path: file.path.clone(),
        interval: not_zero(format!("{key}.interval"), file.interval.time(), "10s", reading),
        expect: file.expect.clone(),
    }
}

fn identity_headers(key: &str, file: &ServedEndpointFile, reading: &mut Reading) -> Vec<(String, IdentityField)> {
    let mut headers = Vec::new();
    let mut seen = BTreeSet::from([comparable(&file.request_id_header)]);
    for (name, field) in &file.identity_headers {
        let key = format!("{key}.{name}");
        if !is_token(name) || NOT_FOR_IDENTITY.contains(&comparable(name).as_str()) {
            reading.problem(&key, format!("\"{name}\" is no header field for an identity"), "write a name such as X-Client-DN");
        } else if !seen.insert(comparable(name)) {
            let what = "another header is called the same, apart from capitals and underscores";
            reading.problem(&key, what, "give each header a name of its own");
        }
        match IdentityField::named(field) {
            Some(known) => headers.push((name.clone(), known)),
            None => reading.problem(&key, format!("\"{field}\" is not known"), FIELDS),
        }
    }
    headers
}

const FIELDS: &str = "write subject, common_name, issuer, serial, thumbprint, thumbprint_sha256, san, verify, not_after, \
                      token_subject, token_kind, token_id or claim:NAME";

fn request_id_header(key: &str, name: &str, reading: &mut Reading) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if !is_token(name) || NOT_FOR_IDENTITY.contains(&comparable(name).as_str()) {
        reading.problem(key, format!("\"{name}\" is no header field for it"), "write a name such as X-Request-Id, or \"\" for none");
    }
    Some(name.to_owned())
}

/// Servers take an underscore for a hyphen.
fn comparable(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The deliveries of endpoints with these keys, and the keys of their problems.
    fn deliveries(endpoints: &[&str]) -> (Vec<Delivery>, Vec<String>) {
        let file = |keys: &&str| toml::from_str(&format!("id = 'a'\nface = 'mutual'\n{keys}")).unwrap();
        let files: Vec<_> = endpoints.iter().map(file).collect();
        let mut reading = Reading::in_folder(Path::new(""));
        let deliveries = read(&files, &mut reading);
        (deliveries, reading.keys().into_iter().map(str::to_owned).collect())
    }

    fn problems(keys: &str) -> Vec<String> {
        deliveries(&[&format!("host = 'a'\nservers = ['http://a']\n{keys}")]).1
    }

    #[test]
    fn the_host_that_a_server_sees_depends_on_the_form() {
        for (keys, host) in [
            ("role_id = '1'\nname = 'x'", HostHeader::Internal),
            ("prefix = '/'", HostHeader::External),
            ("prefix = '/'\nhost_header = 'internal'", HostHeader::Internal),
            ("role_id = '1'\nname = 'x'\nhost_header = 'external'", HostHeader::External),
            ("prefix = '/'\nhost_header = 'App.example:8080'", HostHeader::Given("App.example:8080".into())),
        ] {
            let (found, problems) = deliveries(&[&format!("host = 'a'\nservers = ['http://a']\n{keys}")]);

            assert_eq!((&found[0].host_header, problems), (&host, vec![]), "{keys}");
        }
        for wrong in ["", "a b", "http://a", "a/b", "a/"] {
            assert_eq!(problems(&format!("host_header = '{wrong}'")), ["endpoint[0].host_header"], "{wrong}");
        }
    }

    #[test]
    fn a_server_may_send_clients_to_whatever_else_is_published() {
        let on = |host: &str| format!("host = '{host}'\nservers = ['http://a']");

        let (found, _) = deliveries(&[&on("one"), &on("two"), &on("one")]);

        assert_eq!(found[0].redirect_hosts, ["two"]);
        assert_eq!(found[1].redirect_hosts, ["one"]);
    }

    #[test]
    fn every_wrong_server_is_named() {
        assert_eq!(deliveries(&["host = 'a'\nservers = []"]).1, ["endpoint[0].servers"]);
        let (found, problems) = deliveries(&["host = 'a'\nservers = ['a', 'http://b', 'http://u@c']"]);

        assert_eq!(problems, ["endpoint[0].servers[0]", "endpoint[0].servers[2]"]);
        assert_eq!(found[0].servers.len(), 1);
    }

    #[test]
    fn an_identity_header_is_a_header_of_its_own() {
        let headers = |headers: &str| problems(&format!("identity_headers = {{ {headers} }}"));

        assert_eq!(headers("X-DN = 'subject', X-Claim = 'claim:tid'"), [""; 0]);
        assert_eq!(headers("X-DN = 'claim:'"), ["endpoint[0].identity_headers.X-DN"]);
        for name in ["Host", "CONTENT_LENGTH", "Client-Cert", "X-Request-ID", "X_Request_Id"] {
            assert_eq!(headers(&format!("{name} = 'subject'")), [format!("endpoint[0].identity_headers.{name}")]);
        }
        assert_eq!(headers("\"a b\" = 'subject'"), ["endpoint[0].identity_headers.a b"]);
        assert_eq!(headers("X-DN = 'subject', x_dn = 'subject'"), ["endpoint[0].identity_headers.x_dn"]);
    }

    #[test]
    fn a_request_id_header_may_be_absent_but_not_wrong() {
        let (found, _) = deliveries(&["host = 'a'\nservers = ['http://a']\nrequest_id_header = ''"]);

        assert_eq!(found[0].request_id_header, None);
        assert_eq!(problems("request_id_header = 'Host'"), ["endpoint[0].request_id_header"]);
    }

    #[test]
    fn a_probe_must_be_one_that_can_succeed() {
        for (health, key) in [
            ("path = 'x'", "path"),
            ("path = '/a b'", "path"),
            ("path = '/'\nmethod = 'G T'", "method"),
            ("path = '/'\ninterval = '0s'", "interval"),
            ("path = '/'\nexpect = []", "expect"),
            ("path = '/'\nexpect = [200, 100]", "expect[1]"),
        ] {
            assert_eq!(problems(&format!("[health]\n{health}")), [format!("endpoint[0].health.{key}")], "{health}");
        }
    }
}
