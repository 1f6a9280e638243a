//! Every rustls configuration of the program, in one module, because the next rustls release splits its construction.
//!
//! Who is believed where:
//! - a client on the public port may show any certificate; the handshake proves only that it holds the key, and each request is
//!   judged under the policy of its endpoint (`public`, `strangers`);
//! - both ends of a tunnel believe the infrastructure authority only, and only a certificate with the right role (`tunnel`);
//! - a site server is believed by its role, a new member's first one by the root that its code pins (`site`);
//! - a management point is believed by its role and its name; it believes connection points, and lets in strangers, whom it judges for
//!   each request (`management_point`);
//! - a server behind a connection point is believed by its name and the authorities configured for it (`servers`).
mod believed;
mod enrolment;
mod management_point;
mod public;
mod servers;
mod site;
mod strangers;
mod tickets;
mod tls13;
mod tunnel;

use std::sync::{Arc, OnceLock};

use cmg_core::ids::Role;
use pki_types::CertificateDer;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, default_provider, kx_group};
use webpki::EndEntityCert;

pub use believed::{Believed, RevokedMembers};
pub use enrolment::new_gateway;
pub use management_point::{device_client, management_point_client, management_point_server};
pub use public::PublicTls;
pub use servers::server_client;
pub use site::{enrolling_gateway, pinned_site_client, site_client, site_server};
pub use tunnel::{PeerRefused, describe_untrusted, tunnel_client};

/// ALPN name of a tunnel.
pub const ALPN_TUNNEL: &[u8] = b"cmg-tunnel/1";
/// ALPN name under which an ACME server asks whose a name is (RFC 8737).
pub const ALPN_ACME: &[u8] = b"acme-tls/1";
/// ALPN name of HTTP/1.1.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";
/// ALPN name of HTTP/2.
pub const ALPN_HTTP2: &[u8] = b"h2";

/// The cryptography that all configurations use: authenticated encryption and forward secrecy only, hybrid post-quantum key
/// exchange first. AES-128 stands before AES-256, as in Mozilla's recommendation: its key schedule uses SHA-256, for which processors
/// have instructions, where SHA-384 takes a fifth of a resumed handshake. A peer that offers AES-256 alone gets it.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                suite::TLS13_AES_128_GCM_SHA256,
                suite::TLS13_AES_256_GCM_SHA384,
                suite::TLS13_CHACHA20_POLY1305_SHA256,
                suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
                suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
                suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
            ..default_provider()
        })
    })
}

/// The role that the leaf of `chain` names: its one role URI. With two, it has none.
///
/// Counts only where the infrastructure authority has issued the chain, which the tunnel's handshake checks.
pub fn role_of(chain: &[CertificateDer<'_>]) -> Option<Role> {
    let leaf = EndEntityCert::try_from(chain.first()?).ok()?;
    let mut roles = leaf.valid_uri_names().filter_map(Role::from_uri);
    match (roles.next(), roles.next()) {
        (Some(role), None) => Some(role),
        _ => None,
    }
}

/// DNS names of a certificate in lower case, wildcards as they are.
pub(crate) fn dns_names(certificate: &CertificateDer<'_>) -> Option<Vec<String>> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    Some(certificate.valid_dns_names().map(str::to_ascii_lowercase).collect())
}
