//! Handshakes in memory, with the program's own configurations at both ends.
use std::sync::Arc;

use cmg_core::ids::{ConnectionPointId, GatewayId, Role};
use cmg_credentials::tls::{
    ALPN_ACME, ALPN_HTTP1, ALPN_HTTP2, ALPN_TUNNEL, Believed, PeerRefused, PublicTls, RevokedMembers, describe_untrusted, provider,
    role_of, server_client, tunnel_client,
};
use cmg_credentials::{RoleIdentity, ServerIdentity};
use pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup, RootCertStore, ServerConfig, ServerConnection};

use crate::lab::{Authority, Issued};

const GATEWAY: &str = "spiffe://lab/gateway/gateway-1";
const CONNECTION_POINT: &str = "spiffe://lab/connection-point/cp-1";

/// A public port with its authorities.
struct Lab {
    servers: Authority,
    clients: Authority,
    infrastructure: Authority,
    public: PublicTls,
}

impl Lab {
    fn new() -> Self {
        Self::with_servers(&[&["cmg.example", "other.example"]])
    }

    fn with_servers(certificates: &[&[&str]]) -> Self {
        let (servers, infrastructure) = (Authority::root("servers"), Authority::root("infrastructure"));
        let identities = certificates.iter().map(|names| server_identity(&servers, names)).collect();
        let role = gateway(&infrastructure.role(GATEWAY));
        let public = PublicTls::new(identities, role, &[infrastructure.der.to_vec()]).unwrap();
        Self { servers, clients: Authority::root("clients"), infrastructure, public }
    }

    fn port(&self, port: u16) -> Arc<ServerConfig> {
        self.public.config_for(port, [ALPN_HTTP1], false).unwrap()
    }

    fn tunnel(&self) -> Arc<ServerConfig> {
        self.public.config_for(443, [ALPN_TUNNEL], false).unwrap()
    }

    fn client(&self, identity: Option<&Issued>) -> Arc<ClientConfig> {
        let identity = identity.map(certified);
        server_client("k", &[self.servers.der.to_vec()], identity.as_ref()).unwrap()
    }

    /// A client that offers each ticket it has under every name.
    fn careless_client(&self, identity: &Issued, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.servers.der.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&certified(identity)))));
        config.resumption = Resumption::store(Arc::new(OneShelf(ClientSessionMemoryCache::new(8))));
        Arc::new(config)
    }

    /// A connection point's end that shows `issued`, whatever it is.
    fn dialler(&self, issued: &Issued) -> Arc<ClientConfig> {
        let role = RoleIdentity { role: Role::ConnectionPoint(ConnectionPointId::new("cp-1")), key: certified(issued) };
        tunnel_client(role, &[self.infrastructure.der.to_vec()]).unwrap()
    }
}

fn certified(issued: &Issued) -> Arc<CertifiedKey> {
    with_key(vec![issued.der.clone()], issued)
}

pub(crate) fn with_key(chain: Vec<CertificateDer<'static>>, issued: &Issued) -> Arc<CertifiedKey> {
    let key = provider().key_provider.load_private_key(PrivateKeyDer::Pkcs8(issued.key.serialize_der().into())).unwrap();
    Arc::new(CertifiedKey::new(chain, key))
}

fn server_identity(authority: &Authority, names: &[&str]) -> ServerIdentity {
    ServerIdentity { names: names.iter().map(|name| (*name).to_owned()).collect(), key: certified(&authority.server(names)) }
}

fn gateway(issued: &Issued) -> RoleIdentity {
    RoleIdentity { role: Role::Gateway(GatewayId::new("gateway-1")), key: certified(issued) }
}

/// Both ends after a handshake, and one more exchange for what follows it.
pub(crate) fn connect(
    client: &Arc<ClientConfig>,
    name: &str,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
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
    Ok((client, server))
}

/// Keeps every session in one place, whatever server name it is for.
#[derive(Debug)]
struct OneShelf(ClientSessionMemoryCache);

impl OneShelf {
    fn name() -> ServerName<'static> {
        ServerName::try_from("shelf").unwrap()
    }
}

impl ClientSessionStore for OneShelf {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(Self::name(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&Self::name())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(Self::name(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&Self::name())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&Self::name());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(Self::name(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&Self::name())
    }
}

#[test]
fn a_client_certificate_is_optional_and_may_come_from_anybody() {
    let lab = Lab::new();
    let own = lab.clients.client("pc1");

    let (_, without) = connect(&lab.client(None), "cmg.example", &lab.port(443)).unwrap();
    let (_, with) = connect(&lab.client(Some(&own)), "cmg.example", &lab.port(443)).unwrap();

    assert_eq!(without.peer_certificates(), None);
    assert_eq!(with.peer_certificates(), Some(&[own.der.clone()][..]));
    assert_eq!(with.alpn_protocol(), Some(ALPN_HTTP1));
}

#[test]
fn a_certificate_without_its_key_fails_the_handshake() {
    let lab = Lab::new();
    let (victim, thief) = (lab.clients.client("victim"), lab.clients.client("thief"));
    for version in [&TLS12, &TLS13] {
        let mut config = ClientConfig::clone(&lab.careless_client(&thief, version));
        let stolen = with_key(vec![victim.der.clone()], &thief);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::clone(&stolen)));

        let failure = connect(&Arc::new(config), "cmg.example", &lab.port(443)).err();

        assert!(matches!(failure, Some(Error::InvalidCertificate(rustls::CertificateError::BadSignature))), "{failure:?}");
    }
}

#[test]
fn the_key_exchange_is_post_quantum_where_the_client_can() {
    let lab = Lab::new();

    let (_, server) = connect(&lab.client(None), "cmg.example", &lab.port(443)).unwrap();

    assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
}

#[test]
fn http2_is_offered_only_where_allowed() {
    let lab = Lab::new();
    let mut client = ClientConfig::clone(&lab.client(None));
    client.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    let client = Arc::new(client);
    let offers = [ALPN_HTTP2, ALPN_HTTP1];
    let chosen = |allowed| {
        let config = lab.public.config_for(443, offers, allowed).unwrap();
        connect(&client, "cmg.example", &config).unwrap().1.alpn_protocol().map(<[u8]>::to_vec)
    };

    assert_eq!(chosen(true).as_deref(), Some(ALPN_HTTP2));
    assert_eq!(chosen(false).as_deref(), Some(ALPN_HTTP1));
}

#[test]
fn the_server_certificate_follows_the_name() {
    let lab = Lab::with_servers(&[&["first.example"], &["*.apps.example"], &["special.apps.example"]]);
    let shown = |name: &str| {
        let mut client = ClientConfig::clone(&lab.client(None));
        client.dangerous().set_certificate_verifier(Arc::new(AnyServer));
        let (client, _) = connect(&Arc::new(client), name, &lab.port(443)).unwrap();
        let facts = cmg_credentials::facts::certificate_facts(&client.peer_certificates().unwrap()[0]).unwrap();
        facts.alternative_names.join(" ")
    };

    assert_eq!(shown("first.example"), "DNS:first.example");
    assert_eq!(shown("FIRST.example"), "DNS:first.example");
    assert_eq!(shown("special.apps.example"), "DNS:special.apps.example");
    assert_eq!(shown("any.apps.example"), "DNS:*.apps.example");
    assert_eq!(shown("too.deep.apps.example"), "DNS:first.example");
    assert_eq!(shown("unknown.example"), "DNS:first.example");
    assert_eq!(shown("127.0.0.1"), "DNS:first.example");
}

#[test]
fn a_resumed_connection_still_shows_the_clients_certificate() {
    let lab = Lab::new();
    let own = lab.clients.client("pc1");
    for version in [&TLS12, &TLS13] {
        let client = lab.careless_client(&own, version);

        let (_, first) = connect(&client, "cmg.example", &lab.port(443)).unwrap();
        let (_, second) = connect(&client, "cmg.example", &lab.port(443)).unwrap();

        assert_ne!(first.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?}");
        assert_eq!(second.peer_certificates(), Some(&[own.der.clone()][..]));
    }
}

#[test]
fn a_ticket_is_worth_nothing_at_another_port_or_name() {
    let lab = Lab::new();
    let own = lab.clients.client("pc1");
    for version in [&TLS12, &TLS13] {
        for (name, port) in [("cmg.example", 8444), ("other.example", 443)] {
            let client = lab.careless_client(&own, version);

            connect(&client, "cmg.example", &lab.port(443)).unwrap();
            let (_, second) = connect(&client, name, &lab.port(port)).unwrap();

            assert_ne!(second.handshake_kind(), Some(HandshakeKind::Resumed), "{version:?} {name} {port}");
        }
    }
}

#[test]
fn tickets_survive_a_change_of_certificates_only_where_taken_over() {
    let (lab, own) = (Lab::new(), Authority::root("clients").client("pc1"));
    let renewed = || {
        let identities = vec![server_identity(&lab.servers, &["cmg.example"])];
        PublicTls::new(identities, gateway(&lab.infrastructure.role(GATEWAY)), &[lab.infrastructure.der.to_vec()]).unwrap()
    };
    let resumes_at = |public: &PublicTls| {
        let client = lab.careless_client(&own, &TLS13);
        connect(&client, "cmg.example", &lab.port(443)).unwrap();
        let config = public.config_for(443, [ALPN_HTTP1], false).unwrap();
        connect(&client, "cmg.example", &config).unwrap().1.handshake_kind() == Some(HandshakeKind::Resumed)
    };

    assert!(resumes_at(&renewed().with_tickets_of(&lab.public)));
    assert!(!resumes_at(&renewed()));
}

#[test]
fn an_acme_server_is_answered_for_what_was_ordered_by_its_protocol_alone() {
    let mut lab = Lab::new();
    let key = server_identity(&lab.servers, &["new.example"]).key;
    lab.public = lab.public.with_challenges([("new.example".to_owned(), Arc::clone(&key))]);
    let mut client = ClientConfig::clone(&lab.client(None));
    client.alpn_protocols = vec![ALPN_ACME.to_vec()];

    let config = lab.public.challenge_for(Some("new.example"), [ALPN_ACME]).unwrap();
    let (client, server) = connect(&Arc::new(client), "new.example", &config).unwrap();

    assert_eq!(server.alpn_protocol(), Some(ALPN_ACME));
    assert_eq!(client.peer_certificates().unwrap(), &key.cert[..]);
    let none = |name, alpn: &[&'static [u8]]| lab.public.challenge_for(name, alpn.iter().copied()).is_none();
    assert!(none(Some("cmg.example"), &[ALPN_ACME]) && none(None, &[ALPN_ACME]));
    assert!(none(Some("new.example"), &[ALPN_ACME, ALPN_HTTP1]) && none(Some("new.example"), &[ALPN_HTTP1, ALPN_ACME]));
}

#[test]
fn a_configuration_is_built_once_for_each_port() {
    let lab = Lab::new();

    assert!(Arc::ptr_eq(&lab.port(443), &lab.port(443)));
    assert!(!Arc::ptr_eq(&lab.port(443), &lab.port(8444)));
}

#[test]
fn a_connection_point_and_a_gateway_believe_each_other() {
    let lab = Lab::new();

    let (client, server) = connect(&lab.dialler(&lab.infrastructure.role(CONNECTION_POINT)), "any.example", &lab.tunnel()).unwrap();

    let roles = [role_of(client.peer_certificates().unwrap()), role_of(server.peer_certificates().unwrap())];
    let expected = [Role::Gateway(GatewayId::new("gateway-1")), Role::ConnectionPoint(ConnectionPointId::new("cp-1"))];
    assert_eq!(roles, expected.map(Some));
    assert_eq!(server.alpn_protocol(), Some(ALPN_TUNNEL));
}

#[test]
fn the_tunnel_believes_nobody_else() {
    let lab = Lab::new();
    let forged = Authority::root("infrastructure");
    let reason = |issued: &Issued| {
        let failure = connect(&lab.dialler(issued), "any.example", &lab.tunnel()).err().unwrap();
        PeerRefused::of(&failure).cloned().unwrap()
    };
    let foreign = |issuer: &str| PeerRefused::Foreign { issuer: format!("CN={issuer}") };
    let two_roles = lab.infrastructure.leaf("both", |params| {
        let uris = [CONNECTION_POINT, "spiffe://lab/connection-point/cp-2"];
        params.subject_alt_names = uris.map(|uri| rcgen::SanType::URI(uri.try_into().unwrap())).to_vec();
    });

    assert_eq!(reason(&lab.clients.client("pc1")), foreign("clients"));
    assert_eq!(reason(&lab.clients.role(CONNECTION_POINT)), foreign("clients"));
    assert_eq!(reason(&forged.role(CONNECTION_POINT)), foreign("infrastructure"));
    assert_eq!(reason(&lab.infrastructure.role(GATEWAY)), PeerRefused::WrongRole);
    assert_eq!(reason(&lab.infrastructure.role("spiffe://lab/client/pc1")), PeerRefused::WrongRole);
    assert_eq!(reason(&lab.infrastructure.client("pc1")), PeerRefused::WrongRole);
    assert_eq!(reason(&two_roles), PeerRefused::WrongRole);
}

#[test]
fn neither_end_of_a_tunnel_believes_a_certificate_that_was_revoked() {
    let lab = Lab::new();
    let (shown, point) = (lab.infrastructure.role(GATEWAY), lab.infrastructure.role(CONNECTION_POINT));
    let of = |issued: &Issued| -> RevokedMembers {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &issued.der);
        [digest.as_ref().try_into().unwrap()].into_iter().collect()
    };
    let roots = [lab.infrastructure.der.to_vec()];
    let with = |revoked: RevokedMembers| Believed { roots: &roots, revoked };
    let server = |revoked| {
        let identities = vec![server_identity(&lab.servers, &["x"])];
        PublicTls::new(identities, gateway(&shown), with(revoked)).unwrap().config_for(443, [ALPN_TUNNEL], false).unwrap()
    };
    let client = |revoked| {
        tunnel_client(RoleIdentity { role: Role::ConnectionPoint(ConnectionPointId::new("cp-1")), key: certified(&point) }, with(revoked))
            .unwrap()
    };
    let refused = |client, server| PeerRefused::of(&connect(&client, "any.example", &server).err().unwrap()).cloned();
    let nobody = RevokedMembers::default();

    assert!(connect(&client(of(&point)), "any.example", &server(of(&shown))).is_ok(), "each is revoked for itself alone");
    assert_eq!(refused(client(nobody.clone()), server(of(&point))), Some(PeerRefused::Revoked));
    assert_eq!(refused(client(of(&shown)), server(nobody)), Some(PeerRefused::Revoked));
}

#[test]
fn the_tunnel_demands_a_certificate() {
    let lab = Lab::new();
    let mut client = ClientConfig::clone(&lab.dialler(&lab.infrastructure.role(CONNECTION_POINT)));
    client.client_auth_cert_resolver = lab.client(None).client_auth_cert_resolver.clone();

    let failure = connect(&Arc::new(client), "any.example", &lab.tunnel()).err();

    assert!(matches!(failure, Some(Error::NoCertificatesPresented)), "{failure:?}");
}

#[test]
fn a_tunnel_is_never_resumed() {
    let lab = Lab::new();
    let client = lab.dialler(&lab.infrastructure.role(CONNECTION_POINT));

    let (first, _) = connect(&client, "any.example", &lab.tunnel()).unwrap();
    let (_, second) = connect(&client, "any.example", &lab.tunnel()).unwrap();

    assert_eq!(first.tls13_tickets_received(), 0);
    assert_ne!(second.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_connection_point_believes_no_connection_point() {
    let lab = Lab::new();
    let impostor = gateway(&lab.infrastructure.role(CONNECTION_POINT));
    let public = PublicTls::new(vec![server_identity(&lab.servers, &["x"])], impostor, &[lab.infrastructure.der.to_vec()]).unwrap();
    let config = public.config_for(443, [ALPN_TUNNEL], false).unwrap();

    let failure = connect(&lab.dialler(&lab.infrastructure.role(CONNECTION_POINT)), "any.example", &config).err().unwrap();

    assert_eq!(PeerRefused::of(&failure), Some(&PeerRefused::WrongRole));
    assert_eq!(describe_untrusted(&failure), None);
}

#[test]
fn interception_is_told_with_the_issuers_name() {
    let (lab, proxy) = (Lab::new(), Authority::root("Corporate Proxy CA"));
    let impostor = gateway(&proxy.role(GATEWAY));
    let public = PublicTls::new(vec![server_identity(&proxy, &["x"])], impostor, &[lab.infrastructure.der.to_vec()]).unwrap();
    let config = public.config_for(443, [ALPN_TUNNEL], false).unwrap();

    let failure = connect(&lab.dialler(&lab.infrastructure.role(CONNECTION_POINT)), "any.example", &config).err().unwrap();

    assert_eq!(describe_untrusted(&failure).as_deref(), Some("CN=Corporate Proxy CA"));
}

#[test]
fn a_role_at_the_wrong_end_is_a_problem() {
    let infrastructure = Authority::root("infrastructure");
    let roots = [infrastructure.der.to_vec()];
    let connection_point = RoleIdentity {
        role: Role::ConnectionPoint(ConnectionPointId::new("cp-1")),
        key: certified(&infrastructure.role(CONNECTION_POINT)),
    };

    let problems = PublicTls::new(vec![], connection_point, &[]).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["certificate", "tunnel.certificate", "tunnel.authority"]);
    assert!(tunnel_client(gateway(&infrastructure.role(GATEWAY)), &roots).is_err());
}

#[test]
fn a_published_server_is_believed_under_its_own_name_only() {
    let lab = Lab::new();
    let (client, stranger) = (lab.client(None), server_client("k", &[lab.clients.der.to_vec()], None).unwrap());

    assert!(connect(&client, "cmg.example", &lab.port(443)).is_ok());
    assert!(connect(&client, "unknown.example", &lab.port(443)).is_err());
    assert!(connect(&stranger, "cmg.example", &lab.port(443)).is_err());
    assert!(server_client("k", &[], None).is_err());
}

#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
