//! Targets: what is let through names one endpoint, in bytes that cannot mean another path to a server.

use std::sync::OnceLock;
use std::time::Duration;

use cmg_core::endpoint::{Endpoint, Endpoints, Face, Mount, ProofDemand};
use cmg_core::ids::EndpointId;
use cmg_core::snapshot::{Generation, Parts, Snapshot};
use cmg_core::target::Target;

pub(crate) fn check(input: &[u8]) {
    let Ok(target) = Target::parse(input) else { return };
    assert!(input.ends_with(target.path_and_query));
    assert_eq!([target.path(), target.query()].concat(), target.path_and_query);
    let path = target.path();
    assert!(path.starts_with(b"/") && !path.iter().any(|byte| byte.is_ascii_control() || b" \\#".contains(byte)));
    assert!(!climbs(path), "a server may read this as a path outside");
    assert!(!decode(path).iter().any(|byte| matches!(byte, 0xc0 | 0xc1)), "a careless decoder makes ASCII of it");
    if let Ok(found) = published().find(443, "cmg.example", &target) {
        let prefix = &path[..found.prefix_len];
        match found.endpoint.id.as_str() {
            "files" => assert_eq!(prefix, b"/files"),
            _ => assert!(prefix.to_ascii_lowercase().ends_with(b"auth/72057594037927939/ccm_system")),
        }
        assert!(matches!(path.get(found.prefix_len), None | Some(b'/')));
    }
}

fn published() -> &'static Endpoints {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    let snapshot = SNAPSHOT.get_or_init(|| {
        let system = Mount::ConfigMgr { role_id: "72057594037927939".to_owned(), name: "ccm_system".to_owned() };
        let endpoints = vec![endpoint("system", system), endpoint("files", Mount::Plain { prefix: "/files".to_owned() })];
        let open_acknowledged = endpoints.iter().map(|endpoint| endpoint.id.as_str().to_owned()).collect();
        Snapshot::parse(Generation::default(), Parts { endpoints, open_acknowledged, ..Parts::default() }).expect("a good snapshot")
    });
    &snapshot.endpoints
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
        face: Face::Open,
        trust: None,
        token_kinds: vec![],
        audiences: vec![],
        registration: false,
        forward_token: false,
        proof: ProofDemand::IfBound,
        methods: vec!["GET".to_owned()],
        body_limit: 100,
        idle: Duration::from_secs(60),
        total: None,
        upgrade: false,
        h2: false,
    }
}
