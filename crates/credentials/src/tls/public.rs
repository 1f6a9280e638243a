//! The public port: clients and connection points, told apart by ALPN.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cmg_core::ids::Role;
use cmg_core::problem::Problem;
use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::believed::Believed;
use super::strangers::AnyClient;
use super::tickets::Tickets;
use super::{ALPN_ACME, ALPN_HTTP1, ALPN_HTTP2, ALPN_TUNNEL, provider, tunnel};
use crate::load::{RoleIdentity, ServerIdentity};

/// All TLS of the public ports under one generation of certificates.
#[derive(Debug)]
pub struct PublicTls {
    names: Arc<ByName>,
    tunnel: Arc<ServerConfig>,
    tickets: Arc<Tickets>,
    clients: Mutex<HashMap<(u16, bool), Arc<ServerConfig>>>,
    /// By the names that an ACME server asks for.
    challenges: HashMap<String, Arc<ServerConfig>>,
}

impl PublicTls {
    /// Prepares the server certificates `identities` (the first is shown where no name fits), the gateway's `role` certificate,
    /// and the `infrastructure` authority, which alone is believed on a tunnel.
    pub fn new<'a>(
        identities: Vec<ServerIdentity>,
        role: RoleIdentity,
        infrastructure: impl Into<Believed<'a>>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let names = ByName::new(identities);
        if names.is_none() {
            problems.push(Problem::new("certificate", "no server certificate is named", "name at least one [[certificate]]"));
        }
        if !matches!(role.role, Role::Gateway(_)) {
            let what = format!("it is the certificate of a {}", role.role.kind());
            problems.push(Problem::new("tunnel.certificate", what, "name the certificate with this gateway's role"));
        }
        let tunnel = tunnel::server_config(role, infrastructure.into()).map_err(|problem| problems.push(problem));
        match (names, tunnel) {
            (Some(names), Ok(tunnel)) if problems.is_empty() => {
                Ok(Self { names: Arc::new(names), tunnel, tickets: Arc::default(), clients: Mutex::default(), challenges: HashMap::new() })
            }
            _ => Err(problems),
        }
    }

    /// The same with the ticket keys of `old`, so that clients of before a change of certificates resume after it.
    #[must_use]
    pub fn with_tickets_of(mut self, old: &Self) -> Self {
        self.tickets = Arc::clone(&old.tickets);
        self.clients = Mutex::default();
        self
    }

    /// The same, and answers an ACME server that asks for these names with these certificates (RFC 8737).
    #[must_use]
    pub fn with_challenges(mut self, challenges: impl IntoIterator<Item = (String, Arc<CertifiedKey>)>) -> Self {
        let config = |(name, key): (String, Arc<CertifiedKey>)| Some((name, Arc::new(challenge_config(&key).ok()?)));
        self.challenges = challenges.into_iter().filter_map(config).collect();
        self
    }

    /// The configuration for a connection that offers the protocols `alpn`, [`ALPN_ACME`] among them; none: nobody asks for this name,
    /// or other protocols are offered beside it, which no ACME server does.
    pub fn challenge_for<'a>(&self, server_name: Option<&str>, alpn: impl IntoIterator<Item = &'a [u8]>) -> Option<Arc<ServerConfig>> {
        let mut alpn = alpn.into_iter();
        match (alpn.next(), alpn.next()) {
            (Some(ALPN_ACME), None) => self.challenges.get(server_name?).cloned(),
            _ => None,
        }
    }

    /// The configuration for a connection at `port` whose ClientHello offers the protocols `alpn`.
    ///
    /// The server certificate is chosen within the handshake by the server name. `allow_h2`: whether every endpoint of that name
    /// allows HTTP/2. Fails only where the system has no randomness for ticket keys.
    pub fn config_for<'a>(
        &self,
        port: u16,
        alpn: impl IntoIterator<Item = &'a [u8]>,
        allow_h2: bool,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        if alpn.into_iter().any(|offer| offer == ALPN_TUNNEL) {
            return Ok(Arc::clone(&self.tunnel));
        }
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&(port, allow_h2)) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.client_config(port, allow_h2)?);
        clients.insert((port, allow_h2), Arc::clone(&made));
        Ok(made)
    }

    fn client_config(&self, port: u16, allow_h2: bool) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_cert_resolver(Arc::clone(&self.names) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = match allow_h2 {
            true => vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()],
            false => vec![ALPN_HTTP1.to_vec()],
        };
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = self.tickets.of_port(port)?;
        config.send_tls13_tickets = 1;
        config.ignore_client_order = true;
        Ok(config)
    }
}

/// One certificate, one protocol, no client certificate, nothing to resume.
fn challenge_config(key: &CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
    config.alpn_protocols = vec![ALPN_ACME.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Server certificates by the names in them.
#[derive(Debug)]
struct ByName {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    fn new(identities: Vec<ServerIdentity>) -> Option<Self> {
        let first = Arc::clone(&identities.first()?.key);
        let mut by_name = Self { first, exact: HashMap::new(), wildcard: HashMap::new() };
        for identity in identities {
            for name in identity.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent.to_ascii_lowercase()),
                    None => (&mut by_name.exact, name.to_ascii_lowercase()),
                };
                map.entry(name).or_default().push(Arc::clone(&identity.key));
            }
        }
        Some(by_name)
    }

    fn candidates(&self, server_name: &str) -> &[Arc<CertifiedKey>] {
        let name = server_name.to_ascii_lowercase();
        if let Some(exact) = self.exact.get(&name) {
            return exact;
        }
        let parent = name.split_once('.').map(|(_, parent)| parent);
        parent.and_then(|parent| self.wildcard.get(parent)).map_or(&[], Vec::as_slice)
    }
}

impl ResolvesServerCert for ByName {
    /// Of several certificates for one name, the first whose key the client can check.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = hello.server_name().map_or(&[][..], |name| self.candidates(name));
        let chosen = match candidates {
            [] => &self.first,
            [only] => only,
            several => several.iter().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some()).unwrap_or(&several[0]),
        };
        Some(Arc::clone(chosen))
    }
}
