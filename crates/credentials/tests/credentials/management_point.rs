//! Between a connection point and a management point: handshakes in memory, with the program's own configurations at both ends.
use cmg_core::ids::{ConnectionPointId, ManagementPointId, Role};
use cmg_credentials::RoleIdentity;
use cmg_credentials::facts::certificate_facts;
use cmg_credentials::tls::{Believed, PeerRefused, management_point_client, management_point_server, site_client, site_server};
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use rustls::Error;

use crate::lab::{Authority, Issued};
use crate::tls::{connect, with_key};

const NAME: &str = "mp1.corp.example";
const MANAGEMENT_POINT: &str = "spiffe://lab/management-point/mp-1";
const CONNECTION_POINT: &str = "spiffe://lab/connection-point/cp-1";

/// A role certificate with a DNS name.
fn named(root: &Authority, uri: &str) -> Issued {
    root.leaf("member", |params| {
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap()), SanType::DnsName(NAME.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    })
}

fn identity(issued: &Issued, role: Role) -> RoleIdentity {
    RoleIdentity { role, key: with_key(vec![issued.der.clone()], issued) }
}

fn management_point(issued: &Issued) -> RoleIdentity {
    identity(issued, Role::ManagementPoint(ManagementPointId::new("mp-1")))
}

fn connection_point(issued: &Issued) -> RoleIdentity {
    identity(issued, Role::ConnectionPoint(ConnectionPointId::new("cp-1")))
}

/// Connects under `name`: the client shows `client`, the server `server`, and both believe `root`.
fn speak(client: &Issued, server: &Issued, root: &Authority, name: &'static str) -> Result<(), Error> {
    let roots = [root.der.to_vec()];
    let client = management_point_client(&connection_point(client), &roots).unwrap();
    let server = management_point_server(&management_point(server), &roots).unwrap();
    connect(&client, name, &server).map(|_| ())
}

#[test]
fn a_connection_point_and_a_management_point_believe_each_other_under_the_right_name() {
    let root = Authority::root("infrastructure");
    let (point, server) = (root.role(CONNECTION_POINT), named(&root, MANAGEMENT_POINT));

    assert_eq!(speak(&point, &server, &root, NAME), Ok(()));
    assert!(speak(&point, &server, &root, "other.corp.example").is_err());
    assert!(speak(&point, &root.role(MANAGEMENT_POINT), &root, NAME).is_err(), "a certificate without the name");
}

#[test]
fn nobody_else_is_believed_at_either_end() {
    let (root, other) = (Authority::root("infrastructure"), Authority::root("other"));
    let (point, server) = (root.role(CONNECTION_POINT), named(&root, MANAGEMENT_POINT));

    for uri in [MANAGEMENT_POINT, "spiffe://lab/gateway/gw-1", "spiffe://lab/site-server/site-1"] {
        assert!(speak(&root.role(uri), &server, &root, NAME).is_err(), "{uri} asks");
    }
    for uri in [CONNECTION_POINT, "spiffe://lab/gateway/gw-1", "spiffe://lab/site-server/site-1"] {
        assert!(speak(&point, &named(&root, uri), &root, NAME).is_err(), "{uri} answers");
    }
    assert!(speak(&other.role(CONNECTION_POINT), &server, &root, NAME).is_err());
    assert!(speak(&point, &named(&other, MANAGEMENT_POINT), &root, NAME).is_err());
}

#[test]
fn a_revoked_management_point_is_believed_no_more() {
    let root = Authority::root("infrastructure");
    let roots = [root.der.to_vec()];
    let (point, server) = (root.role(CONNECTION_POINT), named(&root, MANAGEMENT_POINT));
    let fingerprint = certificate_facts(&server.der).unwrap().thumbprint_sha256;
    let under = |revoked: [u8; 32]| {
        let believed = Believed { roots: &roots, revoked: [revoked].into_iter().collect() };
        let client = management_point_client(&connection_point(&point), believed).unwrap();
        let server = management_point_server(&management_point(&server), &roots).unwrap();
        connect(&client, NAME, &server).map(|_| ())
    };

    assert_eq!(under([0; 32]), Ok(()));
    assert_eq!(PeerRefused::of(&under(fingerprint).unwrap_err()), Some(&PeerRefused::Revoked));
}

#[test]
fn a_stranger_comes_in_with_a_certificate_that_names_no_role_and_with_no_other() {
    let (root, other) = (Authority::root("infrastructure"), Authority::root("other"));
    let roots = [root.der.to_vec()];
    let server = management_point_server(&management_point(&named(&root, MANAGEMENT_POINT)), &roots).unwrap();
    let device = other.leaf("device", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let claims_to_be = |uris: &[&str]| {
        other.leaf("point", |params| {
            params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    };
    let comes_in = |device: &Issued| {
        let client = management_point_client(&connection_point(device), &roots).unwrap();
        connect(&client, NAME, &server).map(|_| ())
    };

    assert_eq!(comes_in(&device), Ok(()));
    assert_eq!(comes_in(&claims_to_be(&["spiffe://lab/client/1"])), Ok(()));
    assert!(comes_in(&claims_to_be(&[CONNECTION_POINT])).is_err());
    assert!(comes_in(&claims_to_be(&[CONNECTION_POINT, "spiffe://lab/client/1"])).is_err());
}

#[test]
fn a_management_point_may_ask_a_site_server() {
    let root = Authority::root("infrastructure");
    let roots = [root.der.to_vec()];
    let asker = management_point(&named(&root, MANAGEMENT_POINT));
    let site = identity(&root.role("spiffe://lab/site-server/site-1"), Role::SiteServer(cmg_core::ids::SiteServerId::new("site-1")));

    let client = site_client(Some(asker), &roots).unwrap();
    let seen = connect(&client.into(), "any.name.example", &site_server(site, &roots).unwrap().into());

    assert!(seen.is_ok_and(|(_, server)| server.peer_certificates().is_some()));
}
