//! Role certificates of one infrastructure authority, read from files as the programs read them.

use std::sync::Arc;

use cmg_credentials::load::{Disk, Files, PairFiles, RoleIdentity, ServerIdentity, read_role_identity, read_server_identity};
use cmg_credentials::tls::{ALPN_TUNNEL, PublicTls, tunnel_client};
use cmg_lab::{Authority, Issued, Profile, Role};
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;

/// One infrastructure authority and what it has issued.
pub(crate) struct Site {
    authority: Authority,
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self { authority: Authority::root("Infrastructure").unwrap(), folder: TempDir::new().unwrap() }
    }

    /// TLS of a gateway of that name.
    pub(crate) fn gateway(&self, name: &str) -> Arc<ServerConfig> {
        let server = self.authority.server(&["localhost"]).unwrap();
        let tls = PublicTls::new(vec![self.server_identity(&server)], self.role(Role::Gateway, name), &self.roots()).unwrap();
        tls.config_for(443, [ALPN_TUNNEL], false).unwrap()
    }

    /// TLS of a connection point of that name.
    pub(crate) fn point(&self, name: &str) -> Arc<ClientConfig> {
        tunnel_client(self.role(Role::ConnectionPoint, name), &self.roots()).unwrap()
    }

    /// TLS that believes gateways of this site and shows a certificate of `other` for `role`, without any check of its own.
    pub(crate) fn shown_to(&self, other: &Site, role: Role) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.point("point-1"));
        let key = other.role(role, "liar").key;
        config.client_auth_cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::clone(&key)));
        Arc::new(config)
    }

    fn roots(&self) -> Vec<Vec<u8>> {
        vec![self.authority.certificate_der().to_vec()]
    }

    fn role(&self, role: Role, name: &str) -> RoleIdentity {
        let issued = self.authority.issue(&Profile::role(role, name)).unwrap();
        self.read(&issued, name, read_role_identity)
    }

    fn server_identity(&self, issued: &Issued) -> ServerIdentity {
        self.read(issued, "server", read_server_identity)
    }

    fn read<T, E: std::fmt::Debug>(&self, issued: &Issued, stem: &str, read: impl FnOnce(&dyn Files, PairFiles<'_>) -> Result<T, E>) -> T {
        let files = issued.write(self.folder.path(), stem).unwrap();
        read(&Disk, PairFiles { chain_key: "certificate", chain: &files.chain, private_key_key: "key", private_key: &files.key }).unwrap()
    }
}
