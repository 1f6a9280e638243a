//! The control interface of the site, at both ends, and the connection over which a new gateway asks for its certificate.
//!
//! What the handshakes prove. To a connection point: the peer holds the key of a certificate that the infrastructure authority has
//! issued to a site server; host names prove nothing, the role does. To a connection point that is not enrolled yet: the same, the
//! root being the one whose digest its code pins, which therefore has to be in the chain that the site server shows. To a site
//! server: whoever shows a certificate is a connection point or a management point; a new one shows none. To a connection point
//! that meets a new gateway: nothing, since such a gateway has no certificate; the code proves it, to the site.
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
use rustls::{ClientConfig, DistinguishedName, Error, ServerConfig};

use super::tls13::signed_by_holder;
use super::tunnel::{End, Peers, shown};
use super::{ALPN_HTTP1, provider};
use crate::load::RoleIdentity;

/// The connection point's end: shows `role`, if any, and believes a site server of the infrastructure authority (`roots`, DER).
pub fn site_client(role: Option<RoleIdentity>, roots: &[Vec<u8>]) -> Result<ClientConfig, Problem> {
    let site_servers = SiteServers(Peers::new(roots, End::SiteServer)?);
    Ok(client(Arc::new(site_servers), role.map(|role| role.key), ALPN_HTTP1))
}

/// The end of a connection point that is not enrolled yet: shows nothing, and believes a site server whose chain holds the root with
/// this SHA-256.
pub fn pinned_site_client(root: [u8; 32]) -> ClientConfig {
    client(Arc::new(Pinned(root)), None, ALPN_HTTP1)
}

/// The connection point's end of the connection over which a new gateway asks for its certificate; `protocol` is its name in ALPN.
///
/// It shows `role` with the infrastructure authority's `roots` (DER) behind it: the gateway knows nothing but a root's digest. It
/// believes every gateway.
pub fn enrolling_gateway(role: &RoleIdentity, roots: &[Vec<u8>], protocol: &[u8]) -> ClientConfig {
    let mut chain = role.key.cert.clone();
    chain.extend(roots.iter().map(|root| CertificateDer::from(root.clone())).filter(|root| !role.key.cert.contains(root)));
    let key = CertifiedKey { cert: chain, ..CertifiedKey::clone(&role.key) };
    client(Arc::new(AnyGateway), Some(Arc::new(key)), protocol)
}

/// The site server's end: shows `identity`, whose chain must hold the root for those that are not enrolled yet. Who shows a
/// certificate must be a connection point or a management point of the infrastructure authority (`roots`, DER); it may show none.
pub fn site_server(identity: RoleIdentity, roots: &[Vec<u8>]) -> Result<ServerConfig, Problem> {
    if !matches!(identity.role, Role::SiteServer(_)) {
        let what = format!("it is the certificate of a {}", identity.role.kind());
        return Err(Problem::new("certificate", what, "use the certificate with this site server's role"));
    }
    let members = MaybeMembers(Peers::new(roots, End::Asker)?);
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(members))
        .with_cert_resolver(shown(&identity.key));
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(believing: Arc<dyn ServerCertVerifier>, shows: Option<Arc<CertifiedKey>>, protocol: &[u8]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(believing);
    let mut config = match shows {
        Some(key) => builder.with_client_cert_resolver(shown(&key)),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// Believes site servers of the infrastructure authority.
#[derive(Debug)]
struct SiteServers(Peers);

/// Believes a site server under one root.
#[derive(Debug)]
struct Pinned([u8; 32]);

/// Believes everybody that holds the key of the certificate it shows.
#[derive(Debug)]
struct AnyGateway;

/// Demands no certificate; one that is shown is a connection point's or a management point's.
#[derive(Debug)]
struct MaybeMembers(Peers);

impl Pinned {
    fn verify(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        Peers::pinned(self.0, others, End::SiteServer)?.verify(leaf, others, now)
    }
}

/// The parts of a server's verifier that do not differ.
macro_rules! believes {
    ($believer:ty, $verify:expr) => {
        impl ServerCertVerifier for $believer {
            fn verify_server_cert(
                &self,
                leaf: &CertificateDer<'_>,
                intermediates: &[CertificateDer<'_>],
                _server_name: &ServerName<'_>,
                _ocsp_response: &[u8],
                now: UnixTime,
            ) -> Result<ServerCertVerified, Error> {
                let verify: fn(&Self, &CertificateDer<'_>, &[CertificateDer<'_>], UnixTime) -> Result<(), Error> = $verify;
                verify(self, leaf, intermediates, now).map(|()| ServerCertVerified::assertion())
            }

            signed_by_holder!();
        }
    };
}

believes!(SiteServers, |this, leaf, others, now| this.0.verify(leaf, others, now));
believes!(Pinned, Pinned::verify);
believes!(AnyGateway, |_, _, _, _| Ok(()));

impl ClientCertVerifier for MaybeMembers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0.verify(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    signed_by_holder!();
}
