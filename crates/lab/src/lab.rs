//! A whole laboratory in one folder: authorities, certificates, tokens, and a configuration file for every program.
//!
//! ```text
//! DIR/site/     what the programs read: gateway-1.toml, connection-point-1.toml, certificates, keys, revocation lists
//! DIR/client/   what a client needs: ca.pem, client.pem, client.key, token
//! DIR/log/      what the programs wrote
//! ```

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::authority::Authority;
use crate::config::{self, Common, ConnectionPointFile, GatewayFile};
use crate::error::LabError;
use crate::file;
use crate::issued::Issued;
use crate::managed::SiteServer;
use crate::ports::{free_port, port_or_free};
use crate::profile::{Profile, Role};
use crate::published::Published;
use crate::token::{AUDIENCE, Algorithm, TokenSigner};

/// The host name under which everything is published.
pub const HOST: &str = "localhost";
/// How long the client's token is good.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What a laboratory shall be.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// Servers to publish.
    pub published: Vec<Published>,
    /// PEM files of client certificate authorities to trust besides the laboratory's own.
    pub client_authorities: Vec<PathBuf>,
    /// Gateway instances. Two, so that one may fail.
    pub gateways: usize,
    /// Connection points. Two, so that one may fail.
    pub connection_points: usize,
    /// How connection points find the gateway instances.
    pub discovery: Discovery,
    /// The port of the service if it is free; otherwise any.
    pub wanted_port: u16,
    /// Whether a site server tells the programs what to do; otherwise each has a file of its own.
    pub managed: bool,
}

impl Default for LabOptions {
    fn default() -> Self {
        Self {
            published: Vec::new(),
            client_authorities: Vec::new(),
            gateways: 2,
            connection_points: 2,
            discovery: Discovery::ServiceName,
            wanted_port: 0,
            managed: false,
        }
    }
}

/// How connection points find the gateway instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// They dial the service's one address until they hold every instance.
    ServiceName,
    /// They are told the address of each instance.
    Addresses,
}

/// A laboratory on disk. Nothing runs yet.
pub struct Lab {
    /// The folder.
    pub dir: PathBuf,
    /// Port of the service's one address on the loopback.
    pub service_port: u16,
    /// Gateway instances.
    pub gateways: Vec<Gateway>,
    /// Connection points.
    pub connection_points: Vec<ConnectionPoint>,
    /// What is published, in order.
    pub endpoints: Vec<Endpoint>,
    /// Whether client certificate authorities besides the laboratory's own are trusted, without revocation lists.
    pub trusts_others: bool,
    /// Authority of server certificates; clients trust it.
    pub servers: Authority,
    /// Authority of role certificates.
    pub infrastructure: Authority,
    /// Root above `clients`.
    pub clients_root: Authority,
    /// Authority that issues client certificates.
    pub clients: Authority,
    /// Signs tokens.
    pub tokens: TokenSigner,
    /// The first client.
    pub client: Issued,
    /// The first client's token.
    pub token: String,
    /// The site server, where the programs are managed.
    pub site: Option<SiteServer>,
}

/// A gateway instance of a laboratory.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Instance name.
    pub name: String,
    /// Configuration file.
    pub config: PathBuf,
    /// Where it listens.
    pub address: Ipv4Addr,
    /// Port of the service.
    pub port: u16,
    /// Port of `/livez`, `/readyz`, `/metrics`.
    pub metrics_port: u16,
    /// Port of each published server's plain form.
    pub root_ports: Vec<u16>,
}

/// A connection point of a laboratory.
#[derive(Clone, Debug)]
pub struct ConnectionPoint {
    /// Name.
    pub name: String,
    /// Configuration file.
    pub config: PathBuf,
    /// Port of `/livez`, `/readyz`, `/metrics`.
    pub metrics_port: u16,
}

/// A published server and its external addresses.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// What was asked for.
    pub published: Published,
    /// Role id of the ConfigMgr form.
    pub role_id: String,
    /// Port of the plain form on the service's address.
    pub root_port: u16,
}

impl Lab {
    /// Makes every key and writes every file. What an earlier laboratory left in the folder is overwritten.
    pub fn new(dir: &Path, options: LabOptions) -> Result<Self, LabError> {
        refuse_doubles(&options.published)?;
        let clients_root = Authority::root("Lab Clients Root")?;
        let clients = clients_root.issuing("Lab Clients Issuing")?;
        let tokens = TokenSigner::new("lab-1", Algorithm::Rs256)?;
        let dir = std::path::absolute(dir).map_err(|source| LabError::File { path: dir.to_owned(), source })?;
        let service_port = port_or_free(options.wanted_port)?;
        let endpoints = options.published.iter().enumerate().map(Endpoint::new).collect::<Result<Vec<_>, _>>()?;
        let gateway = |number| match options.managed {
            true => Gateway::managed(&dir, number, service_port, &endpoints),
            false => Gateway::new(&dir, number, endpoints.len()),
        };
        let lab = Self {
            gateways: (1..=options.gateways).map(gateway).collect::<Result<_, _>>()?,
            site: options.managed.then(|| SiteServer::new(&dir)).transpose()?,
            service_port,
            connection_points: (1..=options.connection_points).map(|n| ConnectionPoint::new(&dir, n)).collect::<Result<_, _>>()?,
            endpoints,
            trusts_others: !options.client_authorities.is_empty(),
            servers: Authority::root("Lab Servers Root")?,
            infrastructure: Authority::root("Lab Infrastructure")?,
            client: clients.client("device-1.lab")?,
            dir,
            token: tokens.site_token("device-1", AUDIENCE, TOKEN_LIFETIME)?,
            clients_root,
            clients,
            tokens,
        };
        lab.write_authorities()?;
        lab.write_client()?;
        lab.write_programs(&options)?;
        Ok(lab)
    }

    /// Where the programs' files are.
    pub fn site_dir(&self) -> PathBuf {
        self.dir.join("site")
    }

    /// Where the client's files are.
    pub fn client_dir(&self) -> PathBuf {
        self.dir.join("client")
    }

    /// Where a program writes its log.
    pub fn log(&self, program: &str) -> PathBuf {
        self.dir.join("log").join(format!("{program}.log"))
    }

    /// The one address of the service.
    pub fn service_url(&self) -> String {
        format!("https://{HOST}:{}", self.service_port)
    }

    /// A published server for clients with a certificate, ConfigMgr form.
    pub fn mutual_url(&self, endpoint: &Endpoint) -> String {
        let Endpoint { role_id, published, .. } = endpoint;
        format!("{}/CCM_Proxy_MutualAuth/{role_id}/{}", self.service_url(), published.name)
    }

    /// A published server for clients with a token, ConfigMgr form.
    pub fn server_url(&self, endpoint: &Endpoint) -> String {
        let Endpoint { role_id, published, .. } = endpoint;
        format!("{}/CCM_Proxy_ServerAuth/{role_id}/{}", self.service_url(), published.name)
    }

    /// Replaces the revocation lists by ones that revoke these certificates of `clients`; programs read them on SIGHUP.
    pub fn revoke(&self, serials: &[&[u8]]) -> Result<(), LabError> {
        file::write(&self.site_dir().join("clients-issuing.crl"), self.clients.crl(serials)?.pem)
    }

    fn write_authorities(&self) -> Result<(), LabError> {
        let site = self.site_dir();
        file::write(&site.join("infrastructure-ca.pem"), self.infrastructure.certificate_pem())?;
        file::write(&site.join("clients-root.pem"), self.clients_root.certificate_pem())?;
        file::write(&site.join("clients-issuing.pem"), self.clients.certificate_pem())?;
        file::write(&site.join("clients-root.crl"), self.clients_root.crl(&[])?.pem)?;
        file::write(&site.join("token-signing.pub.pem"), self.tokens.public_key_pem())?;
        self.revoke(&[])
    }

    fn write_client(&self) -> Result<(), LabError> {
        let folder = self.client_dir();
        file::write(&folder.join("ca.pem"), self.servers.certificate_pem())?;
        self.client.write(&folder, "client")?;
        file::write_secret(&folder.join("token"), &self.token)
    }

    fn write_programs(&self, options: &LabOptions) -> Result<(), LabError> {
        let site = self.site_dir();
        self.servers.server(&[HOST, "127.0.0.1", "::1"])?.write(&site, "server")?;
        let client_authorities = copy_all(&options.client_authorities, &site)?;
        if let Some(server) = &self.site {
            return server.write_programs(self, client_authorities);
        }
        let common = Common {
            host: HOST,
            published: &options.published,
            client_authorities: &client_authorities,
            token_key_id: &self.tokens.key_id,
            token_issuer: &self.tokens.issuer,
        };
        self.write_gateways(&common)?;
        self.write_connection_points(&common, options.discovery)
    }

    fn write_gateways(&self, common: &Common) -> Result<(), LabError> {
        let instances: Vec<_> = self.gateways.iter().map(|gateway| gateway.name.clone()).collect();
        for gateway in &self.gateways {
            let file = GatewayFile {
                name: &gateway.name,
                port: gateway.port,
                metrics_port: gateway.metrics_port,
                instances: &instances,
                root_ports: &gateway.root_ports,
            };
            self.infrastructure.issue(&Profile::role(Role::Gateway, &gateway.name))?.write(&self.site_dir(), &gateway.name)?;
            file::write(&gateway.config, config::gateway(&file, common))?;
        }
        Ok(())
    }

    fn write_connection_points(&self, common: &Common, discovery: Discovery) -> Result<(), LabError> {
        let gateways: Vec<_> = match discovery {
            Discovery::ServiceName => vec![format!("{HOST}:{}", self.service_port)],
            Discovery::Addresses => self.gateways.iter().map(|gateway| format!("127.0.0.1:{}", gateway.port)).collect(),
        };
        let root_ports: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.root_port).collect();
        for point in &self.connection_points {
            let file =
                ConnectionPointFile { name: &point.name, metrics_port: point.metrics_port, gateways: &gateways, root_ports: &root_ports };
            self.infrastructure.issue(&Profile::role(Role::ConnectionPoint, &point.name))?.write(&self.site_dir(), &point.name)?;
            file::write(&point.config, config::connection_point(&file, common))?;
        }
        Ok(())
    }
}

impl Gateway {
    fn new(dir: &Path, number: usize, published: usize) -> Result<Self, LabError> {
        let name = format!("{}-{number}", Role::Gateway.as_str());
        Ok(Self {
            config: config_path(dir, &name),
            name,
            address: Ipv4Addr::LOCALHOST,
            port: free_port()?,
            metrics_port: free_port()?,
            root_ports: (0..published).map(|_| free_port()).collect::<Result<_, _>>()?,
        })
    }

    /// Instances of one gateway listen on the same ports, so each has an address of its own.
    fn managed(dir: &Path, number: usize, port: u16, endpoints: &[Endpoint]) -> Result<Self, LabError> {
        let name = format!("{}-{number}", Role::Gateway.as_str());
        Ok(Self {
            config: config_path(dir, &name),
            name,
            address: Ipv4Addr::new(127, 0, 0, number as u8 + 1),
            port,
            metrics_port: free_port()?,
            root_ports: endpoints.iter().map(|endpoint| endpoint.root_port).collect(),
        })
    }
}

impl ConnectionPoint {
    fn new(dir: &Path, number: usize) -> Result<Self, LabError> {
        let name = format!("{}-{number}", Role::ConnectionPoint.as_str());
        Ok(Self { config: config_path(dir, &name), name, metrics_port: free_port()? })
    }
}

impl Endpoint {
    fn new((index, published): (usize, &Published)) -> Result<Self, LabError> {
        Ok(Self { published: published.clone(), role_id: config::role_id(index), root_port: free_port()? })
    }

    /// The plain form: the server mounted at `/` on a port of its own.
    pub fn root_url(&self) -> String {
        format!("https://{HOST}:{}", self.root_port)
    }
}

/// Names stand in URLs, where case does not count.
fn refuse_doubles(published: &[Published]) -> Result<(), LabError> {
    let mut names = BTreeSet::new();
    for Published { name, .. } in published {
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(LabError::Published { name: name.clone(), problem: "two servers cannot have one name" });
        }
    }
    Ok(())
}

pub(crate) fn config_path(dir: &Path, name: &str) -> PathBuf {
    dir.join("site").join(format!("{name}.toml"))
}

/// Copies client certificate authorities beside the programs' other files and returns the names they have there.
fn copy_all(files: &[PathBuf], site: &Path) -> Result<Vec<String>, LabError> {
    let mut names = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let content = std::fs::read(path).map_err(|source| LabError::File { path: path.clone(), source })?;
        let name = format!("client-ca-{}.pem", index + 1);
        file::write(&site.join(&name), content)?;
        names.push(name);
    }
    Ok(names)
}
