//! Role certificates at both ends of a tunnel, with the configurations of the programs.
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use cmg_authority::{Issued, NewSite, PrivateKey, Roots};
use cmg_core::ids::Role;
use cmg_core::time::WallTime;
use cmg_credentials::tls::{ALPN_TUNNEL, PublicTls, provider, tunnel_client};
use cmg_credentials::{RoleIdentity, ServerIdentity};
use pki_types::pem::PemObject;
use pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};

use crate::site::{connection_point, ders, gateway};

/// The handshake's clock is the real one.
fn now() -> WallTime {
    WallTime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

fn identity(role: Role, key: &PrivateKey, issued: &Issued) -> RoleIdentity {
    let key = PrivateKeyDer::from_pem_slice(key.to_pem().expose()).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    RoleIdentity { role, key: Arc::new(CertifiedKey::new(ders(&issued.chain), key)) }
}

fn gateway_end(site: &Roots, holder: &Roots) -> Arc<ServerConfig> {
    let key = PrivateKey::generate().unwrap();
    let issued = holder.infrastructure_issuer(now()).unwrap().member(&gateway(), &key.public(), now()).unwrap();
    let role = identity(gateway(), &key, &issued);
    let public = ServerIdentity { names: vec!["cmg.example".into()], key: Arc::clone(&role.key) };
    let tls = PublicTls::new(vec![public], role, &[site.infrastructure_certificate().to_vec()]).unwrap();
    tls.config_for(443, [ALPN_TUNNEL], false).unwrap()
}

fn connection_point_end(site: &Roots, holder: &Roots) -> Arc<ClientConfig> {
    let key = PrivateKey::generate().unwrap();
    let issued = holder.infrastructure_issuer(now()).unwrap().member(&connection_point(), &key.public(), now()).unwrap();
    tunnel_client(identity(connection_point(), &key, &issued), &[site.infrastructure_certificate().to_vec()]).unwrap()
}

fn connect(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<(), Error> {
    let mut client = ClientConnection::new(client, ServerName::try_from("cmg.example").unwrap()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn members_of_one_site_open_a_tunnel() {
    let site = NewSite::generate("ABC", now()).unwrap().roots;

    connect(connection_point_end(&site, &site), gateway_end(&site, &site)).unwrap();
}

#[test]
fn a_member_of_another_site_is_refused_at_either_end() {
    let (site, other) = (Roots::generate("ABC", now()).unwrap(), Roots::generate("ABC", now()).unwrap());

    assert!(connect(connection_point_end(&site, &other), gateway_end(&site, &site)).is_err());
    assert!(connect(connection_point_end(&site, &site), gateway_end(&site, &other)).is_err());
}
