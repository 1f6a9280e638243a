//! Targets: what is let through names one endpoint, in bytes that cannot mean another path to a server.

use std::time::Duration;

use cmg_core::endpoint::{Endpoint, Endpoints, Face, Mount};
use cmg_core::ids::{EndpointId, TrustName};
use cmg_core::identity::TokenKind;
use cmg_core::target::Target;

pub(crate) fn check(input: &[u8]) {
    let Ok(target) = Target::parse(input) else { return };
    assert!(input.ends_with(target.path_and_query));
    assert_eq!([target.path(), target.query()].concat(), target.path_and_query);
    let path = target.path();
    assert!(path.starts_with(b"/") && path.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'\\'));
    assert!(!climbs(path), "a server may read this as a path outside");
    let endpoints = Endpoints::index(vec![
        endpoint("system", Mount::ConfigMgr { role_id: "72057594037927939".to_owned(), name: "ccm_system".to_owned() }),
        endpoint("files", Mount::Plain { prefix: "/files".to_owned() }),
    ]);
    if let Ok(found) = endpoints.find(443, "cmg.example", &target) {
        let prefix = &path[..found.prefix_len];
        match found.endpoint.id.as_str() {
            "files" => assert_eq!(prefix, b"/files"),
            _ => assert!(prefix.to_ascii_lowercase().ends_with(b"auth/72057594037927939/ccm_system")),
        }
        assert!(matches!(path.get(found.prefix_len), None | Some(b'/')));
    }
}

/// Whether some server could find a dot segment or a separator in it that is not there: decoded once or twice, in any spelling.
fn climbs(path: &[u8]) -> bool {
    let decoded = decode(path);
    let separators = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/' || **byte == b'\\').count();
    separators(&decoded) != separators(path) || decoded.split(|byte| *byte == b'/').any(|segment| segment == b"." || segment == b"..")
}

fn decode(path: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let (mut out, mut rest) = (Vec::new(), path);
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                rest = after;
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

fn endpoint(id: &str, mount: Mount) -> Endpoint {
    Endpoint {
        id: EndpointId::new(id),
        host: "cmg.example".to_owned(),
        port: None,
        mount,
        face: Face::Either,
        trust: Some(TrustName::new("devices")),
        token_kinds: vec![TokenKind::Site],
        audiences: vec!["urn:sccm:service".to_owned()],
        registration: false,
        forward_token: false,
        methods: vec!["GET".to_owned()],
        body_limit: 100,
        idle: Duration::from_secs(60),
        total: None,
        upgrade: false,
        h2: false,
    }
}
