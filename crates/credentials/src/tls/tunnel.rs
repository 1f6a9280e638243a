//! Both ends of a tunnel: TLS 1.3, role certificates of the infrastructure authority, nothing resumed.
//!
//! What the handshake proves to a gateway: the peer holds the key of a certificate that the infrastructure authority has issued to
//! a connection point. To a connection point: the same of a gateway. Host names prove nothing here, since one name may stand in
//! front of several gateways; the role does. Client authorities are never asked.
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use cmg_core::ids::Role;
use cmg_core::problem::Problem;
use pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DistinguishedName, Error, OtherError, ServerConfig};
use webpki::{EndEntityCert, KeyUsage};

use super::believed::{Believed, RevokedMembers};
use super::tls13::signed_by_holder;
use super::{ALPN_TUNNEL, provider, role_of};
use crate::facts;
use crate::load::RoleIdentity;

/// Why the peer of a tunnel is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerRefused {
    /// Somebody else than the infrastructure authority issued its certificate. At a connection point's outward connection this
    /// is what TLS interception looks like.
    Foreign {
        /// Distinguished name of who issued it.
        issuer: String,
    },
    /// The infrastructure authority issued it, but not to the role that belongs at that end.
    WrongRole,
    /// The site has revoked it, or its holder was enrolled again since.
    Revoked,
}

impl fmt::Display for PeerRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign { issuer } => write!(f, "its certificate was issued by `{issuer}`, not by the infrastructure authority"),
            Self::WrongRole => f.write_str("its certificate is for another role"),
            Self::Revoked => f.write_str("its certificate was revoked: enrol its holder again"),
        }
    }
}

impl StdError for PeerRefused {}

impl PeerRefused {
    /// Why a tunnel's handshake failed with `error`, where it was the peer's certificate.
    pub fn of(error: &Error) -> Option<&Self> {
        match error {
            Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => inner.downcast_ref(),
            _ => None,
        }
    }
}

/// Who issued the certificate that a tunnel's handshake failed on, where that was not the infrastructure authority: the
/// distinguished name to show to the administrator, since something between the two ends TLS.
pub fn describe_untrusted(error: &Error) -> Option<String> {
    match PeerRefused::of(error)? {
        PeerRefused::Foreign { issuer } => Some(issuer.clone()),
        PeerRefused::WrongRole | PeerRefused::Revoked => None,
    }
}

/// The connection point's end: shows `role`, believes a gateway of the `infrastructure` authority.
pub fn tunnel_client<'a>(role: RoleIdentity, infrastructure: impl Into<Believed<'a>>) -> Result<Arc<ClientConfig>, Vec<Problem>> {
    if !matches!(role.role, Role::ConnectionPoint(_)) {
        let what = format!("it is the certificate of a {}", role.role.kind());
        return Err(vec![Problem::new("tunnel.certificate", what, "name the certificate with this connection point's role")]);
    }
    let gateways = Peers::new(infrastructure, End::Gateway).map_err(|problem| vec![problem])?;
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(gateways))
        .with_client_cert_resolver(shown(&role.key));
    config.alpn_protocols = vec![ALPN_TUNNEL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The gateway's end: shows `role`, demands a connection point of the `infrastructure` authority.
pub(super) fn server_config(role: RoleIdentity, infrastructure: Believed<'_>) -> Result<Arc<ServerConfig>, Problem> {
    let connection_points = Peers::new(infrastructure, End::ConnectionPoint)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(connection_points))
        .with_cert_resolver(shown(&role.key));
    config.alpn_protocols = vec![ALPN_TUNNEL.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

pub(super) fn shown(key: &Arc<CertifiedKey>) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(CertifiedKey::clone(key)))
}

/// Where a peer stands: at an end of a tunnel, or at an end of the way to the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Gateway,
    ConnectionPoint,
    /// Behind a connection point, as one of its servers.
    ManagementPoint,
    /// Whoever asks a site server: a connection point or a management point.
    Asker,
    SiteServer,
}

impl End {
    fn fits(self, role: &Role) -> bool {
        match role {
            Role::Gateway(_) => self == Self::Gateway,
            Role::ConnectionPoint(_) => matches!(self, Self::ConnectionPoint | Self::Asker),
            Role::ManagementPoint(_) => matches!(self, Self::ManagementPoint | Self::Asker),
            Role::SiteServer(_) => self == Self::SiteServer,
            Role::Snapshot(_) => false,
        }
    }

    fn usage(self) -> KeyUsage {
        match self {
            Self::Gateway | Self::ManagementPoint | Self::SiteServer => KeyUsage::server_auth(),
            Self::ConnectionPoint | Self::Asker => KeyUsage::client_auth(),
        }
    }
}

/// Believes role certificates of the infrastructure authority where they belong.
#[derive(Debug)]
pub(super) struct Peers {
    anchors: Vec<TrustAnchor<'static>>,
    revoked: RevokedMembers,
    end: End,
}

impl Peers {
    pub(super) fn new<'a>(infrastructure: impl Into<Believed<'a>>, end: End) -> Result<Self, Problem> {
        let Believed { roots, revoked } = infrastructure.into();
        let key = "tunnel.authority";
        let instead = "name the infrastructure authority's root certificate";
        let anchors: Result<Vec<_>, _> = roots
            .iter()
            .map(|der| webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).map(|anchor| anchor.to_owned()))
            .collect();
        match anchors {
            Ok(anchors) if !anchors.is_empty() => Ok(Self { anchors, revoked, end }),
            Ok(_) => Err(Problem::new(key, "no authority is named", instead)),
            Err(_) => Err(Problem::new(key, "the certificate cannot be read", instead)),
        }
    }

    /// Believes who stands at `end` under the root with the SHA-256 `root`, which has to be among the certificates that were shown.
    pub(super) fn pinned(root: [u8; 32], shown: &[CertificateDer<'_>], end: End) -> Result<Self, Error> {
        let Some(root) = shown.iter().find(|certificate| digest(&SHA256, certificate).as_ref() == root) else {
            return Err(Error::InvalidCertificate(CertificateError::UnknownIssuer));
        };
        Self::new(&[root.to_vec()], end).map_err(|_| CertificateError::BadEncoding.into())
    }

    pub(super) fn verify(&self, leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        certificate
            .verify_for_usage(algorithms, &self.anchors, intermediates, now, self.end.usage(), None, None)
            .map_err(|error| not_believed(&error, leaf))?;
        if self.revoked.name(leaf) {
            return Err(refused(PeerRefused::Revoked));
        }
        match role_of(std::slice::from_ref(leaf)) {
            Some(role) if self.end.fits(&role) => Ok(()),
            _ => Err(refused(PeerRefused::WrongRole)),
        }
    }
}

fn not_believed(error: &webpki::Error, leaf: &CertificateDer<'_>) -> Error {
    let certificate_error = match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            let issuer = facts::parse(leaf).and_then(|parsed| facts::name(parsed.issuer())).unwrap_or_default();
            return refused(PeerRefused::Foreign { issuer });
        }
        webpki::Error::EmptyEkuExtension | webpki::Error::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        _ => CertificateError::ApplicationVerificationFailure,
    };
    Error::InvalidCertificate(certificate_error)
}

pub(super) fn refused(reason: PeerRefused) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

impl ClientCertVerifier for Peers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf, intermediates, now).map(|()| ClientCertVerified::assertion())
    }

    signed_by_holder!();
}

impl ServerCertVerifier for Peers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf, intermediates, now).map(|()| ServerCertVerified::assertion())
    }

    signed_by_holder!();
}
