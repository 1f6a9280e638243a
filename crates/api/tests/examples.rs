//! The two documented examples are what the types say, and the defaults written there are the defaults.

use cmg_api::{ConnectionPointFile, EndpointFile, GatewayFile, LimitsFile, LogFile, ServedEndpointFile};

const GATEWAY: &str = include_str!("../../../docs/examples/gateway.toml");
const CONNECTION_POINT: &str = include_str!("../../../docs/examples/connection-point.toml");

fn gateway() -> GatewayFile {
    toml::from_str(GATEWAY).expect("the example is right")
}

fn connection_point() -> ConnectionPointFile {
    toml::from_str(CONNECTION_POINT).expect("the example is right")
}

#[test]
fn a_gateway_file_written_and_read_is_the_same() {
    let written = toml::to_string(&gateway()).unwrap();

    assert_eq!(toml::from_str::<GatewayFile>(&written).unwrap(), gateway());
}

#[test]
fn a_connection_point_file_written_and_read_is_the_same() {
    let written = toml::to_string(&connection_point()).unwrap();

    assert_eq!(toml::from_str::<ConnectionPointFile>(&written).unwrap(), connection_point());
}

/// The example with one more key behind the line with this number.
fn with_a_stray_key(example: &str, behind: usize) -> String {
    let lines = example.lines().enumerate();
    lines.map(|(number, line)| if number == behind { format!("{line}\nstray = 1\n") } else { format!("{line}\n") }).collect()
}

#[test]
fn an_unknown_key_is_refused_in_every_table() {
    for (number, line) in GATEWAY.lines().enumerate().filter(|(_, line)| line.starts_with('[')) {
        assert!(toml::from_str::<GatewayFile>(&with_a_stray_key(GATEWAY, number)).is_err(), "{line}");
    }
    for (number, line) in CONNECTION_POINT.lines().enumerate().filter(|(_, line)| line.starts_with('[')) {
        assert!(toml::from_str::<ConnectionPointFile>(&with_a_stray_key(CONNECTION_POINT, number)).is_err(), "{line}");
    }
    assert!(toml::from_str::<GatewayFile>(&format!("stray = 1\n{GATEWAY}")).is_err());
    assert!(toml::from_str::<ConnectionPointFile>(&format!("stray = 1\n{CONNECTION_POINT}")).is_err());
}

#[test]
fn both_examples_publish_the_same() {
    let served: Vec<EndpointFile> = connection_point().endpoint.iter().map(ServedEndpointFile::published).collect();

    assert_eq!(served, gateway().endpoint);
    assert_eq!(connection_point().trust, gateway().trust);
    assert_eq!(connection_point().block, gateway().block);
    assert_eq!(connection_point().token_key, gateway().token_key);
}

#[test]
fn the_documented_defaults_of_a_gateway_are_the_defaults() {
    let least: GatewayFile = toml::from_str(
        "name = 'a'\nlisten = ['[::]:443']\ncertificate = [{ chain = 'c', key = 'k' }]\n\
         tunnel = { certificate = 'c', key = 'k', authority = 'a' }\n\
         trust.devices.authorities = ['r']\n\
         [[endpoint]]\nid = 'e'\nhost = 'h'\nface = 'either'\n\
         [[token_key]]\nid = 'k'\nissuer = 'i'\nalgorithms = ['RS256']\nkey = 'k'\nkind = 'site'",
    )
    .unwrap();
    let documented = gateway();

    assert_eq!(least.metrics_listen, documented.metrics_listen);
    assert_eq!(least.metrics_public, documented.metrics_public);
    assert_eq!(least.drain, documented.drain);
    assert_eq!(LogFile::default(), documented.log);
    assert_eq!(LimitsFile::default(), documented.limits);
    assert_eq!(least.token_key[0].leeway, documented.token_key[0].leeway);

    let (least, documented) = (&least.trust["devices"], &documented.trust["devices"]);
    assert_eq!(least.check_revocation, documented.check_revocation);
    assert_eq!(least.stale_crl, documented.stale_crl);
    assert_eq!(least.unknown_crl, documented.unknown_crl);
}

#[test]
fn the_documented_defaults_of_an_endpoint_are_the_defaults() {
    let least: ServedEndpointFile = toml::from_str("id = 'e'\nhost = 'h'\nface = 'either'\nservers = ['http://s/']").unwrap();
    let documented = connection_point().endpoint[0].clone();

    let required_or_without_default = ServedEndpointFile {
        id: documented.id.clone(),
        host: documented.host.clone(),
        role_id: documented.role_id.clone(),
        name: documented.name.clone(),
        trust: documented.trust.clone(),
        token_kinds: documented.token_kinds.clone(),
        audiences: documented.audiences.clone(),
        servers: documented.servers.clone(),
        host_header: documented.host_header.clone(),
        server_authorities: documented.server_authorities.clone(),
        server_certificate: documented.server_certificate.clone(),
        server_key: documented.server_key.clone(),
        health: documented.health.clone(),
        identity_headers: documented.identity_headers.clone(),
        ..least
    };
    assert_eq!(required_or_without_default, documented);
}

#[test]
fn the_documented_defaults_of_a_connection_point_are_the_defaults() {
    let least: ConnectionPointFile =
        toml::from_str("name = 'a'\ntunnel = { certificate = 'c', key = 'k', authority = 'a', gateways = ['g:443'] }").unwrap();
    let documented = connection_point();

    assert_eq!(least.metrics_listen, documented.metrics_listen);
    assert_eq!(least.metrics_public, documented.metrics_public);
    assert_eq!(least.drain, documented.drain);
    assert_eq!(least.log, documented.log);
    assert_eq!(least.tunnel.connections, documented.tunnel.connections);
    assert_eq!(least.tunnel.lanes, documented.tunnel.lanes);
}
