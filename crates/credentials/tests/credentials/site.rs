//! The control interface of the site: handshakes in memory, with the program's own configurations at both ends.
use std::sync::Arc;

use cmg_core::ids::{ConnectionPointId, Role, SiteServerId};
use cmg_credentials::RoleIdentity;
use cmg_credentials::tls::{enrolling_gateway, pinned_site_client, role_of, site_client, site_server};
use rustls::{ClientConfig, Error};

use crate::lab::{Authority, Issued};
use crate::tls::{connect, with_key};

const SITE_SERVER: &str = "spiffe://lab/site-server/site-1";
const CONNECTION_POINT: &str = "spiffe://lab/connection-point/cp-1";

/// A site server's identity with the root behind it, as it shows it.
fn identity(issued: &Issued, root: &Authority) -> RoleIdentity {
    let key = with_key(vec![issued.der.clone(), root.der.clone()], issued);
    RoleIdentity { role: Role::SiteServer(SiteServerId::new("site-1")), key }
}

fn connection_point(issued: &Issued) -> RoleIdentity {
    let key = with_key(vec![issued.der.clone()], issued);
    RoleIdentity { role: Role::ConnectionPoint(ConnectionPointId::new("cp-1")), key }
}

fn digest(der: &[u8]) -> [u8; 32] {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().try_into().unwrap()
}

/// Connects to a site server whose certificate `shown` of `root` is; gives the role that the site server sees.
fn ask(client: ClientConfig, shown: &Issued, root: &Authority, infrastructure: &Authority) -> Result<Option<Role>, Error> {
    let server = site_server(identity(shown, root), &[infrastructure.der.to_vec()]).unwrap();
    let (_, server) = connect(&Arc::new(client), "any.name.example", &Arc::new(server))?;
    Ok(server.peer_certificates().and_then(role_of))
}

#[test]
fn a_site_server_is_believed_by_its_role_under_any_name() {
    let root = Authority::root("infrastructure");
    let role = connection_point(&root.role(CONNECTION_POINT));

    let seen = ask(site_client(Some(role), &[root.der.to_vec()]).unwrap(), &root.role(SITE_SERVER), &root, &root).unwrap();

    assert_eq!(seen, Some(Role::ConnectionPoint(ConnectionPointId::new("cp-1"))));
}

#[test]
fn another_role_is_no_site_server() {
    let root = Authority::root("infrastructure");

    for uri in ["spiffe://lab/gateway/gateway-1", CONNECTION_POINT, "spiffe://lab/snapshot/1"] {
        assert!(ask(site_client(None, &[root.der.to_vec()]).unwrap(), &root.role(uri), &root, &root).is_err(), "{uri}");
    }
}

#[test]
fn another_authority_is_not_believed_at_either_end() {
    let (root, other) = (Authority::root("infrastructure"), Authority::root("other"));
    let stranger = connection_point(&other.role(CONNECTION_POINT));

    assert!(ask(site_client(None, &[root.der.to_vec()]).unwrap(), &other.role(SITE_SERVER), &other, &other).is_err());
    assert!(ask(site_client(Some(stranger), &[root.der.to_vec()]).unwrap(), &root.role(SITE_SERVER), &root, &root).is_err());
}

#[test]
fn a_gateway_shows_nothing_to_a_site_server() {
    let root = Authority::root("infrastructure");
    let gateway = connection_point(&root.role("spiffe://lab/gateway/gateway-1"));

    assert!(ask(site_client(Some(gateway), &[root.der.to_vec()]).unwrap(), &root.role(SITE_SERVER), &root, &root).is_err());
}

#[test]
fn a_new_member_believes_the_root_that_its_code_pins_and_no_other() {
    let (root, other) = (Authority::root("infrastructure"), Authority::root("infrastructure"));

    assert_eq!(ask(pinned_site_client(digest(&root.der)), &root.role(SITE_SERVER), &root, &root), Ok(None));
    assert!(ask(pinned_site_client(digest(&other.der)), &root.role(SITE_SERVER), &root, &root).is_err());
    // The pinned root in the chain is of no use to whom it has not issued a certificate.
    assert!(ask(pinned_site_client(digest(&other.der)), &root.role(SITE_SERVER), &other, &root).is_err());
    assert!(ask(pinned_site_client(digest(&root.der)), &root.role(CONNECTION_POINT), &root, &root).is_err());
}

#[test]
fn a_new_gateway_is_shown_the_root_once() {
    let root = Authority::root("infrastructure");
    let role = identity(&root.role(CONNECTION_POINT), &root);

    for role in [role, connection_point(&root.role(CONNECTION_POINT))] {
        let config = enrolling_gateway(&role, &[root.der.to_vec()], b"cmg-enrol/1");
        let shown = config.client_auth_cert_resolver.resolve(&[], &[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();

        assert_eq!(shown.cert.iter().filter(|certificate| **certificate == root.der).count(), 1);
        assert_eq!(config.alpn_protocols, [b"cmg-enrol/1"]);
    }
}
