//! The documents of gateways, connection points and management points.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use cmg_api::bytes::Sha256;
use cmg_api::resource::{AcmeChallengeKind, ClientTrust, ConnectionPoint, Gateway, ManagementPoint, PublishedEndpoint, TokenIssuer};
use cmg_api::{
    AcmeChallenge, CertificateFile, ConnectionPointDocument, DialledGateway, EntraTenantFile, GatewayDocument, ManagementPointDocument,
    ServedEndpointFile, ServiceFile, TokenKeyFile, TrustFile,
};

use super::origins::Origins;
use super::{Desk, Ground};
use crate::app::acme::Challenge;
use crate::app::model::Model;
use crate::app::templates::{self, registration};
use crate::app::text::sha256;
use crate::app::token_issuers;

/// What several documents have in common, made once.
pub(super) struct Papers<'m> {
    model: &'m Model,
    ground: &'m Ground,
    trusts: BTreeMap<String, TrustFile>,
    block_lists: Vec<PathBuf>,
    token_keys: Vec<(String, TokenKeyFile)>,
    /// Chains of certificate resources, as parts.
    chains: BTreeMap<String, Sha256>,
    endpoints: Vec<Published>,
    /// Policies of clients, as parts, by the code of their site.
    policies: BTreeMap<String, Sha256>,
}

/// One endpoint, and the resource it comes from.
struct Published {
    resource: String,
    endpoint: Arc<PublishedEndpoint>,
    server_authorities: Vec<PathBuf>,
}

/// The path by which a document names a part.
fn path(digest: Sha256) -> PathBuf {
    digest.to_string().into()
}

/// The path by which a document names the private key of a certificate.
fn sealed(certificate: &str) -> PathBuf {
    format!("sealed/{certificate}").into()
}

impl<'m> Papers<'m> {
    pub(super) fn new(model: &'m Model, ground: &'m Ground, desk: &mut Desk) -> Self {
        let text = |text: &String, desk: &mut Desk| path(desk.part(text.as_bytes()));
        let trusts = model.trusts.values().map(|trust| (trust.name.clone(), trust_file(trust, ground, desk))).collect();
        let token_keys = token_keys(model, ground, desk);
        let endpoints = all_endpoints(model)
            .map(|(resource, endpoint)| {
                let server_authorities = endpoint.server_authorities.iter().map(|pem| text(pem, desk)).collect();
                Published { resource, endpoint, server_authorities }
            })
            .collect();
        let chains = model.certificates.values().filter(|certificate| !certificate.chain.is_empty());
        let chains = chains.map(|certificate| (certificate.name.clone(), desk.part(certificate.chain.as_bytes())));
        let chains = chains.collect();
        Self {
            model,
            ground,
            trusts,
            block_lists: ground.blocks.lists().map(|list| path(desk.part(list.as_bytes()))).collect(),
            token_keys,
            chains,
            endpoints,
            policies: ground.policies.iter().map(|(site, text)| (site.clone(), desk.part(text))).collect(),
        }
    }

    /// What a gateway's instances run by.
    pub(super) fn gateway(&self, gateway: &Gateway) -> (GatewayDocument, Origins) {
        let mut origins = self.origins();
        let mut endpoints = Vec::new();
        for published in self.endpoints.iter().filter(|_| gateway.running) {
            if is_on(&published.endpoint, gateway) {
                origins.endpoints.push(published.resource.clone());
                endpoints.push(self.served(published, gateway).published());
            }
        }
        let certificate = |name: &String| CertificateFile {
            chain: self.chains.get(name).copied().map(path),
            key: Some(sealed(name)),
            ..CertificateFile::default()
        };
        let (there, awaited): (Vec<&String>, Vec<&String>) = gateway.certificates.iter().partition(|name| self.chains.contains_key(*name));
        origins.certificates = there.iter().map(|name| format!("certificates/{name}")).collect();
        let document = GatewayDocument {
            when_withheld: gateway.when_withheld,
            revoked_members: self.ground.revoked_members.iter().copied().collect(),
            service: ServiceFile {
                instances: gateway.instances.iter().map(|instance| instance.name.clone()).collect(),
                connection_points: Some(self.connection_points_of(gateway)),
            },
            certificate: there.into_iter().map(certificate).collect(),
            awaited_certificates: awaited.into_iter().cloned().collect(),
            acme_challenge: self.acme_challenges(gateway),
            limits: gateway.limits.clone(),
            trust: self.trusts_of(endpoints.iter().filter_map(|endpoint| endpoint.trust.as_deref())),
            block_lists: self.block_lists.clone(),
            token_key: self.token_keys.iter().map(|(_, file)| file.clone()).collect(),
            entra_tenant: if gateway.running { entra_tenants(self.model) } else { Vec::new() },
            endpoint: endpoints,
        };
        (document, origins)
    }

    /// What a connection point runs by: the endpoints of its site on the gateways that it connects to.
    pub(super) fn connection_point(&self, point: &ConnectionPoint) -> (ConnectionPointDocument, Origins) {
        let mut origins = self.origins();
        let (mut endpoints, mut dialled) = (Vec::new(), Vec::new());
        for gateway in self.model.gateways_named(&point.gateways) {
            dialled.extend(gateway.instances.iter().map(|instance| DialledGateway {
                name: instance.name.clone(),
                address: instance.address.clone(),
                enrols: !self.ground.sealing_keys.contains_key(&format!("gateway/{}", instance.name)),
            }));
            let of_site = |published: &&Published| self.model.site_of(&published.endpoint.site) == self.model.site_of(&point.site);
            for published in self.endpoints.iter().filter(of_site).filter(|published| is_on(&published.endpoint, gateway)) {
                let served = self.served(published, gateway);
                // The same external address on several gateways is one endpoint.
                if !endpoints.iter().any(|known: &ServedEndpointFile| known.id == served.id) {
                    origins.endpoints.push(published.resource.clone());
                    endpoints.push(served);
                }
            }
        }
        let document = ConnectionPointDocument {
            site_servers: self.ground.site_servers.clone(),
            revoked_members: self.ground.revoked_members.iter().copied().collect(),
            gateway: dialled,
            connections: point.connections,
            lanes: point.lanes,
            trust: self.trusts_of(endpoints.iter().filter_map(|endpoint| endpoint.trust.as_deref())),
            block_lists: self.block_lists.clone(),
            token_key: self.token_keys.iter().map(|(_, file)| file.clone()).collect(),
            endpoint: endpoints,
        };
        (document, origins)
    }

    /// What ACME servers may ask a gateway for, which are the names of certificates that it shows.
    fn acme_challenges(&self, gateway: &Gateway) -> Vec<AcmeChallenge> {
        let challenges = gateway.certificates.iter().filter_map(|name| self.ground.acme.get(name)).flatten();
        challenges.filter_map(acme_challenge).collect()
    }

    /// What a management point runs by: what it verifies credentials with, and which connection points tell it of clients.
    pub(super) fn management_point(&self, point: &ManagementPoint) -> (ManagementPointDocument, Origins) {
        let client_trust = point.allow_cmg_traffic.as_ref().and_then(|allowed| allowed.trust.clone());
        let of_site = |other: &&Arc<ConnectionPoint>| self.model.site_of(&other.site) == self.model.site_of(&point.site);
        let counts = |other: &&Arc<ConnectionPoint>| self.ground.sealing_keys.contains_key(&format!("connection-point/{}", other.name));
        let document = ManagementPointDocument {
            revoked_members: self.ground.revoked_members.iter().copied().collect(),
            site_servers: self.ground.site_servers.clone(),
            connection_points: self
                .model
                .connection_points
                .values()
                .filter(of_site)
                .filter(counts)
                .map(|other| other.name.clone())
                .collect(),
            trust: self.trusts_of(client_trust.as_deref().into_iter()),
            client_trust,
            block_lists: self.block_lists.clone(),
            token_key: self.token_keys.iter().map(|(_, file)| file.clone()).collect(),
            token_issuer: self.ground.token_keys.first().map(|key| key.file.issuer.clone()),
            policy: self.policies.get(self.model.site_of(&point.site)).copied().map(path),
        };
        (document, self.origins())
    }

    /// Every policy, whether an endpoint names it or not.
    pub(super) fn all_trusts(&self) -> BTreeMap<String, TrustFile> {
        self.trusts.clone()
    }

    /// Every block list.
    pub(super) fn all_block_lists(&self) -> Vec<PathBuf> {
        self.block_lists.clone()
    }

    /// Every token key.
    pub(super) fn all_token_keys(&self) -> Vec<TokenKeyFile> {
        self.token_keys.iter().map(|(_, file)| file.clone()).collect()
    }

    /// The connection points that may connect to a gateway: those that have a certificate that counts.
    fn connection_points_of(&self, gateway: &Gateway) -> Vec<String> {
        let points = self.model.connection_points.values();
        let connects = |point: &&Arc<ConnectionPoint>| point.gateways.is_empty() || point.gateways.contains(&gateway.name);
        let counts = |point: &&Arc<ConnectionPoint>| self.ground.sealing_keys.contains_key(&format!("connection-point/{}", point.name));
        points.filter(connects).filter(counts).map(|point| point.name.clone()).collect()
    }

    fn origins(&self) -> Origins {
        Origins { token_keys: self.token_keys.iter().map(|(resource, _)| resource.clone()).collect(), ..Origins::default() }
    }

    /// Policies that an endpoint names. One that none names is nobody's business.
    fn trusts_of<'a>(&self, names: impl Iterator<Item = &'a str>) -> BTreeMap<String, TrustFile> {
        names.filter_map(|name| Some((name.to_owned(), self.trusts.get(name)?.clone()))).collect()
    }

    /// An endpoint as it stands on `gateway`.
    fn served(&self, published: &Published, gateway: &Gateway) -> ServedEndpointFile {
        let endpoint = PublishedEndpoint::clone(&published.endpoint);
        let shown = endpoint.client_certificate.as_deref();
        ServedEndpointFile {
            id: self.id(&endpoint, gateway),
            host: endpoint.host.unwrap_or_else(|| gateway.host.clone()),
            port: endpoint.port,
            role_id: endpoint.role_id,
            name: endpoint.path_name,
            prefix: endpoint.prefix,
            face: endpoint.face,
            open_acknowledged: endpoint.open_acknowledged,
            trust: endpoint.trust,
            token_kinds: endpoint.token_kinds,
            audiences: endpoint.audiences,
            registration: endpoint.registration,
            forward_token: endpoint.forward_token,
            proof: endpoint.proof,
            methods: endpoint.methods,
            body_limit: endpoint.body_limit,
            idle: endpoint.idle,
            total: endpoint.total,
            upgrade: endpoint.upgrade,
            h2: endpoint.h2,
            servers: endpoint.servers,
            stickiness: endpoint.stickiness,
            host_header: endpoint.host_header,
            server_authorities: published.server_authorities.clone(),
            server_certificate: shown.and_then(|name| self.chains.get(name)).copied().map(path),
            server_key: shown.filter(|name| self.chains.contains_key(*name)).map(sealed),
            management_point: endpoint.management_point,
            connect_time: endpoint.connect_time,
            health: endpoint.health,
            identity_headers: endpoint.identity_headers,
            client_cert_header: endpoint.client_cert_header,
            forwarded: endpoint.forwarded,
            request_id_header: endpoint.request_id_header,
            map_redirects: endpoint.map_redirects,
        }
    }

    /// The endpoint's own name; where it stands under the names of several gateways, one id for each.
    fn id(&self, endpoint: &PublishedEndpoint, gateway: &Gateway) -> String {
        let is_one = endpoint.host.is_some() || self.model.gateways_named(&endpoint.gateways).count() <= 1;
        if is_one { endpoint.name.clone() } else { format!("{}.{}", endpoint.name, gateway.name) }
    }
}

/// What a gateway has to know of a challenge; none: nothing, since DNS answers it.
fn acme_challenge(challenge: &Challenge) -> Option<AcmeChallenge> {
    let blank = AcmeChallenge { name: challenge.name.clone(), digest: None, token: None, key_authorization: None };
    match challenge.kind {
        AcmeChallengeKind::TlsAlpn01 => {
            let digest = Some(Sha256(sha256(challenge.key_authorization.as_bytes())));
            Some(AcmeChallenge { digest, ..blank })
        }
        AcmeChallengeKind::Http01 => {
            let (token, key_authorization) = (Some(challenge.token.clone()), Some(challenge.key_authorization.clone()));
            Some(AcmeChallenge { token, key_authorization, ..blank })
        }
        AcmeChallengeKind::Dns01 => None,
    }
}

fn is_on(endpoint: &PublishedEndpoint, gateway: &Gateway) -> bool {
    endpoint.gateways.is_empty() || endpoint.gateways.contains(&gateway.name)
}

/// Endpoints that are resources, and those that site systems publish; each with the resource that it comes from.
pub(super) fn all_endpoints(model: &Model) -> impl Iterator<Item = (String, Arc<PublishedEndpoint>)> {
    let own = model.endpoints.values().map(|endpoint| (format!("endpoints/{}", endpoint.name), Arc::clone(endpoint)));
    let of_systems = model.site_systems.values().flat_map(|system| {
        let role_id = system.role_id.as_deref().unwrap_or_default();
        let resource = format!("site-systems/{}.allow_cmg_traffic", system.name);
        templates::endpoints(system, role_id).into_iter().map(move |endpoint| (resource.clone(), Arc::new(endpoint)))
    });
    let of_points = model.management_points.values().flat_map(|point| {
        let resource = format!("management-points/{}.allow_cmg_traffic", point.name);
        registration::endpoints(point).into_iter().map(move |endpoint| (resource.clone(), Arc::new(endpoint)))
    });
    own.chain(of_systems).chain(of_points)
}

fn trust_file(trust: &ClientTrust, ground: &Ground, desk: &mut Desk) -> TrustFile {
    let mut texts = |texts: &[String]| texts.iter().map(|pem| path(desk.part(pem.as_bytes()))).collect::<Vec<_>>();
    let (mut authorities, mut intermediates, mut crls) = (texts(&trust.authorities), texts(&trust.intermediates), texts(&trust.crls));
    let fetched = ground.fetched_lists.get(&trust.name).into_iter().flatten();
    crls.extend(fetched.map(|list| path(desk.part(list))));
    if let Some(site) = ground.site_clients.as_ref().filter(|_| trust.site_clients) {
        for (ders, paths) in [(&site.roots, &mut authorities), (&site.issuers, &mut intermediates), (&site.lists, &mut crls)] {
            paths.extend(ders.iter().map(|der| path(desk.part(der))));
        }
        crls.extend(site.root_lists.iter().map(|list| path(desk.part(list))));
    }
    TrustFile {
        authorities,
        intermediates,
        crls,
        check_revocation: trust.check_revocation,
        stale_crl: trust.stale_crl,
        unknown_crl: trust.unknown_crl,
    }
}

/// Keys of issuers that are resources, and the site's own; each with the resource that it comes from.
fn token_keys(model: &Model, ground: &Ground, desk: &mut Desk) -> Vec<(String, TokenKeyFile)> {
    let mut keys: Vec<(String, TokenKeyFile)> = ground
        .token_keys
        .iter()
        .map(|key| {
            let file = TokenKeyFile { key: path(desk.part(key.pem.as_bytes())), ..key.file.clone() };
            (format!("token-keys/{}", key.file.id), file)
        })
        .collect();
    for issuer in model.token_issuers.values().filter(|issuer| issuer.enabled) {
        let resource = format!("token-issuers/{}", issuer.name);
        keys.extend(issuer.keys.iter().map(|(id, pem)| (resource.clone(), uploaded(issuer, id, path(desk.part(pem.as_bytes()))))));
        for key in ground.issuer_keys.get(&issuer.name).into_iter().flatten() {
            let file = path(desk.part(key.pem.as_bytes()));
            keys.extend(token_issuers::published(issuer, key, &file).into_iter().map(|key| (resource.clone(), key)));
        }
    }
    keys
}

/// What devices of enabled tenants are told. A tenant may be several resources, for devices and for people: the first that says it counts.
fn entra_tenants(model: &Model) -> Vec<EntraTenantFile> {
    let mut tenants: Vec<EntraTenantFile> = Vec::new();
    for issuer in model.token_issuers.values().filter(|issuer| issuer.enabled) {
        let (Some(id), Some(client_app_id), Some(resource_uri)) = (&issuer.tenant, &issuer.client_app_id, &issuer.resource_uri) else {
            continue;
        };
        if !tenants.iter().any(|known| known.id.eq_ignore_ascii_case(id)) {
            tenants.push(EntraTenantFile { id: id.clone(), client_app_id: client_app_id.clone(), resource_uri: resource_uri.clone() });
        }
    }
    tenants
}

fn uploaded(issuer: &TokenIssuer, id: &str, key: PathBuf) -> TokenKeyFile {
    TokenKeyFile {
        id: id.to_owned(),
        issuer: issuer.issuer.clone().unwrap_or_default(),
        algorithms: issuer.algorithms.clone(),
        key,
        kind: issuer.token_kind,
        leeway: issuer.leeway,
    }
}

/// What a document names: parts and secrets.
pub(super) trait Names {
    /// Every path in it that names a part or a secret.
    fn paths(&self) -> Vec<&PathBuf>;

    /// The parts that it names.
    fn parts(&self) -> Vec<Sha256> {
        self.paths().into_iter().filter_map(|path| Sha256::of_path(path)).collect()
    }

    /// The certificates whose private keys it names.
    fn secrets(&self) -> Vec<String> {
        let name = |path: &&PathBuf| path.to_str().and_then(|path| path.strip_prefix("sealed/")).map(str::to_owned);
        let mut names: Vec<_> = self.paths().iter().filter_map(name).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn shared_paths<'d>(
    trust: &'d BTreeMap<String, TrustFile>,
    block_lists: &'d [PathBuf],
    token_key: &'d [TokenKeyFile],
) -> impl Iterator<Item = &'d PathBuf> {
    let of_trusts = trust.values().flat_map(|trust| trust.authorities.iter().chain(&trust.intermediates).chain(&trust.crls));
    of_trusts.chain(block_lists).chain(token_key.iter().map(|key| &key.key))
}

impl Names for GatewayDocument {
    fn paths(&self) -> Vec<&PathBuf> {
        let certificates = self.certificate.iter().flat_map(|certificate| certificate.chain.iter().chain(&certificate.key));
        shared_paths(&self.trust, &self.block_lists, &self.token_key).chain(certificates).collect()
    }
}

impl Names for ManagementPointDocument {
    fn paths(&self) -> Vec<&PathBuf> {
        shared_paths(&self.trust, &self.block_lists, &self.token_key).chain(&self.policy).collect()
    }
}

impl Names for ConnectionPointDocument {
    fn paths(&self) -> Vec<&PathBuf> {
        let endpoints = self
            .endpoint
            .iter()
            .flat_map(|endpoint| endpoint.server_authorities.iter().chain(&endpoint.server_certificate).chain(&endpoint.server_key));
        shared_paths(&self.trust, &self.block_lists, &self.token_key).chain(endpoints).collect()
    }
}
