//! Both ends of the connection between a management point of the site and whoever asks it: connection points, and clients themselves.
//!
//! What the handshake proves to the management point: a peer whose certificate says that it is a connection point holds the key of one
//! that the infrastructure authority has issued; so nobody else can tell who a client is. Any other peer is a stranger, which may show a
//! certificate without a role: that it holds the key of that one is proven, and everything else is judged for each request. To the
//! connection point: the peer is a management point of the same authority whose certificate counts, and it is the one of the name that
//! was dialled.
use std::sync::Arc;

use cmg_core::ids::Role;
use cmg_core::problem::Problem;
use pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DistinguishedName, Error, ServerConfig};
use webpki::EndEntityCert;

use super::believed::Believed;
use super::tls13::signed_by_holder;
use super::tunnel::{End, PeerRefused, Peers, refused, shown};
use super::{ALPN_HTTP1, provider, role_of};
use crate::load::RoleIdentity;

/// The connection point's end: shows `role`, believes a management point of the `infrastructure` authority under its name.
pub fn management_point_client<'a>(role: &RoleIdentity, infrastructure: impl Into<Believed<'a>>) -> Result<Arc<ClientConfig>, Problem> {
    let management_points = Named(Peers::new(infrastructure, End::ManagementPoint)?);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(management_points))
        .with_client_cert_resolver(shown(&role.key));
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A device's end, on the intranet: believes the management point `name` of the infrastructure authority (`roots`, DER) under the name
/// that is dialled, and shows `identity`, if any.
pub fn device_client(name: &str, roots: &[Vec<u8>], identity: Option<&Arc<CertifiedKey>>) -> Result<Arc<ClientConfig>, Problem> {
    let management_point = Only { name: name.to_owned(), named: Named(Peers::new(roots, End::ManagementPoint)?) };
    let believing = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(management_point));
    let mut config = match identity {
        Some(identity) => believing.with_client_cert_resolver(shown(identity)),
        None => believing.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The management point's end: shows `identity`, believes connection points of the infrastructure authority (`roots`, DER), and lets in
/// whoever claims no role.
pub fn management_point_server(identity: &RoleIdentity, roots: &[Vec<u8>]) -> Result<Arc<ServerConfig>, Problem> {
    if !matches!(identity.role, Role::ManagementPoint(_)) {
        let what = format!("it is the certificate of a {}", identity.role.kind());
        return Err(Problem::new("certificate", what, "use the certificate with this management point's role"));
    }
    let peers = PointsAndStrangers(Peers::new(roots, End::ConnectionPoint)?);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(peers))
        .with_cert_resolver(shown(&identity.key));
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Believes a role where it is proven, and lets strangers in without one.
#[derive(Debug)]
struct PointsAndStrangers(Peers);

impl ClientCertVerifier for PointsAndStrangers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: clients would hide certificates of other authorities that count here.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if claims_role(leaf) {
            self.0.verify(leaf, intermediates, now)?;
        }
        Ok(ClientCertVerified::assertion())
    }

    signed_by_holder!();
}

/// Whether a certificate names a role, or more than one.
fn claims_role(leaf: &CertificateDer<'_>) -> bool {
    EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.valid_uri_names().any(|uri| Role::from_uri(uri).is_some()))
}

/// Believes management points under their names.
#[derive(Debug)]
struct Named(Peers);

/// Believes one management point, whose role has this name.
#[derive(Debug)]
struct Only {
    name: String,
    named: Named,
}

impl ServerCertVerifier for Only {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.named.verify_server_cert(leaf, intermediates, server_name, ocsp_response, now)?;
        match role_of(std::slice::from_ref(leaf)) {
            Some(Role::ManagementPoint(id)) if id.as_str() == self.name => Ok(verified),
            _ => Err(refused(PeerRefused::WrongRole)),
        }
    }

    signed_by_holder!();
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify(leaf, intermediates, now)?;
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| CertificateError::BadEncoding)?;
        certificate.verify_is_valid_for_subject_name(server_name).map_err(|_| CertificateError::NotValidForName)?;
        Ok(ServerCertVerified::assertion())
    }

    signed_by_holder!();
}
