//! TLS towards published servers: whom to believe, and what to show.
use std::collections::BTreeMap;
use std::sync::Arc;

use cmg_api::ServedEndpointFile;
use cmg_core::ids::EndpointId;
use cmg_core::problem::Finding;
use cmg_core::server::Delivery;
use cmg_credentials::RoleIdentity;
use cmg_credentials::load::{PairFiles, read_certificates, read_pair};
use cmg_credentials::tls::{Believed, management_point_client, server_client};
use cmg_standalone::Reading;
use rustls::ClientConfig;
use rustls::sign::CertifiedKey;

/// Who this connection point is, and whom of the infrastructure authority's it believes.
pub(super) type Membership<'a> = Option<(&'a RoleIdentity, Believed<'a>)>;

/// A configuration for each endpoint with `https` servers. The deliveries are those of the endpoints, in their order. Without
/// `membership` management points are left out: what is wrong with it is told already.
pub(super) fn read(
    files: &[ServedEndpointFile],
    deliveries: &[Delivery],
    membership: Membership<'_>,
    findings: &mut Vec<Finding>,
    reading: &mut Reading,
) -> BTreeMap<EndpointId, Arc<ClientConfig>> {
    let mut configs = BTreeMap::new();
    for (place, (file, delivery)) in files.iter().zip(deliveries).enumerate() {
        let key = format!("endpoint[{place}]");
        if file.management_point {
            let config = membership.as_ref().and_then(|(role, believed)| reading.keep(management_point_client(role, believed.clone())));
            configs.extend(config.map(|config| (delivery.endpoint.clone(), config)));
            continue;
        }
        let authorities_key = format!("{key}.server_authorities");
        let authorities = authorities(&authorities_key, file, reading);
        let identity = identity(&key, file, reading);
        if delivery.servers.iter().any(|server| server.https) {
            if let Some(config) = reading.keep(server_client(&authorities_key, &authorities, identity.as_ref())) {
                configs.insert(delivery.endpoint.clone(), config);
            }
        } else if !authorities.is_empty() || identity.is_some() {
            findings.push(Finding::new(authorities_key, "no server of this endpoint speaks https, so its certificates are not used"));
        }
    }
    configs
}

fn authorities(key: &str, file: &ServedEndpointFile, reading: &mut Reading) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (place, path) in file.server_authorities.iter().enumerate() {
        let certificates = read_certificates(reading.files(), &format!("{key}[{place}]"), &reading.path(path));
        all.extend(reading.keep(certificates).unwrap_or_default());
    }
    all
}

fn identity(key: &str, file: &ServedEndpointFile, reading: &mut Reading) -> Option<Arc<CertifiedKey>> {
    let (chain_key, private_key_key) = (format!("{key}.server_certificate"), format!("{key}.server_key"));
    match (&file.server_certificate, &file.server_key) {
        (Some(chain), Some(private_key)) => {
            let files = PairFiles {
                chain_key: &chain_key,
                chain: &reading.path(chain),
                private_key_key: &private_key_key,
                private_key: &reading.path(private_key),
            };
            reading.keep(read_pair(reading.files(), files))
        }
        (Some(_), None) => {
            reading.problem(private_key_key, "is missing beside server_certificate", "name the key's file");
            None
        }
        (None, Some(_)) => {
            reading.problem(chain_key, "is missing beside server_key", "name the certificate's file");
            None
        }
        (None, None) => None,
    }
}
